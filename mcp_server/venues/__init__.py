"""What venues answer right now over REST: which there are, what they call an instrument, and asking them."""
