"""How assets, checks and sensors reach the store.

The store is served by the process that owns the DuckDB file, so the resource hands out a client, not a DuckDB
connection; dagster-duckdb's ``DuckDBResource`` opens the file itself and would meet the owner's lock. Where no
owner runs the client opens the file in this process, with the owner's own settings and the same interface.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from dagster import ConfigurableResource, RetryRequested
from pydantic import Field

from orderflow_streaming.store import Store, StoreError, connect
from orderflow_streaming.store.endpoint import Scope

DATA_DIR_VARIABLE = "ORDERFLOW_DATA_DIR"
_MAX_RETRIES = 3
_RETRY_SECONDS = 5.0


def default_data_dir() -> str:
    """``$ORDERFLOW_DATA_DIR``, else ``data`` under the working directory."""
    return os.environ.get(DATA_DIR_VARIABLE, "data")


class StoreResource(ConfigurableResource[Store]):
    """The store of one data folder, served or embedded."""

    data_dir: str = Field(default_factory=default_data_dir, description="Folder that holds the DuckDB database.")

    @contextmanager
    def connect(self, scope: Scope = "write", *, embedded: bool = True) -> Iterator[Store]:
        """A store, closed at the end. ``embedded=False`` refuses to open the file where no owner runs.

        Raises the errors of :func:`orderflow_streaming.store.connect`.
        """
        with connect(self.data_dir, scope=scope, embedded=embedded) as store:
            yield store

    @contextmanager
    def step(self, scope: Scope = "write") -> Iterator[Store]:
        """:meth:`connect` inside a step: what a later try can cure, such as an owner restarting, asks for one."""
        try:
            with self.connect(scope) as store:
                yield store
        except StoreError as error:
            if error.retryable:
                raise RetryRequested(max_retries=_MAX_RETRIES, seconds_to_wait=_RETRY_SECONDS) from error
            raise
