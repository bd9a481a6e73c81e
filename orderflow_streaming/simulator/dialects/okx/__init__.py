"""OKX as it is simulated."""
