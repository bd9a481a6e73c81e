"""Answers questions about order flow over the Model Context Protocol, from the running store."""
