"""Features of candles and of the venues' own 24 h statistics."""
