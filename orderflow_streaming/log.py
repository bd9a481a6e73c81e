"""Logging of the daemon: one line per event, UTC; coloured where a person watches."""

from __future__ import annotations

import logging
import sys
import time

from rich.logging import RichHandler


class _Utc(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def configure(level: str) -> None:
    """Log to stderr from ``level`` on; libraries from WARNING on."""
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(show_path=False, log_time_format="%H:%M:%S", markup=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_Utc("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(__name__.partition(".")[0]).setLevel(level)
