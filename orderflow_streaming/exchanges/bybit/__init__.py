"""Bybit as it is collected."""
