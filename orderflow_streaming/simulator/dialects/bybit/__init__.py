"""Bybit as it is simulated."""
