"""Funding: what the venues settled and say they will settle, minute by minute."""
