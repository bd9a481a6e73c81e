"""The market of a window against the bars of the same window, and the summary of stored analytics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from orderflow_assets.analytics import alpha, cross_exchange, leverage, order_flow
from orderflow_assets.analytics.catalog import ANALYTICS
from orderflow_assets.analytics.streaming import analyze
from orderflow_assets.analytics.summary import summary
from orderflow_assets.bars import minutes, parents, quotes
from orderflow_assets.live import live
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.store import Store, connect
from tests.assets.computing import same, stored
from tests.assets.test_cross_exchange import market
from tests.assets.venues_tape import OPENING, compute, load

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LAYERS = (
    quotes.LAYER,
    parents.LAYER,
    minutes.LAYER,
    cross_exchange.LAYER,
    order_flow.LAYER,
    leverage.LAYER,
    alpha.LAYER,
)
END = OPENING + 95 * MINUTE


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("market"), scope="write") as store:
        load(store, market())
        compute(store, LAYERS, OPENING, OPENING + 3 * HOUR, HOUR)
        yield store


def test_a_window_of_minutes_is_that_of_the_bars(computed: Store) -> None:
    found = analyze(computed, "btcusdt", None, 10 * MINUTE, END)
    assert [venue["market"] for venue in found["venues"]] == ["binance_futures", "bybit_futures", "okx_futures"]
    for venue in found["venues"]:
        bars = computed.query(
            "SELECT * FROM bars.bars_1m WHERE exchange = ? AND bar_ts > ? AND bar_ts <= ? ORDER BY bar_ts",
            [venue["market"].partition("_")[0], END - 10 * MINUTE, END],
        ).to_pylist()
        assert venue["flow"]["buy_value"] == pytest.approx(sum(bar["taker_buy_quote"] for bar in bars))
        whole = venue["flow"]["buy_value"] + venue["flow"]["sell_value"]
        assert whole == pytest.approx(sum(bar["quote_volume"] for bar in bars))
        assert venue["price"]["close"] == bars[-1]["mid_close"]
        assert venue["price"]["quoted_s"] == pytest.approx(sum(bar["quoted_s"] for bar in bars))
        spread = np.average([bar["spread_bps"] for bar in bars], weights=[bar["quoted_s"] for bar in bars])
        assert venue["price"]["spread_bps"] == pytest.approx(spread)
        late = sum(2 * bar["taker_buy_quote"] - bar["quote_volume"] for bar in bars[5:])
        early = sum(2 * bar["taker_buy_quote"] - bar["quote_volume"] for bar in bars[:5])
        assert venue["flow"]["cvd_trend"] == pytest.approx((late - early) / whole)
    together = found["aggregate"]
    assert together["flow"]["buy_value"] == pytest.approx(sum(v["flow"]["buy_value"] for v in found["venues"]))
    assert together["price"]["close"] == sorted(v["price"]["close"] for v in found["venues"])[1]
    assert found["as_of"] <= END
    assert set(found["missing"]) == {"funding", "liquidations"}


def test_seconds_are_analyzed_too_and_one_venue_alone(computed: Store) -> None:
    found = analyze(computed, "BTCUSDT", "bybit", timedelta(seconds=30), END)
    (venue,) = found["venues"]
    seconds = computed.query(
        "SELECT (bid_price + ask_price) / 2 AS mid FROM bars.quotes_1s WHERE exchange = 'bybit' AND bar_ts > ? "
        "AND bar_ts <= ? ORDER BY bar_ts",
        [END - timedelta(seconds=30), END],
    )["mid"].to_numpy()
    assert len(seconds) == 30
    assert venue["price"]["change_bps"] == pytest.approx(1e4 * math.log(seconds[-1] / seconds[0]))
    assert venue["price"]["range_bps"] == pytest.approx(1e4 * math.log(seconds.max() / seconds.min()))
    realized = 1e4 * np.sqrt((np.diff(np.log(seconds)) ** 2).sum())
    assert venue["price"]["volatility_bps"] == pytest.approx(realized)
    assert found["aggregate"]["venues"] == 1
    assert found["bias"]["window_s"] == 60


def test_bias_is_made_of_ranks_among_the_minutes_before(computed: Store) -> None:
    found = analyze(computed, "BTCUSDT", "binance", MINUTE, END)
    bars = computed.query(
        "SELECT * FROM bars.bars_1m WHERE exchange = 'binance' AND bar_ts <= ? ORDER BY bar_ts", [END]
    ).to_pylist()
    share = [(2 * bar["taker_buy_quote"] - bar["quote_volume"]) / bar["quote_volume"] for bar in bars]
    rank = np.mean([value < share[-1] for value in share[:-1]]) + np.mean([v == share[-1] for v in share[:-1]]) / 2
    bias = found["bias"]
    assert bias["ranks"]["aggression"] == pytest.approx(rank)
    assert bias["baseline_windows"] == len(bars) - 1
    directed = [2 * bias["ranks"][name] - 1 for name in ("aggression", "change_bps")]
    assert bias["score"] == pytest.approx(100 * np.mean(directed))
    assert found["regime"]["label"] in ("trending_up", "trending_down", "busy", "quiet", "ordinary")


def test_too_short_a_past_gives_no_bias_but_a_reason(computed: Store) -> None:
    found = analyze(computed, "BTCUSDT", None, 5 * MINUTE, OPENING + 30 * MINUTE)
    assert found["bias"]["score"] is None
    assert "60 windows" in found["bias"]["reason"]
    assert found["regime"]["label"] is None


def test_nothing_is_told_where_nothing_is_stored(tmp_path: Path, computed: Store) -> None:
    with connect(tmp_path, scope="write") as store:
        found = analyze(store, "ETHUSDT", None, MINUTE, END)
        assert found["venues"] == []
        assert found["as_of"] is None
        assert set(found["missing"]) == {"price", "flow", "depth", "funding", "liquidations", "venues"}
    quiet = analyze(computed, "ETHUSDT", None, MINUTE, END)
    assert quiet["missing"]["price"] == "no prices or orderbooks in the window"


@pytest.mark.parametrize("window", [timedelta(seconds=4), timedelta(hours=2)])
def test_a_window_of_another_size_is_refused(computed: Store, window: timedelta) -> None:
    with pytest.raises(ValueError, match="5 s to 1 h"):
        analyze(computed, "BTCUSDT", None, window, END)


def test_an_unknown_symbol_is_refused(computed: Store) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'BTCUSDT'"):
        analyze(computed, "BTCUSD", None, MINUTE, END)


def test_a_summary_says_what_is_stored_and_what_is_not(computed: Store, tmp_path: Path) -> None:
    found = summary(computed, "BTCUSDT", OPENING + 35 * MINUTE)
    assert found["as_of"] == OPENING + 35 * MINUTE
    (touch,) = found["opportunities"]
    assert touch["sell"] == "okx_futures"
    assert touch["net_bps"] == found["scores"]["cross_exchange"]["net_spread_bps"] > 0
    assert found["bias"]["score"] is None
    assert found["risk"]["score"] is None
    assert any("weight of the pressure" in warning for warning in found["warnings"])
    assert found["missing"] == []
    with connect(tmp_path, scope="write") as store:
        empty = summary(store, "BTCUSDT", END)
        assert empty["as_of"] is None
        assert len(empty["missing"]) == 4
        assert empty["warnings"] == []


@pytest.mark.parametrize("name", ["cross_exchange", "order_flow"])
def test_live_rows_are_the_stored_ones(computed: Store, name: str) -> None:
    table = ANALYTICS[name].table
    rows = live(computed, table.qualified, "BTCUSDT", 5, END).to_pylist()
    now = {tuple(row[key] for key in table.key): row for row in rows}
    since = END - 5 * MINUTE
    kept = stored(computed, table, f"bar_ts > TIMESTAMP '{since}' AND bar_ts <= TIMESTAMP '{END}'")
    assert len(kept) == 5
    for key in kept:
        for column in ("n_obs", "gross_spread_bps", "executable_window_s", "flow_synchronization", "aggression_15m"):
            if column in table.names:
                assert same(now[key][column], kept[key][column], 1e-9), column
