"""Gate.io as it is collected."""
