"""Features of the order book."""
