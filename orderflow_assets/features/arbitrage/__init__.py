"""Trades between two perpetuals of one symbol: funding collected on one and paid on the other, and basis closing."""
