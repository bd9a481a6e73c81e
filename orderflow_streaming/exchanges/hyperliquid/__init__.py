"""Hyperliquid as it is collected."""
