"""One file per exchange; :func:`exchange` finds the protocol of a market."""
