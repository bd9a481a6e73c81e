"""Logging of the daemon: one line per event, UTC; coloured where a person watches."""

from __future__ import annotations

import logging
import sys
import time
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path

from rich.logging import RichHandler

_OLD_FILES = 7


class _Utc(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


_PLAIN = _Utc("%(asctime)s %(levelname)s %(name)s %(message)s")


def configure(level: str, file: Path | None = None) -> None:
    """Log to stderr, and into ``file`` too, from ``level`` on; libraries from WARNING on. Raises OSError."""
    if sys.stderr.isatty():
        console: logging.Handler = RichHandler(show_path=False, log_time_format="%H:%M:%S", markup=False)
        console.setFormatter(logging.Formatter("%(message)s"))
    else:
        console = logging.StreamHandler()
        console.setFormatter(_PLAIN)
    handlers = [console]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = TimedRotatingFileHandler(file, when="midnight", utc=True, backupCount=_OLD_FILES, encoding="utf-8")
        kept.setFormatter(_PLAIN)
        handlers.append(kept)
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger(__name__.partition(".")[0]).setLevel(level)
