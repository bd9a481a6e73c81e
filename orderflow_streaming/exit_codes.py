"""Exit codes of the command line tools, and the one error class that carries one."""

from __future__ import annotations

import click

OK = 0
FAILED = 1
"""Part of the work failed, and the output says which: frames that could not be parsed, a chunk of a backfill, an hour
of an archive, or a store that cannot go on."""
CONFIGURATION = 2
"""A setting, flag, market, symbol, file or port cannot be used."""
LOCKED = 3
"""Another process holds the database."""
UNREACHABLE = 4
"""No market could be reached."""
NOT_RUNNING = 5
"""The command needs the running daemon, and none runs."""


class CommandError(click.ClickException):
    """Ends a command with one line on stderr and the given exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]
