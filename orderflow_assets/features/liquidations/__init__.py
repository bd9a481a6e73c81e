"""Features of forced closures."""
