"""One module per kind of model: each has ``fit`` and ``load`` and imports its library inside them."""
