"""Bars and their building blocks: seconds of quotes, parent trades, minutes."""
