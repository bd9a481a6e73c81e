"""``python -m orderflow_streaming`` is ``orderflow-stream``."""

from orderflow_streaming.cli import main

main(prog_name="orderflow-stream")
