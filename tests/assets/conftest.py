"""The planted tape, stored and computed once for all tests of the analytics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster._core.storage.defs_state.base import set_defs_state_storage

from orderflow_streaming.store import Store, connect
from tests.assets.computing import compute, copied
from tests.assets.tape import END, START, Tape, load, planted


@pytest.fixture(autouse=True)
def _no_state_of_an_earlier_instance() -> Iterator[None]:
    """Dagster keeps a pointer into the last instance, also when that is gone."""
    with set_defs_state_storage(None):
        yield


@pytest.fixture(scope="session")
def tapes() -> dict[str, Tape]:
    return planted()


@pytest.fixture(scope="session")
def raw_tape(tapes: dict[str, Tape], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a closed store with the tapes and nothing computed; copy it."""
    folder = tmp_path_factory.mktemp("raw_tape")
    with connect(folder, scope="write") as store:
        load(store, tapes)
        store.action("checkpoint")
    return folder


@pytest.fixture(scope="session")
def tape_store(raw_tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The tapes with every layer computed hour by hour. Read it, do not write to it."""
    with copied(raw_tape, tmp_path_factory.mktemp("tape")) as store:
        compute(store, START.replace(minute=0), END)
        yield store
