"""The one way a tool fails: a code, what was wrong, what to do, and whether trying again can help."""

from __future__ import annotations

import re
from typing import Any

from orderflow_streaming.store import (
    InvalidActionError,
    InvalidQueryError,
    QueryMemoryError,
    QueryTimeoutError,
    StoreAuthError,
    StoreBusyError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)

START_DAEMON = "Start the daemon with: orderflow-stream run. Then call again."


class ToolError(Exception):
    """``fact`` and ``remedy`` are one line each; ``nearest`` is the allowed name closest to a wrong one."""

    def __init__(
        self, code: str, fact: str, remedy: str, *, nearest: str | None = None, retryable: bool = False
    ) -> None:
        super().__init__(f"{fact} {remedy}")
        self.code = code
        self.fact = fact
        self.remedy = remedy
        self.nearest = nearest
        self.retryable = retryable

    def to_dict(self) -> dict[str, Any]:
        error = {"code": self.code, "message": self.fact, "remedy": self.remedy, "retryable": self.retryable}
        return {"error": error | ({"nearest": self.nearest} if self.nearest else {})}


def from_store(error: StoreError) -> ToolError:
    """What a caller may know of a store's failure: no address, no path, no engine internals."""
    match error:
        case StoreUnavailableError() | StoreLockedError():
            return ToolError("store_unavailable", "The store is not running.", START_DAEMON, retryable=True)
        case StoreAuthError():
            return ToolError(
                "store_auth",
                "The store refused the read token.",
                "Point --data-dir at the folder of the running daemon, as a user who may read it.",
            )
        case QueryTimeoutError():
            return ToolError(
                "timeout",
                "The query ran past its time limit and was cancelled.",
                "Narrow the time range, name a symbol, or aggregate first.",
            )
        case QueryMemoryError():
            return ToolError(
                "memory",
                "The query needed more memory than the store gives to queries.",
                "Select fewer columns, narrow the time range or aggregate first.",
            )
        case StoreBusyError():
            return ToolError(
                "busy", "The store answers as many queries as it can.", "Wait a few seconds.", retryable=True
            )
        case InvalidQueryError():
            return ToolError("query", _readable(str(error)), "Correct the statement; tables_list names the tables.")
        case InvalidActionError():
            return ToolError("argument", _readable(str(error)), "Nothing was changed. streams_health says what is.")
        case _:
            return ToolError("store", "The store could not answer.", "See the log of the daemon.", retryable=True)


def _readable(text: str) -> str:
    """The first line of the engine's message, without paths and source positions."""
    line = re.sub(r"\s*LINE \d+:.*", "", next(iter(text.strip().splitlines()), ""))
    line = re.sub(r"(?<![\w.])/[\w./-]+", "…", line)
    return line[:300] if line.endswith((".", "!", "?")) else f"{line[:300]}."
