"""Stored history, spreads between venues, features of several groups, and files of rows, against a served store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import csv, parquet

from mcp_server import files
from mcp_server.calls import Calls, Options, Reply
from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools, find, select
from orderflow_assets.analytics.fees import taker_fee_bps
from tests.mcp import traded
from tests.mcp.conftest import Ask
from tests.mcp.serving import served
from tests.mcp.test_tools import cells, iso

ETH = {"symbol": "ETHUSDT"}
BINANCE = ETH | {"exchange": "binance", "market_type": "futures"}
GROUPS = ["prices", "trades"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, datetime]]:
    with served(tmp_path_factory.mktemp("traded"), traded.plant) as found:
        yield found


@pytest.fixture
def end(store: tuple[Path, datetime]) -> datetime:
    return store[1]


@pytest.fixture
def replies(store: tuple[Path, datetime]) -> Any:
    calls = Calls(select(declared_tools(), toolsets=("all",), allow_write=True), Options(store[0]))

    def reply(tool: str, /, **arguments: Any) -> Reply:
        return calls.reply(find(tool, calls.selection.listed), arguments)

    yield reply
    calls.close()


@pytest.fixture
def ask(replies: Any) -> Ask:
    return lambda tool, /, **arguments: replies(tool, **arguments).payload


def row(answer: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return dict(zip(answer["columns"], answer["rows"][place], strict=True)) | answer.get("constants", {})


@pytest.mark.parametrize("name", ["get_historical_price_data", "query_historical_prices"])
def test_quotes_of_all_venues_or_of_one(ask: Ask, name: str) -> None:
    both = ask(name, **ETH, minutes=120, limit=4)
    assert set(cells(both, "exchange")) == {"binance", "bybit"}
    one = ask(name, **BINANCE, minutes=120, limit=3)
    assert one["constants"]["exchange"] == "binance"
    assert row(one)["mid_price"] == traded.price(traded.MINUTES - 1)
    assert one["meta"]["truncated"]


def test_pages_of_a_stream_follow_each_other(ask: Ask) -> None:
    first = ask("history_get", **BINANCE, stream="prices", limit=4)
    second = ask("history_get", **BINANCE, stream="prices", limit=4, cursor=first["meta"]["next_cursor"])
    assert cells(first, "timestamp")[-1] > cells(second, "timestamp")[0]


def test_totals_of_trades_are_those_of_the_window_not_of_the_page(ask: Ask) -> None:
    answer = ask("get_historical_trade_data", **BINANCE, minutes=120, limit=5)
    totals = {total["side"]: total for total in answer["meta"]["totals"]}
    assert {side: total["rows"] for side, total in totals.items()} == {"buy": 240, "sell": 120}
    assert totals["buy"]["average_price"] == pytest.approx(totals["buy"]["value"] / totals["buy"]["quantity"])
    assert ask("get_historical_trade_data", **BINANCE, side="sell")["constants"]["side"] == "sell"


def test_liquidations_above_a_floor(ask: Ask) -> None:
    assert ask("get_historical_liquidation_data", **ETH)["meta"]["rows"] == 3
    assert cells(ask("get_historical_liquidation_data", **ETH, min_value=20_500), "side") == ["short"]
    none = ask("history_get", **ETH, stream="liquidations", min_value=1e9)
    assert none["rows"] == []
    assert "a value of 1e+09 or more" in none["hint"]


def test_a_side_that_a_stream_has_not_is_refused(ask: Ask) -> None:
    with pytest.raises(ToolError, match="prices has no side"):
        ask("history_get", **ETH, stream="prices", side="buy")
    with pytest.raises(ToolError, match="'long' is none of trades"):
        ask("history_get", **ETH, stream="trades", side="long")


def test_candles_of_the_trades(ask: Ask, end: datetime) -> None:
    answer = ask("query_historical_analytics", **BINANCE, query_type="price_ohlc", aggregation="5m", hours=2)
    full = next(row(answer, place) for place in range(1, 13) if row(answer, place)["trade_count"] == 30)
    assert (full["high"] - full["low"], full["volume"]) == (4.0, 15.0)
    assert full["open"] == full["low"]
    assert full["close"] == full["high"]
    assert sum(cells(answer, "trade_count")) == 6 * traded.MINUTES
    assert ask("aggregate_by_timeframe", **BINANCE, timeframe="5m")["rows"] == answer["rows"]


def test_volatility_is_of_returns_between_neighbouring_minutes(ask: Ask) -> None:
    answer = ask("query_historical_analytics", **BINANCE, query_type="volatility", aggregation="1d")
    returns = [1e4 * math.log(traded.price(n + 1) / traded.price(n)) for n in range(traded.MINUTES - 1)]
    squares = sum(value**2 for place in range(len(answer["rows"])) for value in [row(answer, place)["realized_bps"]])
    assert sum(row(answer, place)["returns"] for place in range(len(answer["rows"]))) == len(returns)
    assert squares == pytest.approx(sum(value**2 for value in returns), rel=1e-4)


def test_volume_by_price_adds_up(ask: Ask) -> None:
    answer = ask("history_aggregate", **BINANCE, view="volume_profile", price_buckets=6)
    assert len(answer["rows"]) == 6
    volumes = [row(answer, place) for place in range(6)]
    assert sum(volume["buy_base"] + volume["sell_base"] for volume in volumes) == 6 * traded.MINUTES * 0.5
    assert sum(volume["share"] for volume in volumes) == pytest.approx(1, abs=1e-5)


def test_funding_adds_up_at_settlements_that_are_past(ask: Ask) -> None:
    answer = ask("query_historical_analytics", **BINANCE, query_type="funding_cumulative", aggregation="1m")
    assert cells(answer, "rate") == [-0.0003, 0.0001]
    assert cells(answer, "cumulative") == [-0.0002, 0.0001]


def test_liquidations_by_time_and_by_price(ask: Ask) -> None:
    by_time = ask("query_historical_analytics", **BINANCE, query_type="liquidation_cascade", aggregation="1m")
    assert cells(by_time, "short_usd") == [21_000.0, 0.0, 0.0]
    assert row(by_time)["times_median"] == pytest.approx(21_000 / 20_100, rel=1e-5)
    by_price = ask("get_liquidation_heatmap_analysis", **ETH, price_buckets=4)
    assert [(row(by_price, n)["price_from"], row(by_price, n)["value"]) for n in (0, 1)] == [
        (2_075.0, 21_000.0),
        (2_000.0, 40_100.0),
    ]
    assert cells(by_price, "intensity") == [pytest.approx(21_000 / 40_100, rel=1e-5), 1.0]


def test_the_newest_price_among_those_before_it(ask: Ask) -> None:
    answer = ask("get_price_with_historical_context", **BINANCE, historical_minutes=10)
    found = row(answer)
    newest = traded.price(traded.MINUTES - 1)
    assert (found["price"], found["high"], found["low"], found["open"]) == (newest, newest, newest - 9, newest - 9)
    assert found["rank"] == pytest.approx(0.95)
    assert found["change_pct"] == pytest.approx(100 * (newest / (newest - 9) - 1), rel=1e-5)
    windows = ask("detect_price_anomalies", **BINANCE)
    assert cells(windows, "minutes") == [5, 15, 60, 240, 1_440]
    assert cells(windows, "z") == pytest.approx(
        [(newest - mean) / sd for mean, sd in zip(cells(windows, "mean"), cells(windows, "sd"), strict=True)], rel=1e-4
    )


def test_now_and_before_each_with_its_time(ask: Ask, end: datetime) -> None:
    answer = ask("get_full_market_snapshot", **ETH)
    parts = {(market, part): (time, values) for market, part, time, values in answer["rows"]}
    assert parts["binance_futures", "quote"] == (
        iso(end - timedelta(seconds=10)),
        parts["binance_futures", "quote"][1],
    )
    assert parts["binance_futures", "window_flow"][1]["trades"] > 0
    assert "mark_prices" in answer["meta"]["missing"]["funding"]
    live = ask("get_full_market_snapshot", **ETH, include_historical=False)
    assert {part for _, part, _, _ in live["rows"]} == {"quote"}


def net_pct(ask_price: float, bid_price: float) -> float:
    fees = [taker_fee_bps(venue, "futures") / 1e4 for venue in ("binance", "bybit")]
    return 100 * (bid_price * (1 - fees[1]) / (ask_price * (1 + fees[0])) - 1)


def test_a_gap_between_venues_is_found_for_as_long_as_it_was_there(ask: Ask, end: datetime) -> None:
    answer = ask("get_arbitrage_opportunities", **ETH)
    (found,) = [row(answer)]
    assert (found["buy_market"], found["sell_market"]) == ("binance_futures", "bybit_futures")
    assert found["started"] == iso(end - timedelta(seconds=traded.PAID_S))
    assert found["seconds"] == traded.PAID_S - 9
    level = traded.price(traded.MINUTES - 1)
    assert found["net_pct"] == pytest.approx(net_pct(level + 0.5, (level - 0.5) * traded.PREMIUM), rel=1e-4)
    none = ask("get_arbitrage_opportunities", **ETH, min_profit=1.0)
    assert none["rows"] == []
    assert "no pair of venues reached 1 %" in none["hint"]


def test_pairs_of_venues_best_first(ask: Ask) -> None:
    answer = ask("compare_exchange_prices", **ETH)
    level = traded.price(traded.MINUTES - 1)
    assert cells(answer, "buy_market") == ["binance_futures", "bybit_futures"]
    expected = 100 * net_pct(level + 0.5, (level - 0.5) * traded.PREMIUM)
    assert row(answer)["net_spread_bps"] == pytest.approx(expected, rel=1e-4)
    absent = ask("compare_exchange_prices", **ETH, exchange2="gate_futures")
    assert "No quote of ETHUSDT is stored from gateio_futures" in absent["hint"]
    parts = dict(ask("analyze_crypto_arbitrage_tool", **ETH)["rows"])
    assert parts["range_pct"] == pytest.approx(1.0)
    assert len(parts["paid_recently"]) == 1
    assert parts["assessment"]


def test_features_of_groups_side_by_side(ask: Ask) -> None:
    answer = ask("query_features", **ETH, exchange="binance", feature_type="prices,trades,composite", limit=2)
    assert {"prices.microprice", "trades.cvd", "composite.smart_money_flow"} <= {
        *answer["columns"],
        *answer["constants"],
    }
    named = ask("query_historical_features", **ETH, feature_type="trades", columns="cvd", limit=5, lookback_minutes=5)
    assert named["columns"] == ["bar_ts", "trades.cvd"]
    older = ask("features_query", **ETH, groups=["trades"], limit=5, cursor=named["meta"]["next_cursor"] or None)
    assert older["rows"]
    with pytest.raises(ToolError, match="Did you mean 'cvd'"):
        ask("features_query", **ETH, groups=["trades"], features=["cvdd"])


def test_the_distribution_of_features(ask: Ask) -> None:
    answer = ask("get_feature_stats", **ETH, feature_type="trades", lookback_minutes=120)
    found = {line[0]: dict(zip(answer["columns"], line, strict=True)) for line in answer["rows"]}
    values = [-2 * math.sin(number / 3) for number in range(traded.MINUTES)]
    assert found["trades.cvd"]["mean"] == pytest.approx(sum(values) / len(values), rel=1e-4)
    assert (found["trades.cvd"]["min"], found["trades.cvd"]["newest"]) == pytest.approx(
        (min(values), values[-1]), rel=1e-5
    )
    assert (found["trades.vwap"]["minutes"], found["trades.vwap"]["missing"]) == (20, 40)
    assert found["trades.flow_toxicity"]["mean"] is None


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_what_moves_together_is_told_with_the_minutes_it_rests_on(ask: Ask, method: str) -> None:
    pairs = ask("feature_correlations_get", **ETH, groups=GROUPS, method=method, start="3h")
    assert pairs["rows"][0][:3] == ["prices.spread_bps", "trades.cvd", -1.0]
    # vwap is known in 20 minutes only, mid_price never changes.
    assert not {"trades.vwap", "prices.mid_price"} & {*cells(pairs, "feature"), *cells(pairs, "other")}
    clusters = ask("feature_correlations_get", **ETH, groups=GROUPS, view="clusters", start="3h")
    assert cells(clusters, "features") == [["prices.spread_bps", "trades.cvd"]]


def test_an_export_is_a_new_file_of_the_rows_in_the_folder(replies: Any, store: tuple[Path, datetime]) -> None:
    reply = replies("export_features_to_csv", **ETH, feature_types="trades", include_composite=True)
    (link,) = reply.links
    written = csv.read_csv(store[0] / "exports" / link.name)
    assert written.num_rows == row(reply.payload)["rows"]
    assert written.num_rows in (traded.MINUTES - 1, traded.MINUTES)
    assert written["composite.smart_money_flow"].to_pylist()[0] == -0.5
    assert reply.payload["links"][0]["uri"] == link.uri
    assert files.read(store[0] / "exports", link.uri) == ((store[0] / "exports" / link.name).read_bytes(), "text/csv")


def test_the_newest_rows_of_a_table_are_exported(replies: Any, store: tuple[Path, datetime]) -> None:
    reply = replies(
        "table_export", table="trades", **ETH, market="bybit_futures", columns=["price"], format="parquet", limit=10
    )
    written = parquet.read_table(store[0] / "exports" / reply.links[0].name)
    assert written.column_names == ["timestamp", "price"]
    assert written["price"].to_pylist()[-1] == traded.price(traded.MINUTES - 1)
    assert reply.payload["meta"]["truncated"]
    assert "end=" in reply.payload["hint"]
    nested = replies("export_to_csv", table="orderbooks", limit=1).links[0].name
    assert "[[2048.0,1.0]]" in csv.read_csv(store[0] / "exports" / nested)["bid_tail"].to_pylist()[0]


@pytest.mark.parametrize("name", ["../up", "/tmp/x", "a/b", "..", ".hidden", "x\x00y", "C:\\x", "~root"])
def test_an_export_goes_nowhere_else(ask: Ask, store: tuple[Path, datetime], name: str) -> None:
    before = {path for path in store[0].rglob("*") if path.parent.name != "exports"}
    with pytest.raises(ToolError, match="not a plain file name"):
        ask("table_export", table="trades", file_name=name)
    assert {path for path in store[0].rglob("*") if path.parent.name != "exports"} == before
    with pytest.raises(ToolError, match="There is no file"):
        files.read(store[0] / "exports", f"{files.ADDRESS}{name}.csv")


def test_an_export_replaces_nothing_and_follows_no_link(ask: Ask, store: tuple[Path, datetime], tmp_path: Path) -> None:
    ask("table_export", table="trades", file_name="mine", limit=1)
    with pytest.raises(ToolError, match=r"There is a file 'mine\.csv' already"):
        ask("table_export", table="trades", file_name="mine", limit=1)
    (store[0] / "exports" / "link.csv").symlink_to(tmp_path / "target")
    with pytest.raises(ToolError, match="already"):
        ask("table_export", table="trades", file_name="link", limit=1)
    assert not (tmp_path / "target").exists()


def test_only_a_server_that_may_write_exports() -> None:
    reachable = select(declared_tools(), toolsets=("all",)).reachable
    assert not {"table_export", "features_export"} & set(reachable)
    assert declared_tools()["table_export"].annotations["destructiveHint"] is False
    with pytest.raises(ToolError, match="export_to_csv writes, and this server does not offer it"):
        find("export_to_csv", reachable)
