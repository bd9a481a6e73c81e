"""OKX as it is collected."""
