"""The tools, by subject. Every module-level :class:`~mcp_server.registry.Tool` here is one."""
