"""Binance as it is collected."""
