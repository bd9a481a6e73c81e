"""The model registry: versions, aliases, artefacts by hash, rollback, and many processes at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest

from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.models import SPECS
from orderflow_assets.forecasting.registry import (
    Registry,
    RegistryError,
    TamperedArtefactError,
    Timings,
    Training,
    hash_folder,
)
from orderflow_assets.forecasting.tables import EVENTS, VERSIONS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.forecasting.train import settle
from orderflow_streaming.store.engine import conform
from tests.assets.forecast_bars import BTC, START, frame_of, random_walk

KEY = BTC.key
TRAINING = Training(KEY, "price", "lightgbm", START, START, 100, "d" * 64, "c" * 16, {"num_leaves": 4})


def stored(registry: Registry, content: bytes) -> int:
    version = registry.begin(TRAINING, "test")
    registry.complete(KEY, "price", version, lambda folder: _write(folder, content), [0.5, 1.5], "test")
    return version


def _write(folder: Path, content: bytes) -> None:
    (folder / "model.pkl").write_bytes(content)


def test_a_version_goes_from_training_to_deployed(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.champion(KEY, "price") is None
    number = registry.begin(TRAINING, "test")
    assert registry.versions()[0].status == "training"
    assert registry.challenger(KEY, "price") is None
    registry.complete(KEY, "price", number, lambda folder: _write(folder, b"one"), [0.5], "test")
    assert registry.challenger(KEY, "price") is None
    registry.challenge(KEY, "price", number, "test", "the best")
    challenger = registry.challenger(KEY, "price")
    assert challenger is not None
    assert (challenger.status, challenger.alias, challenger.reference) == ("registered", "challenger", [0.5])
    registry.record_judgement(KEY, "price", number, {"ratio": 0.9}, won=True, reason="won", by="test")
    registry.promote(KEY, "price", number, "test", "won")
    champion = registry.champion(KEY, "price")
    assert champion is not None
    assert (champion.version, champion.status, champion.metrics) == (number, "deployed", {"ratio": 0.9})
    assert registry.challenger(KEY, "price") is None
    events = [event["event"] for event in registry.events(KEY)]
    assert events == [
        "training",
        "registered",
        "challenger_set",
        "validated",
        "challenger_dropped",
        "champion_set",
        "deployed",
    ]


def test_promotion_retires_the_former_and_rollback_brings_it_back(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first, second = stored(registry, b"one"), stored(registry, b"two")
    registry.promote(KEY, "price", first, "test", "first")
    registry.promote(KEY, "price", second, "test", "second")
    assert [version.status for version in registry.versions(KEY)] == ["retired", "deployed"]
    assert registry.rollback(KEY, "price", "test", "worse live") == first
    champion = registry.champion(KEY, "price")
    assert champion is not None
    assert (champion.version, champion.reason) == (first, "rollback: worse live")
    assert registry.artefact(champion).joinpath("model.pkl").read_bytes() == b"one"


def test_after_a_demotion_naive_serves_until_a_rollback(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    only = stored(registry, b"one")
    with pytest.raises(RegistryError, match="no earlier champion"):
        registry.rollback(KEY, "price", "test", "nothing yet")
    registry.promote(KEY, "price", only, "test", "won")
    registry.demote(KEY, "price", "test", "lost to naive")
    assert registry.champion(KEY, "price") is None
    assert registry.versions(KEY)[0].status == "retired"
    assert registry.rollback(KEY, "price", "test", "a mistake") == only


def test_a_new_challenger_retires_the_one_that_never_served(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = stored(registry, b"one")
    registry.challenge(KEY, "price", first, "test", "the best")
    second = stored(registry, b"two")
    assert registry.challenger(KEY, "price") is None
    registry.challenge(KEY, "price", second, "test", "the best")
    challenger = registry.challenger(KEY, "price")
    assert challenger is not None
    assert challenger.version == second
    retired = next(version for version in registry.versions(KEY) if version.version == first)
    assert (retired.status, retired.reason) == ("retired", f"replaced by version {second}")


def test_what_was_never_stored_cannot_serve(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = registry.begin(TRAINING, "test")
    with pytest.raises(RegistryError, match="has no stored model"):
        registry.promote(KEY, "price", version, "test", "hope")
    with pytest.raises(RegistryError, match="has no version 99"):
        registry.fail(KEY, "price", 99, "nothing", "test")


def test_a_save_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = registry.begin(TRAINING, "test")

    def half(folder: Path) -> None:
        _write(folder, b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        registry.complete(KEY, "price", version, half, [], "test")
    assert registry.challenger(KEY, "price") is None
    assert list((tmp_path / "models").glob("staged-*")) == []
    assert list((tmp_path / "models" / "artefacts").iterdir()) == []


@pytest.mark.parametrize("change", ["content", "extra file", "missing file"])
def test_a_changed_artefact_is_refused(tmp_path: Path, change: str) -> None:
    registry = Registry(tmp_path)
    registry.promote(KEY, "price", stored(registry, b"one"), "test", "won")
    champion = registry.champion(KEY, "price")
    assert champion is not None
    folder = registry.artefact(champion)
    if change == "content":
        _write(folder, b"onE")
    elif change == "extra file":
        (folder / "more.pkl").write_bytes(b"")
    else:
        (folder / "model.pkl").unlink()
    with pytest.raises(TamperedArtefactError, match="Roll back or train again"):
        registry.artefact(champion)


def test_a_pickle_that_runs_code_is_not_loaded(tmp_path: Path) -> None:
    frame = frame_of(random_walk(300, seed=1))
    fitting.fit(SPECS["har"], TARGETS["volatility"], frame).save(tmp_path)
    marker = tmp_path / "ran"
    payload = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    (tmp_path / "model.pkl").write_bytes(payload)
    with pytest.raises(fitting.ModelError, match="cannot be loaded"):
        fitting.load(tmp_path)
    assert not marker.exists()


def test_the_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    before = hash_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "c")
    assert hash_folder(tmp_path) != before


def test_versions_fit_their_table(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = stored(registry, b"one")
    registry.record_judgement(KEY, "price", version, {"ratio": float("nan")}, won=False, reason="lost", by="test")
    rows = conform(registry.to_arrow(KEY), VERSIONS).to_pylist()
    assert rows[0]["symbol"] == "BTCUSDT"
    assert rows[0]["parameters"] == '{"num_leaves":4}'
    assert rows[0]["metrics"] == '{"ratio":null}'
    assert rows[0]["reason"] == "lost"


def _begin_many(folder: Path) -> None:
    registry = Registry(folder)
    for _ in range(20):
        registry.begin(TRAINING, "worker")


def test_processes_never_get_the_same_number(tmp_path: Path) -> None:
    Registry(tmp_path)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_begin_many, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert [version.version for version in Registry(tmp_path).versions()] == list(range(1, 41))


def test_the_file_is_in_wal_mode(tmp_path: Path) -> None:
    Registry(tmp_path)
    connection = sqlite3.connect(tmp_path / "models" / "registry.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_events_are_never_changed_or_removed(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    stored(registry, b"one")
    connection = sqlite3.connect(tmp_path / "models" / "registry.sqlite")
    for statement in ("UPDATE model_event SET reason = 'else'", "DELETE FROM model_event"):
        with pytest.raises(sqlite3.IntegrityError, match="events are never"):
            connection.execute(statement)
    connection.close()
    told = conform(registry.events_to_arrow(KEY), EVENTS).to_pylist()
    assert [row["event"] for row in told] == ["training", "registered"]
    assert {row["symbol"] for row in told} == {"BTCUSDT"}


def test_a_registry_of_an_earlier_release_gets_the_columns_it_lacks(tmp_path: Path) -> None:
    Registry(tmp_path)
    connection = sqlite3.connect(tmp_path / "models" / "registry.sqlite")
    connection.execute("ALTER TABLE model_version DROP COLUMN fit_s")
    connection.commit()
    connection.close()
    registry = Registry(tmp_path)
    version = stored(registry, b"one")
    registry.record_timings(KEY, "price", version, Timings(1.5, 0.2, 0.01, "cpu"))
    assert registry.version(KEY, "price", version).fit_s == 1.5
    assert [(one.model, one.fit_s, one.rows) for one in registry.measured()] == [("lightgbm", 1.5, 100)]


def test_models_that_never_served_are_removed_once_replaced(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    served = stored(registry, b"served")
    registry.promote(KEY, "price", served, "test", "won")
    replaced, newest = stored(registry, b"replaced"), stored(registry, b"newest")
    registry.promote(KEY, "price", newest, "test", "won")
    assert registry.prune(KEY) == 1
    assert registry.version(KEY, "price", replaced).artefact_sha256 is None
    assert registry.rollback(KEY, "price", "test", "worse") == served
    assert registry.artefact(registry.version(KEY, "price", served)).is_dir()


def test_a_verdict_older_than_a_rollback_is_not_carried_out(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first, second, third = (stored(registry, content) for content in (b"one", b"two", b"three"))
    registry.promote(KEY, "price", first, "test", "won")
    registry.promote(KEY, "price", second, "test", "won")
    verdict = {"verdict": "demote", "reason": "errors have grown"}
    registry.record_judgement(KEY, "price", third, verdict, won=False, reason="lost", by="test")
    registry.challenge(KEY, "price", third, "test", "the best")
    registry.rollback(KEY, "price", "test", "the first was better")
    assert settle(registry, KEY, "price", "test")[1] == first
