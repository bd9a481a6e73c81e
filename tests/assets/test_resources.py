"""The store as a Dagster resource: found when it runs, opened when it does not, asked again when it was away."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagster import RetryRequested

from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import InvalidQueryError, StoreUnavailableError
from orderflow_streaming.store.client import LocalStore, RemoteStore
from orderflow_streaming.store.server import StoreServer


def test_a_running_owner_is_used(served: StoreServer, tmp_path: Path) -> None:
    with StoreResource(data_dir=str(tmp_path)).connect() as store:
        assert isinstance(store, RemoteStore)
        assert store.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]


def test_without_one_the_file_is_opened_and_let_go(tmp_path: Path) -> None:
    resource = StoreResource(data_dir=str(tmp_path))
    for _ in range(2):
        with resource.connect() as store:
            assert isinstance(store, LocalStore)
    with pytest.raises(StoreUnavailableError, match="orderflow-stream run"), resource.connect(embedded=False):
        pass


def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORDERFLOW_DATA_DIR", raising=False)
    assert StoreResource().data_dir == "data"
    monkeypatch.setenv("ORDERFLOW_DATA_DIR", "elsewhere")
    assert StoreResource().data_dir == "elsewhere"


def test_a_step_asks_for_another_try_when_the_owner_went_away(served: StoreServer, tmp_path: Path) -> None:
    def interrupted() -> None:
        with StoreResource(data_dir=str(tmp_path)).step() as store:
            served.stop()
            store.query("SELECT 1")

    with pytest.raises(RetryRequested) as asked:
        interrupted()
    assert asked.value.max_retries == 3
    assert isinstance(asked.value.__cause__, StoreUnavailableError)


def test_a_step_does_not_try_a_wrong_query_again(served: StoreServer, tmp_path: Path) -> None:
    with pytest.raises(InvalidQueryError), StoreResource(data_dir=str(tmp_path)).step() as store:
        store.query("SELECT no_such_column")
