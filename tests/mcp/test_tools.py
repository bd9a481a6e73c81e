"""Every tool against a served store: right figures, and plain words where there are none."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from mcp_server import windows
from mcp_server.arguments import MOST_ROWS
from mcp_server.context import Context, Reader
from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools
from mcp_server.results import MOST_CHARACTERS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.mcp.conftest import STATUS, Ask, asking
from tests.mcp.planted import LEVEL, MINUTES, rows_of

BTC = {"symbol": "BTCUSDT"}
GOOD: dict[str, dict[str, Any]] = {
    "backtest_curve": BTC | {"model": "nbeats"},
    "backtest_results": BTC,
    "bars_get": BTC,
    "book_latest": BTC,
    "candles_get": BTC,
    "catalog_describe": {"name": "features.trades"},
    "catalog_run_read": {"name": "price_latest"},
    "catalog_search": {"query": "imbalance"},
    "features_get": BTC | {"group": "prices"},
    "features_live": BTC | {"group": "prices", "minutes": 10},
    "error_analysis": BTC,
    "feature_importance": BTC,
    "forecast_explain": BTC,
    "forecast_skill_get": BTC,
    "forecasts_get": BTC,
    "funding_history_get": BTC,
    "index_price_get": BTC,
    "model_route": BTC,
    "signal_get": BTC,
    "signal_probabilities_get": BTC,
    "signals_aggregate_get": BTC,
    "sql_query": {"sql": "SELECT 1 AS one"},
    "trades_recent": BTC,
}
NEED_A_SERVICE = {"assets_status"}
NOTHING_PLANTED = {"candles_get", "index_price_get", "ticker_latest"}
TOOLS = sorted(
    name
    for name, tool in declared_tools().items()
    if name not in NEED_A_SERVICE and (name in GOOD or tool.toolset in ("core", "streams"))
)
"""Tools of planted rows; every other one is called in ``test_every_tool``, and most have tests of their own."""


def cells(answer: dict[str, Any], name: str) -> list[Any]:
    """A column of an answer, hoisted or not."""
    if name in answer.get("constants", {}):
        return [answer["constants"][name]] * len(answer["rows"])
    place = answer["columns"].index(name)
    return [row[place] for row in answer["rows"]]


def iso(moment: datetime) -> str:
    return f"{moment.isoformat()}Z"


@pytest.mark.parametrize("name", TOOLS)
def test_a_good_call_answers_in_the_common_shape(ask: Ask, name: str) -> None:
    answer = ask(name, **GOOD.get(name, {}))
    assert set(answer) <= {"columns", "rows", "constants", "units", "meta", "hint"}
    assert all(len(row) == len(answer["columns"]) for row in answer["rows"])
    assert answer["meta"]["rows"] == len(answer["rows"])
    assert answer["meta"].keys() >= {"source", "as_of", "staleness_s", "truncated", "next_cursor", "elapsed_ms"}
    assert bool(answer["rows"]) is (name not in NOTHING_PLANTED)
    assert answer["rows"] or "does not exist yet" in answer["hint"]
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("name", TOOLS)
def test_an_unknown_argument_is_refused_by_name(ask: Ask, name: str) -> None:
    with pytest.raises(ToolError, match="Unknown argument 'exchnage'"):
        ask(name, **GOOD.get(name, {}), exchnage="binance")


@pytest.mark.parametrize("name", TOOLS)
def test_null_stands_for_the_default(ask: Ask, name: str) -> None:
    tool = declared_tools()[name]
    optional = set(tool.input_schema["properties"]) - set(tool.input_schema.get("required", ()))
    nulls = dict.fromkeys(optional - GOOD.get(name, {}).keys())
    plain, nulled = ask(name, **GOOD.get(name, {})), ask(name, **GOOD.get(name, {}), **nulls)
    assert nulled["columns"] == plain["columns"]
    for column in {*plain["columns"], *plain.get("constants", {})} - {"age_s"}:
        assert cells(nulled, column) == cells(plain, column)


@pytest.mark.parametrize(
    "name", [name for name in TOOLS if "symbol" in declared_tools()[name].input_schema["properties"]]
)
def test_a_symbol_without_rows_gets_an_empty_answer_that_says_why(ask: Ask, name: str) -> None:
    answer = ask(name, **{**GOOD.get(name, {}), "symbol": "WIFUSDT"})
    if name == "data_quality_get":
        assert cells(answer, "kind") == ["quarantine"]
    else:
        assert answer["rows"] == []
        assert "yet" in answer["hint"] or "no rows of WIFUSDT" in answer["hint"]


@pytest.mark.parametrize(
    "name", [name for name in TOOLS if "limit" in declared_tools()[name].input_schema["properties"]]
)
def test_more_rows_than_allowed_are_refused(ask: Ask, name: str) -> None:
    with pytest.raises(ToolError, match="limit"):
        ask(name, **GOOD.get(name, {}), limit=MOST_ROWS + 1)


def test_the_newest_quote_is_the_stored_one(ask: Ask, reader: Store, planted: tuple[Path, datetime]) -> None:
    answer = ask("price_latest", symbol="btcusdt")
    stored = reader.query("SELECT * FROM prices ORDER BY id DESC LIMIT 1").to_pylist()[0]
    assert cells(answer, "bid_price") == [stored["bid_price"]] == [LEVEL]
    assert cells(answer, "timestamp") == [iso(stored["timestamp"])]
    assert answer["meta"]["as_of"] == iso(planted[1] - timedelta(minutes=1))
    assert answer["meta"]["staleness_s"] >= 60
    assert answer["units"]["spread_bps"] == "bps"


def test_the_book_adds_up_from_the_touch(ask: Ask) -> None:
    answer = ask("book_latest", symbol="BTCUSDT", levels=3)
    assert answer["rows"] == [
        [1, LEVEL - 0.1, 1.0, 1.0, LEVEL + 0.1, 2.0, 2.0],
        [2, LEVEL - 0.2, 2.0, 3.0, LEVEL + 0.2, 4.0, 6.0],
        [3, LEVEL - 0.3, 3.0, 6.0, LEVEL + 0.3, 6.0, 12.0],
    ]


def test_pages_give_every_trade_once_newest_first(ask: Ask, reader: Store) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        answer = ask("trades_recent", symbol="BTCUSDT", limit=50, cursor=cursor)
        seen += cells(answer, "timestamp")
        cursor = answer["meta"]["next_cursor"]
        assert answer["meta"]["truncated"] is (cursor is not None)
        if cursor is None:
            break
    stored = reader.query("SELECT timestamp FROM trades ORDER BY id DESC")["timestamp"].to_pylist()
    assert seen == [iso(moment) for moment in stored]
    assert len(seen) == MINUTES


def test_feature_pages_give_every_minute_once(ask: Ask) -> None:
    first = ask("features_get", symbol="BTCUSDT", group="prices", features=["mid_price"], limit=100)
    rest = ask(
        "features_get",
        symbol="BTCUSDT",
        group="prices",
        features=["mid_price"],
        limit=100,
        cursor=first["meta"]["next_cursor"],
    )
    assert len({*cells(first, "bar_ts"), *cells(rest, "bar_ts")}) == MINUTES
    assert rest["meta"]["next_cursor"] is None


def test_exactly_as_many_rows_as_asked_are_not_called_truncated(ask: Ask) -> None:
    assert ask("trades_recent", symbol="BTCUSDT", limit=MINUTES)["meta"]["truncated"] is False
    assert ask("trades_recent", symbol="BTCUSDT", limit=MINUTES - 1)["meta"]["truncated"] is True


def test_flow_equals_the_sums_of_the_ticks(ask: Ask, reader: Store, planted: tuple[Path, datetime]) -> None:
    start = planted[1] - timedelta(minutes=30)
    answer = ask("trade_flow_get", symbol="BTCUSDT", start=iso(start))
    ticks = reader.query("SELECT side, quantity, quote_value FROM trades WHERE timestamp >= ?", [start]).to_pylist()
    bought = sum(tick["quote_value"] for tick in ticks if tick["side"] == "buy")
    sold = sum(tick["quote_value"] for tick in ticks if tick["side"] == "sell")
    assert cells(answer, "trades") == [len(ticks)] == [30]
    assert cells(answer, "buy_quote")[0] == pytest.approx(bought, rel=1e-9)
    assert cells(answer, "net_quote")[0] == pytest.approx(bought - sold, rel=1e-9)
    assert cells(answer, "buy_base") == [20 * 0.125]


def test_an_empty_window_says_what_is_stored(ask: Ask, planted: tuple[Path, datetime]) -> None:
    answer = ask("trade_flow_get", symbol="BTCUSDT", start="2020-01-01", end="2020-01-02T00:00:00+02:00")
    assert answer["rows"] == []
    assert "from 2020-01-01T00:00:00Z to 2020-01-01T22:00:00Z" in answer["hint"]
    assert f"Stored: {iso(planted[1] - timedelta(minutes=MINUTES))}" in answer["hint"]


def test_hourly_bars_are_made_of_their_minutes(ask: Ask, planted: tuple[Path, datetime]) -> None:
    answer = ask("bars_get", symbol="BTCUSDT", interval="1h")
    assert sum(cells(answer, "minutes")) == MINUTES
    assert cells(answer, "volume") == [2.0 * minutes for minutes in cells(answer, "minutes")]
    assert set(cells(answer, "taker_buy_share")) == {0.75}
    assert answer["meta"]["as_of"] == iso(planted[1])
    assert cells(answer, "bar_ts")[0] >= answer["meta"]["as_of"]


def test_bar_pages_follow_each_other(ask: Ask) -> None:
    whole = cells(ask("bars_get", symbol="BTCUSDT", interval="15m"), "bar_ts")
    first = ask("bars_get", symbol="BTCUSDT", interval="15m", limit=4)
    rest = ask("bars_get", symbol="BTCUSDT", interval="15m", cursor=first["meta"]["next_cursor"])
    assert cells(first, "bar_ts") + cells(rest, "bar_ts") == whole


def test_features_that_are_unknown_stay_null(ask: Ask) -> None:
    answer = ask("features_get", symbol="BTCUSDT", group="prices", features=["mid_price", "microprice"], limit=2)
    assert answer["constants"]["mid_price"] == LEVEL
    assert answer["constants"]["microprice"] is None


@pytest.mark.parametrize(
    ("features", "group", "words"),
    [(["mid_prise"], "prices", "mid_price"), (["cvd_slope"], "prices", "trades")],
)
def test_a_wrong_feature_name_is_corrected(ask: Ask, features: list[str], group: str, words: str) -> None:
    with pytest.raises(ToolError, match=words):
        ask("features_get", symbol="BTCUSDT", group=group, features=features)


def test_a_signal_comes_with_its_parts_and_meaning(ask: Ask) -> None:
    answer = ask("signal_get", symbol="BTCUSDT", limit=1)
    assert cells(answer, "components") == [{"flow": 0.5, "depth": None}]
    assert cells(answer, "vote") == [1]
    assert cells(answer, "fields") == [{"accumulation": 1}]
    assert answer["meta"]["range"] == "[0, 1]"


def test_the_newest_recommendation_says_why_and_history_comes_on_demand(
    ask: Ask, planted: tuple[Path, datetime]
) -> None:
    answer = ask("signals_aggregate_get", symbol="BTCUSDT")
    assert cells(answer, "bar_ts") == [iso(planted[1])]
    assert cells(answer, "explanation") == ["flow leans up"]
    assert cells(answer, "top_signals") == [["smart_money_index"]]
    assert "scores" not in answer["columns"]
    whole = ask("signals_aggregate_get", symbol="BTCUSDT", response_format="detailed")
    assert cells(whole, "scores") == [{"smart_money_index": 0.3}]
    start = iso(planted[1] - timedelta(minutes=5))
    assert len(ask("signals_aggregate_get", symbol="BTCUSDT", start=start, limit=50)["rows"]) == 6


def test_the_worth_of_a_signal_is_the_newest_measured(ask: Ask) -> None:
    answer = ask("signal_worth_get")
    assert cells(answer, "signal") == ["momentum_quality", "smart_money_index"]
    assert cells(answer, "estimate") == [0.55, 0.02]
    assert cells(answer, "low") == [-0.01] * 2
    assert "rank correlation" in answer["meta"]["measures"]["information_coefficient"]
    history = ask("signal_worth_get", signal="smart_money_index", start="7d")
    assert cells(history, "estimate") == [0.02] * 2
    judged = ask("signal_worth_get", view="calibration")
    assert cells(judged, "brier") == [0.14]
    assert cells(judged, "reliability") == [[[0.2, 0.25, 80]]]
    assert ask("signal_worth_get", signal="composite_risk")["rows"] == []


def test_chances_are_those_of_the_newest_minute_and_null_without_a_fit(
    ask: Ask, planted: tuple[Path, datetime]
) -> None:
    answer = ask("signal_probabilities_get", symbol="BTCUSDT")
    assert cells(answer, "bar_ts") == [iso(planted[1])] * 2
    assert dict(zip(cells(answer, "name"), cells(answer, "probability"), strict=True)) == {
        "squeeze": 0.3,
        "expansion": None,
    }
    one = ask("signal_probabilities_get", symbol="BTCUSDT", signal="squeeze_probability", start="1d")
    assert len(one["rows"]) == min(MINUTES, 100)


def test_the_newest_forecast_has_its_interval_model_and_reason(ask: Ask, planted: tuple[Path, datetime]) -> None:
    answer = ask("forecasts_get", symbol="BTCUSDT")
    assert cells(answer, "target") == ["price"] * 3 + ["volatility"]
    assert cells(answer, "upper_95")[:3] == [LEVEL + 20] * 3
    assert cells(answer, "model") == ["nbeats"] * 3 + ["naive"]
    assert cells(answer, "point")[3] is None
    assert "fewer than 200 bars" in cells(answer, "reason")[3]
    assert cells(answer, "issued_at") == [iso(planted[1])] * 4


def test_skill_is_against_the_naive_forecast(ask: Ask) -> None:
    answer = ask("forecast_skill_get", symbol="BTCUSDT")
    assert cells(answer, "scored") == [6]
    assert cells(answer, "mae") == [3.5]
    assert cells(answer, "naive_mae") == [4.5]
    assert cells(answer, "skill") == [0.5]
    assert cells(answer, "coverage_80") == [0.5]
    assert "step" in ask("forecast_skill_get", symbol="BTCUSDT", by_step=True)["columns"]


def test_models_and_drift_give_their_reasons(ask: Ask) -> None:
    assert cells(ask("models_list"), "metrics") == [{"ratio": 0.93}]
    assert ask("models_list", status="retired")["rows"] == []
    drift = ask("drift_status", symbol="BTCUSDT")
    assert cells(drift, "severity") == ["MEDIUM"]
    assert cells(drift, "reason") == ["errors grew by 40 %"]


def test_drift_is_reported_followed_and_summed_up(ask: Ask) -> None:
    report = ask("drift_report", symbol="BTCUSDT")
    assert cells(report, "type") == ["sudden"]
    assert report["meta"]["thresholds"]["ks_distance"] == "above 0.15"
    assert "does not exist yet" in ask("drift_report", view="inputs")["hint"]
    assert cells(ask("drift_history", symbol="BTCUSDT", target="price"), "severity") == ["MEDIUM"]
    assert "does not exist yet" in ask("drift_history", view="retrainings")["hint"]
    health = ask("model_health")
    assert cells(health, "health") == ["ok"]
    assert cells(health, "newest_severity") == ["MEDIUM"]
    assert ask("model_health", symbol="ETHUSDT")["rows"] == []


def test_the_route_keeps_to_the_deadline_and_says_what_it_left_out(ask: Ask) -> None:
    answer = ask("model_route", symbol="BTCUSDT", priority="accurate")
    assert cells(answer, "model")[0] == "ridge"
    assert cells(answer, "expected_ms")[0] == 420
    assert cells(answer, "expected_rmae")[0] == pytest.approx(0.96)
    assert cells(answer, "choice")[:2] == ["chosen", "fallback"]
    hurried = ask("model_route", symbol="BTCUSDT", priority="realtime", response_format="detailed")
    assert cells(hurried, "model")[:2] == ["lightgbm", "naive"]
    refused = dict(zip(cells(hurried, "model"), cells(hurried, "reason"), strict=True))
    assert "takes about 420 ms" in refused["ridge"]
    assert "latency is unknown" in refused["theta"]
    with pytest.raises(ToolError, match="not forecast 13 bars ahead"):
        ask("model_route", symbol="BTCUSDT", step=13)


def test_the_registry_tells_its_history_and_where_training_stands(ask: Ask, planted: tuple[Path, datetime]) -> None:
    assert cells(ask("registry_history", symbol="BTCUSDT"), "event") == ["deployed", "champion_set", "registered"]
    status = ask("training_status", symbol="BTCUSDT")
    assert cells(status, "serves") == ["nbeats"]
    assert cells(status, "frame_to") == [iso(planted[1])]
    assert cells(ask("leaderboard_get", symbol="BTCUSDT", target="price"), "model") == ["ridge", "lightgbm"]


def test_derivatives_are_latest_first_and_history_on_demand(ask: Ask) -> None:
    assert len(ask("mark_funding_get")["rows"]) == 1
    assert len(ask("mark_funding_get", start="1d")["rows"]) == 3
    assert len(ask("open_interest_get", symbol="BTCUSDT", start="1d")["rows"]) == 3
    assert cells(ask("open_interest_get"), "open_interest") == [80_000.5 + MINUTES - 1]
    assert len(ask("liquidations_get", side="long")["rows"]) == 2
    assert ask("liquidations_get", side="short")["rows"] == []


def test_quality_counts_gaps_and_quarantined_frames(ask: Ask) -> None:
    answer = ask("data_quality_get")
    found = dict(zip(cells(answer, "kind"), cells(answer, "seconds"), strict=True))
    assert found == {"gap": 60.0, "quarantine": None}
    assert "No gap" in ask("data_quality_get", start="2020-01-01", end="2020-01-02")["hint"]


def test_health_is_what_the_daemon_says(ask: Ask) -> None:
    answer = ask("streams_health")
    assert answer["meta"]["issues"] == STATUS["issues"]
    assert cells(answer, "last_message_age_s") == [4.25]
    assert "lag_ms_p99" in ask("streams_health", response_format="detailed")["columns"]
    assert "collects no stream" in ask("streams_health", market="bybit_spot")["hint"]


def test_tables_tell_filled_from_missing(ask: Ask) -> None:
    answer = ask("tables_list")
    counts = dict(zip(cells(answer, "table"), cells(answer, "rows"), strict=True))
    assert counts["main.trades"] == MINUTES
    assert counts["main.candles"] is None
    with pytest.raises(ToolError, match="'features'"):
        ask("tables_list", schema_name="feature")


def test_the_catalogue_finds_and_explains(ask: Ask) -> None:
    found = cells(ask("catalog_search", query="microprice"), "name")
    assert "prices.microprice" in found
    assert ask("catalog_search", query="zzzz")["rows"] == []
    about = ask("catalog_describe", name="prices.microprice")["meta"]["about"]
    assert about["source_of_definition"] == "Stoikov 2018"
    assert "price" in cells(ask("catalog_describe", name="trades"), "name")
    assert cells(ask("catalog_describe", name="trades_recent"), "name")[0] == "symbol"
    assert ask("catalog_describe", name="smart_money_index")["meta"]["about"]["kind"] == "signal"
    with pytest.raises(ToolError) as failure:
        ask("catalog_describe", name="prices.micropryce")
    assert failure.value.nearest == "prices.microprice"


def test_the_catalogue_runs_tools_that_are_not_listed(ask: Ask) -> None:
    direct = ask("funding_history_get", symbol="BTCUSDT")
    through = ask("catalog_run_read", name="funding_history_get", arguments={"symbol": "BTCUSDT"})
    assert through["rows"] == direct["rows"]
    assert through["meta"]["tool"] == "funding_history_get"
    with pytest.raises(ToolError, match="Unknown argument"):
        ask("catalog_run_read", name="funding_history_get", arguments={"symbol": "BTCUSDT", "sybmol": 1})
    with pytest.raises(ToolError, match="does not run itself"):
        ask("catalog_run_read", name="catalog_run_read")


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE trades",
        "SELECT 1; SELECT 2",
        "COPY trades TO '/tmp/x'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "INSERT INTO trades SELECT * FROM trades",
        "ATTACH 'x.db'",
        "SELECT nothing FROM trades",
        "not sql at all",
    ],
)
def test_sql_that_does_more_than_read_or_is_wrong_is_refused(ask: Ask, sql: str) -> None:
    with pytest.raises(ToolError) as failure:
        ask("sql_query", sql=sql)
    assert failure.value.code == "query"
    assert "\n" not in str(failure.value)
    assert "/etc" not in str(failure.value)


def test_sql_is_bounded_in_rows_characters_and_seconds(ask: Ask) -> None:
    rows = ask("sql_query", sql="SELECT * FROM range(100000)", limit=1000)
    assert rows["meta"]["rows"] == 1000
    assert rows["meta"]["truncated"] is True
    wide = ask("sql_query", sql="SELECT repeat('x', 3000) || i AS text FROM range(1000) t(i)", limit=1000)
    assert wide["meta"]["truncated"] is True
    assert 0 < wide["meta"]["rows"] < 20
    assert len(json.dumps(wide)) < MOST_CHARACTERS
    with pytest.raises(ToolError) as failure:
        ask("sql_query", sql="SELECT count(*) FROM range(10000000000) a, range(1000) b", timeout_s=0.5)
    assert failure.value.code == "timeout"


def test_a_server_may_lower_the_rows(planted: tuple[Path, datetime]) -> None:
    answer = asking(planted[0], max_rows=5)("trades_recent", symbol="BTCUSDT", limit=100)
    assert len(answer["rows"]) == 5
    assert answer["meta"]["truncated"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "needs the argument 'symbol'"),
        ({"symbol": "BTCUSD"}, "Did you mean 'BTCUSDT'"),
        ({"symbol": None}, "symbol"),
        ({"symbol": "BTCUSDT", "market": "binance_future"}, "Did you mean 'binance_futures'"),
        ({"symbol": "BTCUSDT", "limit": 0}, "limit"),
        ({"symbol": "BTCUSDT", "limit": "many"}, "limit"),
        ({"symbol": "BTCUSDT", "start": "yesterday"}, "is not a time"),
        ({"symbol": "BTCUSDT", "start": "1h", "end": "2h"}, "start is not before end"),
        ({"symbol": "BTCUSDT", "cursor": "'; DROP TABLE trades"}, "is not a cursor"),
        ({"symbol": "BTCUSDT" * 10_000}, "is not allowed"),
    ],
)
def test_wrong_arguments_are_explained_in_a_line(ask: Ask, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ToolError, match=words) as failure:
        ask("trades_recent", **arguments)
    text = str(failure.value)
    assert "\n" not in text
    assert len(text) < 400
    assert "pydantic" not in text


def test_without_a_store_the_error_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as failure:
        asking(tmp_path)("price_latest")
    assert failure.value.code == "store_unavailable"
    assert failure.value.retryable
    assert "orderflow-stream run" in failure.value.remedy
    assert str(tmp_path) not in str(failure.value)


def test_a_store_that_comes_back_is_found_again(tmp_path: Path) -> None:
    ask = asking(tmp_path)
    for number in (1, 2):
        engine = Engine(tmp_path / "orderflow.duckdb")
        server = StoreServer(engine, tmp_path)
        server.start()
        assert ask("sql_query", sql=f"SELECT {number} AS n")["rows"] == [[number]]
        server.stop()
        engine.close()


def test_without_dagster_the_error_says_what_else_there_is(planted: tuple[Path, datetime]) -> None:
    with pytest.raises(ToolError) as failure:
        asking(planted[0], dagster_url="http://127.0.0.1:9")("assets_status")
    assert failure.value.code == "dagster_unavailable"
    assert "tables_list" in failure.value.remedy


def test_the_newest_row_of_a_series_is_the_last_stored_of_its_newest_time(served: StoreServer, tmp_path: Path) -> None:
    at = datetime.fromisoformat("2026-11-24T09:00:00")
    table = STREAMS["index_prices"].table
    rows = [
        {
            "id": id,
            "symbol": symbol,
            "exchange": exchange,
            "market_type": "futures",
            "timestamp": time,
            "index_price": price,
        }
        | {"received_at": time}
        for id, symbol, exchange, time, price in (
            (1, "BTCUSDT", "binance", at, 1.0),
            (3, "BTCUSDT", "binance", at, 3.0),
            (2, "BTCUSDT", "binance", at, 2.0),
            (4, "BTCUSDT", "binance", at - timedelta(days=40), 4.0),
            (5, "BTCUSDT", "bybit", at - timedelta(days=30), 5.0),
            (6, "ETHUSDT", "binance", at, 6.0),
        )
    ]
    with connect(tmp_path, scope="write") as store:
        store.write(table, rows_of(table, rows))
    context = Context(Reader(tmp_path), {}, 100, monotonic() + 10)
    names = ("timestamp", "index_price")
    answer = windows.latest(context, table, names, {"symbol": "BTCUSDT"}, ("symbol", "exchange", "market_type"))
    assert answer.values[1] == [3.0, 5.0]
