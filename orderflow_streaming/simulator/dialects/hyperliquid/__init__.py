"""Hyperliquid as it is simulated."""
