"""From a tool's name and arguments to its answer or its error, as plain JSON values. Knows no protocol."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_server import files
from mcp_server.arguments import MOST_ROWS
from mcp_server.context import DEFAULT_DAGSTER_URL, Context, Reader
from mcp_server.registry import Selection, Tool, checked, find
from mcp_server.results import Link, Picture, payload
from mcp_server.venues.client import Venues
from orderflow_assets.calculators.discovery import Found, built_in

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """Where the data are, how much of them one answer may hold, which calculators there are, and where a simulator
    answers for the venues.
    """

    data_dir: Path = Path("data")
    max_rows: int = MOST_ROWS
    dagster_url: str = DEFAULT_DAGSTER_URL
    calculators: Found = field(default_factory=built_in)
    simulator_url: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call answers: the payload, and what is no part of it."""

    payload: dict[str, Any]
    pictures: Sequence[Picture] = ()
    links: Sequence[Link] = ()


class Calls:
    """Runs tools of a selection; may be called from many threads."""

    def __init__(self, selection: Selection, options: Options) -> None:
        self.selection = selection
        self._options = options
        self._reader = Reader(options.data_dir)
        self._venues = Venues(options.simulator_url)

    def listed(self, name: str) -> Tool:
        """The listed tool called ``name``; raises :class:`~mcp_server.errors.ToolError`."""
        return find(name, self.selection.listed)

    def reachable(self, name: str) -> Tool:
        """The tool called ``name``, listed or not; raises :class:`~mcp_server.errors.ToolError`."""
        return find(name, self.selection.reachable)

    def run(self, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
        """The answer's payload; raises :class:`~mcp_server.errors.ToolError`."""
        return self.reply(tool, arguments).payload

    def reply(self, tool: Tool, arguments: dict[str, Any]) -> Reply:
        """The whole answer; raises :class:`~mcp_server.errors.ToolError`."""
        started = time.monotonic()
        given = checked(tool, arguments)
        answer = tool.run(self.context(started + tool.timeout_s), **given)
        said = payload(answer, started, given.get("response_format", "concise"))
        return Reply(said, answer.pictures, answer.links)

    def file(self, uri: str) -> tuple[bytes, str]:
        """An exported file and its MIME type; raises :class:`~mcp_server.errors.ToolError`."""
        return files.read(self.context(0).exports, uri)

    def context(self, deadline: float) -> Context:
        options = self._options
        return Context(
            self._reader,
            self.selection.reachable,
            options.max_rows,
            deadline,
            options.dagster_url,
            options.calculators,
            self._venues,
        )

    def log_failure(self, tool: Tool) -> None:
        """Log the exception being handled, which no caller gets to see."""
        log.exception("%s failed", tool.name)

    def close(self) -> None:
        self._reader.close()
