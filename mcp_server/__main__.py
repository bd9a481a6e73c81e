"""``python -m mcp_server`` is ``orderflow-mcp``."""

from mcp_server.cli import main

main(prog_name="orderflow-mcp")
