"""Features of the best bid and ask."""
