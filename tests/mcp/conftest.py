"""A served store with planted rows, and the tools over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mcp_server.calls import Calls, Options
from mcp_server.registry import declared_tools, find, select
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.mcp.planted import plant

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, datetime]]:
    """Data folder of a running store with planted rows, and the closing edge of its newest bar."""
    folder = tmp_path_factory.mktemp("planted")
    engine = Engine(database_path(folder), memory_limit="512MB")
    server = StoreServer(engine, folder)
    server.register("status", lambda _: STATUS, "read")
    server.start()
    with connect(folder, scope="write") as store:
        end = plant(store)
    yield folder, end
    server.stop()
    engine.close()


@pytest.fixture
def reader(planted: tuple[Path, datetime]) -> Iterator[Store]:
    with connect(planted[0], scope="read") as store:
        yield store


def asking(folder: Path, **options: Any) -> Ask:
    """``ask(tool, **arguments)`` runs any declared tool against the store of ``folder``."""
    calls = Calls(select(declared_tools(), toolsets=("all",)), Options(folder, **options))
    return lambda tool, /, **arguments: calls.run(find(tool, calls.selection.listed), arguments)


@pytest.fixture
def ask(planted: tuple[Path, datetime]) -> Ask:
    return asking(planted[0])


STATUS: dict[str, Any] = {
    "status": "DEGRADED",
    "state": "RUNNING",
    "issues": ["binance_futures market: not connected (connecting)"],
    "uptime_seconds": 61.5,
    "start_time": "2026-11-24T09:00:00+00:00",
    "writer": {"pending_records": 7, "flush_age_seconds": 1.5},
    "streams": [
        {
            "market": "binance_futures",
            "stream": "trades",
            "symbols": 9,
            "connected": False,
            "last_message_age_s": 4.25,
            "messages": 900,
            "messages_per_min": 880.0,
            "rows_stored": 899,
            "rows_per_min": 879.0,
            "duplicates": 1,
            "gaps": 2,
            "rejected": 0,
            "dropped": 0,
            "lag_ms_p50": 80.0,
            "lag_ms_p99": 200.0,
            "unavailable": 0,
        }
    ],
}
