"""A served store for a module of tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer


@contextmanager
def served(folder: Path, plant: Callable[[Store], datetime]) -> Iterator[tuple[Path, datetime]]:
    """The folder of a running store that ``plant`` filled, and the time it returned."""
    engine = Engine(database_path(folder), memory_limit="512MB")
    server = StoreServer(engine, folder)
    server.start()
    try:
        with connect(folder, scope="write") as store:
            end = plant(store)
        yield folder, end
    finally:
        server.stop()
        engine.close()
