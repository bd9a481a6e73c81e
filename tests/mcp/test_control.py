"""Tools that change something: reachable with writes alone, by the write token, with consent, and in Dagster itself."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mcp_server.calls import Calls, Options
from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools, find, select
from orderflow_streaming.actions import Actions
from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.errors import InvalidActionError
from orderflow_streaming.store.server import StoreServer
from orderflow_streaming.watching.alerts import ALERTS
from tests.mcp.conftest import Ask, asking
from tests.mcp.planted import now, rows_of

SERIES = "BTCUSDT|binance_futures"


def rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an answer, what they have in common included."""
    return [answer.get("constants", {}) | dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


def changing(folder: Path, **options: Any) -> Ask:
    calls = Calls(select(declared_tools(), toolsets=("all",), allow_write=True), Options(folder, **options))
    return lambda tool, /, **arguments: calls.run(find(tool, calls.selection.listed), arguments)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[tuple[Path, list[tuple[str, dict[str, Any]]]]]:
    """Data folder of a store that writes down what it is asked to change, and refuses sockets."""
    told: list[tuple[str, dict[str, Any]]] = []
    engine = Engine(database_path(tmp_path), memory_limit="256MB")
    server = StoreServer(engine, tmp_path)

    def handler(name: str) -> Any:
        def handle(body: dict[str, Any]) -> dict[str, Any]:
            if "socket" in body:
                raise InvalidActionError("no socket 'x'. Sockets: public.")
            told.append((name, dict(body)))
            return {"symbols": ["BTCUSDT"], "changed": sorted(body)}

        return handle

    for name in ("start", "stop", "configure", "reconnect", "flush", "acknowledge"):
        server.register(name, handler(name), "write")
    server.start()
    yield tmp_path, told
    server.stop()
    engine.close()


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("collection_start", {"market": "okx_futures"}, ("start", {"market": "okx_futures"})),
        ("collection_stop", {"market": "okx_futures"}, ("stop", {"market": "okx_futures"})),
        ("stop_streaming", {}, ("stop", {})),
        (
            "start_streaming",
            {"exchanges": ["bybit", "okx_futures"], "symbols": ["ethusdt"], "config_path": "x"},
            ("configure", {"markets": ["bybit_futures", "bybit_spot", "okx_futures"], "symbols": ["ETHUSDT"]}),
        ),
        ("configure_streaming", {"batch_size": 5, "auto_retrain": None}, ("configure", {})),
        ("collection_configure", {"streams": ["trades"]}, ("configure", {"stream_types": ["trades"]})),
        ("collection_configure", {"reset": True}, ("configure", {"reset": True})),
        ("collection_reconnect", {}, ("reconnect", {})),
        ("collection_flush", {}, ("flush", {})),
        ("alert_acknowledge", {"alert_id": "a1", "by": "Ann"}, ("acknowledge", {"id": "a1", "by": "Ann"})),
    ],
)
def test_the_daemon_is_told_what_was_asked(
    collection: tuple[Path, list[tuple[str, dict[str, Any]]]],
    tool: str,
    arguments: dict[str, Any],
    expected: tuple[str, dict[str, Any]],
) -> None:
    folder, told = collection
    parts = dict(changing(folder)(tool, **arguments)["rows"])
    assert told == [expected]
    assert parts == {"symbols": ["BTCUSDT"], "changed": sorted(expected[1])}


def test_what_the_daemon_refuses_says_why(collection: tuple[Path, list[tuple[str, dict[str, Any]]]]) -> None:
    with pytest.raises(ToolError) as failure:
        changing(collection[0])("collection_reconnect", market="bybit_futures", socket="x")
    assert failure.value.fact == "no socket 'x'. Sockets: public."


def test_a_daemon_that_starts_is_not_running_yet(tmp_path: Path) -> None:
    engine = Engine(database_path(tmp_path), memory_limit="256MB")
    server = StoreServer(engine, tmp_path)
    Actions(server, lambda: 0, {})
    server.start()
    try:
        with pytest.raises(ToolError) as failure:
            changing(tmp_path)("collection_flush")
    finally:
        server.stop()
        engine.close()
    assert (failure.value.code, failure.value.retryable) == ("store_unavailable", True)


def test_a_server_that_only_reads_cannot_change_anything(
    collection: tuple[Path, list[tuple[str, dict[str, Any]]]],
) -> None:
    folder, told = collection
    for name in ("collection_stop", "stop_streaming", "asset_materialize", "model_train"):
        with pytest.raises(ToolError) as failure:
            asking(folder)(name, market="all")
        assert failure.value.code == "read_only"
    assert told == []


def test_alerts_are_listed_page_by_page(collection: tuple[Path, list[tuple[str, dict[str, Any]]]]) -> None:
    folder, at = collection[0], now()
    alert = {"timestamp": at, "source": "collector", "message": "no trades", "count": 1}
    levels = ("HIGH", "LOW", "HIGH")
    alerts = [alert | {"id": f"a{n}", "level": level, "acknowledged": n == 0} for n, level in enumerate(levels)]
    with connect(folder, scope="write") as store:
        store.write(ALERTS, rows_of(ALERTS, alerts))
    ask = asking(folder)
    first = ask("alerts_list", limit=2)
    rest = ask("alerts_list", limit=2, cursor=first["meta"]["next_cursor"])
    assert [row["id"] for page in (first, rest) for row in rows(page)] == ["a2", "a1", "a0"]
    assert [row["id"] for row in rows(ask("get_streaming_alerts", level="high"))] == ["a2", "a0"]
    assert [row["id"] for row in rows(ask("alerts_list", acknowledged=True))] == ["a0"]


DEFINITIONS = """
from dagster import AssetKey, AssetSpec, Config, Definitions, DynamicPartitionsDefinition, StaticPartitionsDefinition
from dagster import asset, define_asset_job

class Training(Config):
    models: list[str] = []
    tuning_trials: int = 0

class Looking(Config):
    lookback_days: float = 14

@asset(key=AssetKey(["bars", "one"]), deps=[AssetKey(["raw", "trades"])])
def one(): ...

@asset(key=AssetKey(["bars", "two"]), deps=[one], partitions_def=StaticPartitionsDefinition(["a", "b", "c"]))
def two(): ...

series = DynamicPartitionsDefinition(name="series")

@asset(key=AssetKey(["models", "frames"]), partitions_def=series)
def frames(config: Looking): ...

@asset(key=AssetKey(["models", "versions"]), deps=[frames], partitions_def=series)
def versions(config: Training): ...

defs = Definitions([AssetSpec(AssetKey(["raw", "trades"])), one, two, frames, versions],
                   jobs=[define_asset_job("retrain", [frames, versions])])
"""


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """Address of Dagster's own GraphQL over a few assets, and the instance behind it, in which runs only queue."""
    pytest.importorskip("dagster_graphql", reason="Dagster is not installed")
    from dagster import DagsterInstance
    from dagster._core.remote_origin import InProcessCodeLocationOrigin
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
    from dagster_graphql.schema import create_schema

    folder = tmp_path_factory.mktemp("dagster")
    file = folder / "definitions.py"
    file.write_text(DEFINITIONS)
    target = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(file), attribute="defs")
    schema = create_schema()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answering = schema.execute_async(
                asked["query"],
                context_value=process.create_request_context(),
                variable_values=asked["variables"],
            )
            answer = asyncio.run(answering)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer.formatted).encode())

        def log_message(self, *_: Any) -> None: ...

    overrides = {"run_coordinator": {"module": "dagster", "class": "QueuedRunCoordinator"}}
    with DagsterInstance.local_temp(str(folder), overrides=overrides) as instance:
        instance.add_dynamic_partitions("series", [SERIES])
        origin = InProcessCodeLocationOrigin(target, location_name="here")
        with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as process:
            server = HTTPServer(("127.0.0.1", 0), Answers)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}", instance
            server.shutdown()
            server.server_close()


def test_lineage_says_what_an_asset_is_made_of_and_what_is_made_of_it(tmp_path: Path, dagster: tuple[str, Any]) -> None:
    ask = asking(tmp_path, dagster_url=dagster[0])
    near = {(row["asset"], row["direction"]) for row in rows(ask("asset_lineage", asset="bars.one"))}
    assert near == {("raw.trades", "upstream"), ("bars.two", "downstream")}
    far = rows(ask("asset_lineage", asset="bars/two", direction="upstream", depth=5))
    assert [(row["asset"], row["distance"]) for row in far] == [("bars.one", 1), ("raw.trades", 2)]
    with pytest.raises(ToolError) as failure:
        ask("asset_lineage", asset="bars.onne")
    assert failure.value.nearest == "bars.one"


def test_a_run_is_started_with_consent_and_can_be_followed(tmp_path: Path, dagster: tuple[str, Any]) -> None:
    ask = changing(tmp_path, dagster_url=dagster[0])
    (started,) = rows(ask("asset_materialize", asset="bars.two", partition="b", confirm="bars/two"))
    run = dagster[1].get_run_by_id(started["run_id"])
    assert ({key.to_user_string() for key in run.asset_selection}, run.tags["dagster/partition"]) == ({"bars/two"}, "b")
    (listed,) = rows(ask("runs_list", run_id=started["run_id"]))
    assert (listed["status"], listed["partition"], listed["assets"]) == ("QUEUED", "b", ["bars.two"])
    log = ask("run_log", run_id=started["run_id"], limit=1)
    rest = ask("run_log", run_id=started["run_id"], cursor=log["meta"]["next_cursor"])
    assert [row["event"] for page in (log, rest) for row in rows(page)][-1] == "RUN_ENQUEUED"


def test_a_backfill_covers_the_partitions_between(tmp_path: Path, dagster: tuple[str, Any]) -> None:
    ask = changing(tmp_path, dagster_url=dagster[0])
    (made,) = rows(ask("asset_backfill", asset="bars.two", first="a", last="b", confirm="bars.two"))
    wanted = dagster[1].get_backfill(made["backfill"]).asset_backfill_data.target_subset
    assert {one.partition_key for one in wanted.iterate_asset_partitions()} == {"a", "b"}
    assert made["partitions"] == 2
    assert ask("runs_list", backfill=made["backfill"])["hint"] == "There is no such run."


def test_a_training_runs_with_what_was_asked(tmp_path: Path, dagster: tuple[str, Any]) -> None:
    ask = changing(tmp_path, dagster_url=dagster[0])
    answer = ask("model_train", symbol="BTCUSDT", confirm=SERIES, models=["LightGBM"], tuning_trials=3, days=7)
    run = dagster[1].get_run_by_id(rows(answer)[0]["run_id"])
    assert (run.job_name, run.tags["dagster/partition"]) == ("retrain", SERIES)
    assert run.run_config["ops"] == {
        "models__frames": {"config": {"lookback_days": 7.0}},
        "models__versions": {"config": {"models": ["lightgbm"], "tuning_trials": 3}},
    }


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "told"),
    [
        ("asset_materialize", {"asset": "bars.one", "confirm": "yes"}, "consent", "does not repeat 'bars.one'"),
        ("asset_materialize", {"asset": "bars.two", "confirm": "bars.two"}, "argument", "is partitioned"),
        ("asset_materialize", {"asset": "bars.one", "confirm": "bars.one", "partition": "a"}, "argument", "no partit"),
        ("asset_materialize", {"asset": "raw.trades", "confirm": "raw.trades"}, "argument", "not computed by Dagster"),
        ("asset_backfill", {"asset": "bars.two", "confirm": "", "first": "a", "last": "b"}, "consent", "bars.two"),
        ("asset_backfill", {"asset": "bars.two", "confirm": "bars.two", "first": "c", "last": "a"}, "argument", " 0 "),
        ("asset_backfill", {"asset": "bars.two", "confirm": "bars.two", "first": "a", "last": "z"}, "argument", "'z'"),
        ("model_train", {"symbol": "BTCUSDT", "confirm": "BTCUSDT"}, "consent", SERIES),
        ("model_train", {"symbol": "ETHUSDT", "confirm": "ETHUSDT|binance_futures"}, "argument", "no series ETHUSDT"),
        ("model_train", {"symbol": "BTCUSDT", "confirm": SERIES, "models": ["nbeast"]}, "argument", "nbeats"),
        ("backtest_start", {"symbol": "BTCUSDT", "confirm": SERIES}, "unknown_name", "models.backtests"),
        ("run_log", {"run_id": "none"}, "argument", "is no run"),
    ],
)
def test_nothing_is_started_that_was_not_asked_for_right(
    tmp_path: Path, dagster: tuple[str, Any], tool: str, arguments: dict[str, Any], code: str, told: str
) -> None:
    before = dagster[1].get_runs_count()
    with pytest.raises(ToolError) as failure:
        changing(tmp_path, dagster_url=dagster[0])(tool, **arguments)
    assert (failure.value.code, told in failure.value.fact) == (code, True), failure.value.fact
    assert dagster[1].get_runs_count() == before
