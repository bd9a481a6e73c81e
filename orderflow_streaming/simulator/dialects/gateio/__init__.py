"""Gate.io as it is simulated."""
