"""The tools of the analytics against a served store of three venues, and plain words where there is nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools
from mcp_server.results import MOST_CHARACTERS
from orderflow_assets.analytics import (
    alpha,
    cross_exchange,
    event_risk,
    information_share,
    lead_lag,
    leverage,
    moves,
    order_flow,
    regimes,
    volatility,
    zones,
)
from orderflow_assets.analytics.catalog import ANALYTICS
from orderflow_assets.analytics.fees import taker_fee_bps
from orderflow_assets.bars import minutes, parents, quotes
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.assets.test_cross_exchange import market
from tests.assets.venues_tape import OPENING, compute, load
from tests.mcp.conftest import Ask, asking
from tests.mcp.test_tools import cells, iso

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LAYERS = (
    *(
        module.LAYER
        for module in (
            quotes,
            parents,
            minutes,
            cross_exchange,
            order_flow,
            leverage,
            alpha,
            lead_lag,
            information_share,
            zones,
        )
    ),
    *moves.LAYERS,
    *regimes.LAYERS,
    volatility.LAYER,
    *event_risk.LAYERS,
)
ELSEWHERE = {
    "funding_annualize",
    "position_intent_of",
    "values_anomalies",
    "values_change_points",
    "volume_profile_get",
}
"""Tools of the toolset that read given numbers or raw trades, called in ``test_every_tool``."""
TOOLS = sorted(name for name, tool in declared_tools().items() if tool.toolset == "analytics" and name not in ELSEWHERE)
BTC = {"symbol": "BTCUSDT"}
END = OPENING + 3 * HOUR
LAST = OPENING + 150 * MINUTE
"""Closing edge of the last bar."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("analytics")
    engine = Engine(database_path(place), memory_limit="512MB")
    server = StoreServer(engine, place)
    server.start()
    with connect(place, scope="write") as store:
        load(store, market())
        compute(store, LAYERS, OPENING, END, HOUR)
    yield place
    server.stop()
    engine.close()


@pytest.fixture
def ask_venues(folder: Path) -> Ask:
    return asking(folder)


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with connect(folder, scope="read") as opened:
        yield opened


def test_there_is_a_tool_for_each() -> None:
    assert set(TOOLS) == {
        "alpha_get",
        "cross_exchange_spreads_get",
        "information_share_get",
        "lead_lag_get",
        "leverage_get",
        "liquidity_zones_get",
        "market_analyze",
        "market_summary_get",
        "order_flow_get",
        "regime_get",
    }


@pytest.mark.parametrize("name", TOOLS)
def test_a_good_call_answers_with_rows_as_of_a_time(ask_venues: Ask, name: str) -> None:
    answer = ask_venues(name, **BTC, end=iso(LAST))
    assert answer["rows"]
    assert all(len(row) == len(answer["columns"]) for row in answer["rows"])
    assert answer["meta"]["as_of"] is not None
    text = json.dumps(answer, allow_nan=False)
    assert len(text) < MOST_CHARACTERS


@pytest.mark.parametrize("name", TOOLS)
def test_a_symbol_without_rows_gets_a_reason(ask_venues: Ask, name: str) -> None:
    answer = ask_venues(name, symbol="ETHUSDT")
    assert answer["rows"] == []
    assert "ETHUSDT" in answer["hint"]


@pytest.mark.parametrize("name", TOOLS)
def test_an_empty_store_says_what_fills_it(ask: Ask, name: str) -> None:
    answer = ask(name, symbol="WIFUSDT")
    assert answer["rows"] == []
    assert "does not exist yet" in answer["hint"] or "no rows of WIFUSDT" in answer["hint"]


@pytest.mark.parametrize("name", TOOLS)
def test_what_is_not_taken_is_refused(ask_venues: Ask, name: str) -> None:
    with pytest.raises(ToolError, match="Unknown argument 'exchnage'"):
        ask_venues(name, **BTC, exchnage="binance")
    with pytest.raises(ToolError, match="is not a time"):
        ask_venues(name, **BTC, end="yesterday")


@pytest.mark.parametrize("name", ["order_flow_get", "leverage_get", "alpha_get", "cross_exchange_spreads_get"])
def test_minutes_are_the_stored_rows_page_by_page(ask_venues: Ask, store: Store, name: str) -> None:
    first = ask_venues(name, **BTC, limit=2)
    second = ask_venues(name, **BTC, limit=2, cursor=first["meta"]["next_cursor"])
    times = cells(first, "bar_ts") + cells(second, "bar_ts")
    assert times == [iso(LAST - number * MINUTE) for number in range(4)]
    table = {"cross_exchange_spreads_get": "cross_exchange"}.get(name, name.removesuffix("_get"))
    stored = store.query(f"SELECT * FROM analytics.{table} WHERE bar_ts = ?", [LAST]).to_pylist()[0]
    for column in ANALYTICS[table].features:
        shown, kept = cells(first, column.name)[0], stored[column.name]
        assert shown == (pytest.approx(kept, rel=1e-5) if isinstance(kept, float) else kept)


def test_parts_of_the_pressure_come_in_detail_only(ask_venues: Ask) -> None:
    plain = ask_venues("alpha_get", **BTC, limit=1)
    detailed = ask_venues("alpha_get", **BTC, limit=1, response_format="detailed")
    assert "confidence" in plain["columns"]
    assert "pressure_book" not in plain["columns"]
    assert {"pressure_book", "squeeze_vacuum", "confidence"} <= set(detailed["columns"])


def test_the_matrix_has_every_ordered_pair_net_of_both_fees(ask_venues: Ask, store: Store) -> None:
    at = OPENING + 35 * MINUTE
    answer = ask_venues("cross_exchange_spreads_get", **BTC, view="matrix", end=iso(at + MINUTE / 2))
    assert answer["meta"]["bar_ts"] == iso(at)
    assert len(answer["rows"]) == 6
    nets = cells(answer, "net_spread_bps")
    assert nets == sorted(nets, reverse=True)
    asked = {
        f"{row['exchange']}_futures": row
        for row in store.query("SELECT * FROM bars.bars_1m WHERE bar_ts = ?", [at]).to_pylist()
    }
    buy, sell = cells(answer, "buy_market")[0], cells(answer, "sell_market")[0]
    fee = {name: taker_fee_bps(row["exchange"], "futures") / 1e4 for name, row in asked.items()}
    net = asked[sell]["bid_price"] * (1 - fee[sell]) / (asked[buy]["ask_price"] * (1 + fee[buy])) - 1
    assert sell == "okx_futures"
    assert nets[0] == pytest.approx(1e4 * net, rel=1e-5)
    best = ask_venues("cross_exchange_spreads_get", **BTC, end=iso(at + MINUTE / 2), limit=1)
    assert cells(best, "net_spread_bps") == [pytest.approx(nets[0], rel=1e-5)]


def test_the_newest_lead_is_told_and_history_on_request(ask_venues: Ask) -> None:
    newest = ask_venues("lead_lag_get", **BTC)
    assert set(cells(newest, "valid_from")) == {iso(OPENING + 165 * MINUTE)}
    history = ask_venues("lead_lag_get", **BTC, start=iso(OPENING), end=iso(OPENING + 61 * MINUTE))
    assert cells(history, "valid_from")[0] == iso(OPENING + HOUR)
    leads = dict(
        zip(
            zip(cells(history, "first_exchange"), cells(history, "second_exchange"), strict=True),
            cells(history, "lead_lag_seconds"),
            strict=True,
        )
    )
    assert leads["binance", "bybit"] == 2


def test_the_market_is_analyzed_per_venue_and_together(ask_venues: Ask) -> None:
    answer = ask_venues("market_analyze", **BTC, seconds=300, end=iso(OPENING + 95 * MINUTE))
    parts: dict[tuple[str, str], dict[str, Any]] = {(row[0], row[1]): row[2] for row in answer["rows"]}
    venues = {market for market, _ in parts} - {"all"}
    assert venues == {"binance_futures", "bybit_futures", "okx_futures"}
    bought = sum(parts[venue, "flow"]["buy_value"] for venue in venues)
    assert parts["all", "flow"]["buy_value"] == pytest.approx(bought, rel=1e-4)
    assert parts["all", "bias"]["score"] is not None
    assert set(answer["meta"]["missing"]) == {"funding", "liquidations"}
    alone = ask_venues("market_analyze", **BTC, exchange="okx", end=iso(OPENING + 95 * MINUTE))
    assert {row[0] for row in alone["rows"]} == {"okx_futures", "all"}


def test_the_summary_names_what_pays(ask_venues: Ask) -> None:
    answer = ask_venues("market_summary_get", **BTC, end=iso(OPENING + 35 * MINUTE))
    parts = dict(answer["rows"])
    assert parts["opportunities"][0]["sell"] == "okx_futures"
    assert answer["meta"]["as_of"] == iso(OPENING + 35 * MINUTE)


@pytest.mark.parametrize(
    ("view", "table", "minutes"),
    [("state", "regimes", 60), ("volatility", "volatility_states", 60), ("event_risk", "event_risk", 5)],
)
def test_regimes_are_the_stored_rows_of_their_series(
    ask_venues: Ask, store: Store, view: str, table: str, minutes: int
) -> None:
    answer = ask_venues("regime_get", **BTC, view=view)
    assert answer["meta"]["only"]["exchange"] == "binance"
    times = cells(answer, "bar_ts")
    assert times == sorted(times, reverse=True)
    kept = store.query(
        f"SELECT DISTINCT bar_ts FROM analytics.{table} WHERE exchange = 'binance' AND market_type = 'futures' "
        f"AND bar_ts - open_time = INTERVAL {minutes} MINUTE ORDER BY bar_ts DESC LIMIT 24"
    )
    assert times == [iso(row["bar_ts"]) for row in kept.to_pylist()]


def test_the_first_day_has_no_state_and_says_what_it_takes(ask_venues: Ask) -> None:
    answer = ask_venues("regime_get", **BTC, step="5m")
    assert set(cells(answer, "state")) == {None}
    assert answer["meta"]["learned_on"] == "up to 7 days, at least 576 bars"
