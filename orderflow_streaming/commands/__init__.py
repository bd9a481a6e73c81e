"""One module per command of ``orderflow-stream``, each with a click command called ``command``."""
