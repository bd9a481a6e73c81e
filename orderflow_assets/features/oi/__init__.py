"""Open interest and positioning: how much is held, how it moves with the price, where it would be liquidated."""
