"""The whole path: simulator and daemon as processes, Dagster over what they store, the answer in an MCP client.

Every number the MCP server gives is computed again here, from the raw rows, by other code.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dagster import AssetKey, AssetSelection, DagsterInstance, Definitions
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from orderflow_assets.definitions import build_defs
from orderflow_assets.forecasting.frame import FEATURES
from orderflow_assets.metadata import asset_key
from orderflow_assets.partitions import hourly
from orderflow_assets.resources import StoreResource
from orderflow_streaming.store import Store, StoreError, connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HISTORY_H = 23
"""Enough five-minute bars for a model to be trained and judged."""
SERIES = "BTCUSDT|binance_futures"


@dataclass
class Running:
    """A simulator and a daemon that has caught up with it, and the Dagster instance that computed the rest."""

    data_dir: Path
    instance: DagsterInstance
    first: datetime
    last: datetime
    """First and last whole hour stored; naive UTC."""

    def ask(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """Rows of one MCP call, over stdio, with the hoisted columns put back."""
        import asyncio

        return asyncio.run(_call(self.data_dir, tool, arguments))


async def _call(data_dir: Path, tool: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_server", "--data-dir", str(data_dir)], env={**os.environ}
    )
    async with stdio_client(command) as streams, ClientSession(*streams) as session:
        await session.initialize()
        result = await session.call_tool(tool, arguments)
        assert not result.isError, result.content
        answer = result.structuredContent
        assert answer is not None
        assert json.loads(result.content[0].text) == answer
        return [
            {**dict(zip(answer["columns"], row, strict=True)), **answer.get("constants", {})} for row in answer["rows"]
        ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.25)


@contextmanager
def process(*arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        child = subprocess.Popen([sys.executable, "-m", *arguments], stdout=output, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(30)


def newest(data_dir: Path) -> datetime | None:
    try:
        with connect(data_dir, embedded=False) as store:
            return store.query("SELECT max(timestamp) AS newest FROM trades").to_pylist()[0]["newest"]
    except StoreError:
        return None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("path")
    data_dir, port = folder / "data", free_port()
    which = "--symbols BTCUSDT --market"
    simulate = f"orderflow_streaming simulate --history {HISTORY_H} --port {port} --seed 7 {which} binance_futures"
    collect = f"orderflow_streaming run --simulator http://127.0.0.1:{port} --port 0 {which}s binance_futures"
    knobs = ["--activity", "0.3", "--book-interval-ms", "1000"]
    os.environ["ORDERFLOW_OVERFLOW"] = "wait"
    with (
        process(*simulate.split(), *knobs, log=folder / "simulator.log"),
        process(*collect.split(), "--data-dir", str(data_dir), "--flush-interval", "1", log=folder / "daemon.log"),
        DagsterInstance.local_temp(str(folder)) as instance,
    ):
        del os.environ["ORDERFLOW_OVERFLOW"]

        def caught_up() -> bool:
            seen = newest(data_dir)
            return seen is not None and seen > datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=30)

        wait_for(caught_up, 300, "catching up with the simulated history")
        settled = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=2)
        last = settled.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        first = last - timedelta(hours=HISTORY_H - 2)
        materialize_all(build_defs({"store": StoreResource(data_dir=str(data_dir))}), instance, first, last)
        yield Running(data_dir, instance, first, last)


def materialize_all(defs: Definitions, instance: DagsterInstance, first: datetime, last: datetime) -> None:
    """Hours in two ranged runs, then the models of the series, the forecasts of the last hour, scores and drift.

    All hours of what models learn from, and the last two of everything.
    """
    graph = defs.get_repository_def().asset_graph
    learnt = AssetSelection.assets(*(asset_key(table) for table in FEATURES)).upstream()
    hours = AssetSelection.groups("bars", "features", "signals")
    keys = {when: when.strftime("%Y-%m-%d-%H:00") for when in (first, last)}
    whole = {ASSET_PARTITION_RANGE_START_TAG: keys[first], ASSET_PARTITION_RANGE_END_TAG: keys[last]}
    instance.add_dynamic_partitions("series", [SERIES])
    assert hourly.has_partition_key(keys[last])
    last_two = {**whole, ASSET_PARTITION_RANGE_START_TAG: (last - timedelta(hours=1)).strftime("%Y-%m-%d-%H:00")}
    execute(defs, instance, (learnt & hours).resolve(graph), tags=whole)
    execute(defs, instance, hours.resolve(graph), tags=last_two)
    execute(defs, instance, [AssetKey(["models", name]) for name in ("frames", "versions", "champions")], SERIES)
    execute(defs, instance, [AssetKey(["forecasts", "forecasts"])], tags=last_two)
    execute(defs, instance, [AssetKey(["forecasts", "scores"])])
    execute(defs, instance, [AssetKey(["models", "drift"])])


def execute(
    defs: Definitions,
    instance: DagsterInstance,
    keys: Any,
    partition: str | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance, asset_selection=list(keys), partition_key=partition, tags=tags, raise_on_error=True
    )
    assert result.success


@pytest.fixture(scope="module")
def raw(running: Running) -> dict[str, pd.DataFrame]:
    """Raw rows of the stored hours, by stream."""
    with connect(running.data_dir) as store:
        return {stream: _raw(store, running, stream) for stream in ("trades", "prices")}


def _raw(store: Store, running: Running, stream: str) -> pd.DataFrame:
    sql = f"SELECT * FROM btcusdt_binance_futures_{stream} WHERE timestamp < ? ORDER BY timestamp, id"
    return store.query(sql, [running.last + timedelta(hours=1)], timeout_s=60).to_pandas()


def stamp(value: str) -> pd.Timestamp:
    return pd.Timestamp(value).tz_convert(None)


def approx(value: float, digits: int = 9) -> Any:
    return pytest.approx(value, rel=10.0**-digits, abs=1e-8)


def test_every_stream_has_rows_and_none_was_refused(running: Running) -> None:
    health = running.ask("streams_health")
    assert {row["stream"] for row in health} >= {"trades", "prices", "orderbooks", "mark_prices", "open_interest"}
    counts = {row["table"].split(".")[-1]: row["rows"] for row in running.ask("tables_list")}
    for stream in ("trades", "prices", "orderbooks", "mark_prices", "funding_rates", "ticker_24h", "candles"):
        assert counts[stream] > 0, stream
    assert counts["quarantine"] == 0
    assert counts["gaps"] == 0


def test_bars_equal_the_trades(running: Running, raw: dict[str, pd.DataFrame]) -> None:
    end = running.last + timedelta(hours=1)
    rows = running.ask("bars_get", symbol="BTCUSDT", end=f"{end.isoformat()}Z", limit=60)
    assert len(rows) == 60
    trades = raw["trades"]
    for row in rows:
        close = stamp(row["bar_ts"])
        own = trades[(trades.timestamp >= close - pd.Timedelta("60s")) & (trades.timestamp < close)]
        if own.empty:
            assert row["close"] is None or row["volume"] == 0
            continue
        assert row["open"] == approx(own.price.iloc[0])
        assert row["high"] == approx(own.price.max())
        assert row["low"] == approx(own.price.min())
        assert row["close"] == approx(own.price.iloc[-1])
        assert row["volume"] == approx(own.quantity.sum())


def test_trade_features_equal_the_trades(running: Running, raw: dict[str, pd.DataFrame]) -> None:
    end = running.last + timedelta(hours=1)
    wanted = ["total_volume", "buy_volume", "cvd_delta", "aggressive_ratio", "vwap"]
    rows = running.ask(
        "features_get", group="trades", symbol="BTCUSDT", features=wanted, end=f"{end.isoformat()}Z", limit=60
    )
    assert len(rows) == 60
    trades = raw["trades"]
    for row in rows:
        close = stamp(row["bar_ts"])
        own = trades[(trades.timestamp >= close - pd.Timedelta("60s")) & (trades.timestamp < close)]
        if own.empty:
            assert row["vwap"] is None
            continue
        bought = own[own.side == "buy"]
        assert row["total_volume"] == approx(own.quantity.sum(), 8)
        assert row["buy_volume"] == approx(bought.quantity.sum(), 8)
        assert row["cvd_delta"] == approx(2 * bought.quantity.sum() - own.quantity.sum(), 6)
        assert row["aggressive_ratio"] == approx(bought.quote_value.sum() / own.quote_value.sum(), 5)
        assert row["vwap"] == approx(own.quote_value.sum() / own.quantity.sum(), 8)


def test_price_features_equal_the_quotes(running: Running, raw: dict[str, pd.DataFrame]) -> None:
    """Mid at the close, and the spread averaged over the time each quote stood."""
    end = running.last + timedelta(hours=1)
    rows = running.ask(
        "features_get",
        group="prices",
        symbol="BTCUSDT",
        features=["mid_price", "spread"],
        end=f"{end.isoformat()}Z",
        limit=20,
    )
    assert len(rows) == 20
    quotes = raw["prices"]
    compared = 0
    for row in rows:
        close = stamp(row["bar_ts"])
        known = quotes[quotes.timestamp <= close]
        fresh = close - known.timestamp.iloc[-1] <= pd.Timedelta("5s")
        assert (row["mid_price"] is not None) == fresh
        if not fresh:
            continue
        assert row["mid_price"] == approx((known.bid_price.iloc[-1] + known.ask_price.iloc[-1]) / 2)
        opening = close - pd.Timedelta("60s")
        at_opening = known[known.timestamp <= opening].tail(1)
        states = pd.concat([at_opening, known[known.timestamp > opening]])
        start = states.timestamp.clip(lower=opening)
        until = start.shift(-1).fillna(close)
        lifetime = (until - start).dt.total_seconds().clip(upper=5.0)
        if lifetime.sum() > 59.9:
            spread = float(np.average(states.ask_price - states.bid_price, weights=lifetime))
            assert row["spread"] == approx(spread, 4)
            compared += 1
    assert compared > 5


def test_the_signal_is_the_weighted_mean_of_its_known_parts(running: Running) -> None:
    rows = running.ask("signal_get", symbol="BTCUSDT", limit=30)
    weights = {"absorption": 0.25, "whales": 0.3, "toxicity": 0.2, "divergence": 0.25}
    assert any(row["value"] is not None for row in rows)
    for row in rows:
        if row["value"] is None:
            continue
        known = {part: value for part, value in row["components"].items() if value is not None}
        total = sum(weights[part] for part in known)
        assert row["confidence"] == approx(total, 5)
        assert row["value"] == approx(sum(weights[part] * value for part, value in known.items()) / total, 4)


def test_the_flow_of_the_last_minutes_equals_the_ticks(running: Running, raw: dict[str, pd.DataFrame]) -> None:
    end = running.last + timedelta(hours=1)
    start = end - timedelta(minutes=15)
    [row] = running.ask("trade_flow_get", symbol="BTCUSDT", start=f"{start.isoformat()}Z", end=f"{end.isoformat()}Z")
    trades = raw["trades"]
    own = trades[(trades.timestamp >= start) & (trades.timestamp < end)]
    bought = own[own.side == "buy"]
    assert row["trades"] == len(own)
    assert row["buy_base"] == approx(bought.quantity.sum(), 8)
    assert row["sell_base"] == approx(own.quantity.sum() - bought.quantity.sum(), 8)


def test_forecasts_start_from_the_last_trade_and_their_errors_are_theirs(
    running: Running, raw: dict[str, pd.DataFrame]
) -> None:
    trades = raw["trades"]
    rows = running.ask("forecasts_get", symbol="BTCUSDT", target="price")
    assert [row["step"] for row in rows] == list(range(1, 13))
    for row in rows:
        issued = stamp(row["issued_at"])
        last = trades[trades.timestamp < issued].price.iloc[-1]
        assert row["last_value"] == approx(last)
        assert row["naive"] == approx(last)
        assert stamp(row["target_ts"]) - issued == pd.Timedelta(minutes=5 * row["step"])
        assert row["point"] is not None
        if row["lower_95"] is not None:
            assert row["lower_95"] <= row["lower_80"] <= row["point"] <= row["upper_80"] <= row["upper_95"]
    with connect(running.data_dir) as store:
        scores = store.query(
            "SELECT * FROM forecasts.scores JOIN forecasts.forecasts USING (series, target, model, version, issued_at, "
            "target_ts, step) WHERE target = 'price' AND issued_at < ? ORDER BY issued_at, step LIMIT 100",
            [running.last + timedelta(minutes=30)],
        ).to_pylist()
    assert scores
    for score in scores:
        actual = trades[trades.timestamp < pd.Timestamp(score["target_ts"])].price.iloc[-1]
        assert score["actual"] == approx(actual)
        assert score["error"] == approx(actual - score["point"], 6)


def test_models_were_trained_judged_and_watched(running: Running) -> None:
    models = running.ask("models_list", symbol="BTCUSDT")
    assert {row["target"] for row in models} == {"price", "volatility", "volume"}
    drift = running.ask("drift_status", symbol="BTCUSDT")
    assert {row["series"] for row in drift} == {SERIES}
    checked = running.instance.get_latest_materialization_event(AssetKey(["models", "drift"]))
    assert checked is not None


def test_sql_answers_what_the_store_answers(running: Running) -> None:
    sql = "SELECT count(*) AS n, max(trade_id) AS newest FROM btcusdt_binance_futures_trades WHERE timestamp < $until"
    sql = sql.replace("$until", f"TIMESTAMP '{running.last}'")
    with connect(running.data_dir) as store:
        expected = store.query(sql).to_pylist()
    assert running.ask("sql_query", sql=sql) == expected
