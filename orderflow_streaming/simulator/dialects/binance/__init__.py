"""Binance as it is simulated."""
