"""Features of the trades."""
