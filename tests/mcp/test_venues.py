"""What venues tell of their contracts right now, asked of a simulator that answers for them over REST."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mcp_server.aliases import declared_aliases
from mcp_server.aliases.venues_okx import ALIASES as OKX
from mcp_server.errors import ToolError
from mcp_server.registry import checked, declared_tools, find
from mcp_server.venues import conditions, statistics
from mcp_server.venues.client import Client
from mcp_server.venues.venue import VENUES
from orderflow_streaming.simulator.crowd import Positioning
from orderflow_streaming.simulator.history import Interest, sums
from tests.mcp.conftest import Ask, asking
from tests.streaming.processes import Simulation, wait_for

TOOLS = declared_tools()
FOUR = ("binance", "bybit", "okx", "gateio")
NAMES = sorted(
    name
    for name, alias in declared_aliases().items()
    if alias.given.get("exchange") in FOUR and alias.tool.startswith("venue_")
)
SETTLED_EVERY = timedelta(hours=8)


def boundary() -> datetime:
    """When funding was last paid by all who pay every eight hours."""
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (now - midnight) // SETTLED_EVERY * SETTLED_EVERY


@pytest.fixture(scope="module")
def settled() -> datetime:
    return boundary()


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory, settled: datetime) -> Iterator[Simulation]:
    """Markets that begin half a minute before a settlement, and are past it."""
    start = f"{settled - timedelta(seconds=30):%Y-%m-%dT%H:%M:%S}"
    quiet = ("--symbols", "BTCUSDT,ETHUSDT", "--activity", 0.1, "--book-interval-ms", 1_000)
    running = Simulation(tmp_path_factory.mktemp("venues"), "--start", start, "--speed", 10, *quiet)
    path = "binance_futures/fapi/v1/fundingRate?symbol=BTCUSDT"
    wait_for(lambda: read(running, path), what="a settlement")
    yield running
    running.end()


@pytest.fixture(scope="module")
def asked(simulation: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    return asking(tmp_path_factory.mktemp("none"), simulator_url=simulation.url)


def read(simulation: Simulation, path: str) -> Any:
    with urllib.request.urlopen(f"{simulation.url}/{path}", timeout=10) as answer:
        return json.load(answer)


def rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    constants = answer.get("constants", {})
    return [constants | dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


def row(answer: dict[str, Any], instrument: str) -> dict[str, Any]:
    return next(one for one in rows(answer) if one["instrument"] == instrument)


def test_every_name_is_one_of_a_tool_and_answers_or_says_why_not(asked: Ask) -> None:
    empty = {}
    for name in NAMES:
        tool = find(name, TOOLS)
        needed = dict.fromkeys(tool.input_schema.get("required", ()), "BTCUSDT")
        answer = asked(name, **needed)
        if not answer["rows"]:
            empty[name] = answer["hint"]
    for name, hint in empty.items():
        assert hint.startswith(("Not supported by this venue", "The simulator that answers in this demo")), (name, hint)
    everywhere = {"venue_ticker", "venue_orderbook", "venue_trades", "venue_klines", "venue_instruments"}
    simulated = [(exchange, "futures") for exchange in FOUR] + [("binance", "spot"), ("bybit", "spot")]
    for name in empty:
        alias = declared_aliases()[name]
        section = (alias.given["exchange"], alias.given.get("market", "futures"))
        assert alias.tool not in everywhere or section not in simulated, name


@pytest.mark.parametrize(
    ("exchange", "instrument"),
    [
        ("binance", "BTCUSDT"),
        ("bybit", "BTCUSDT"),
        ("okx", "BTC-USDT-SWAP"),
        ("gateio", "BTC_USDT"),
        ("kucoin", "XBTUSDTM"),
        ("hyperliquid", "BTC"),
    ],
)
def test_prices_and_open_interest_are_in_the_same_units_everywhere(asked: Ask, exchange: str, instrument: str) -> None:
    """All simulated venues follow one index, and as much is open at each."""
    marks, held = (
        row(asked(tool, exchange=exchange), instrument) for tool in ("venue_mark_price", "venue_open_interest")
    )
    reference = row(asked("venue_mark_price", exchange="binance"), "BTCUSDT")
    usual = row(asked("venue_open_interest", exchange="binance"), "BTCUSDT")
    assert marks["mark_price"] == pytest.approx(reference["mark_price"], rel=0.02)
    assert marks["basis"] == pytest.approx(marks["mark_price"] - marks["index_price"], abs=1e-3)
    assert marks["basis_bps"] == pytest.approx(marks["basis"] / marks["index_price"] * 10_000, rel=1e-4)
    assert held["open_interest"] == pytest.approx(usual["open_interest"], rel=0.1)
    assert held["open_interest_usd"] == pytest.approx(held["open_interest"] * marks["mark_price"], rel=0.02)


@pytest.mark.parametrize("exchange", ["binance", "bybit", "okx", "gateio", "kucoin", "hyperliquid"])
def test_the_volume_of_a_day_is_in_coin(asked: Ask, exchange: str) -> None:
    ticker = rows(asked("venue_tickers", exchange=exchange, symbols="BTCUSDT"))[0]
    coins, value = ticker["volume_24h_base"], ticker["volume_24h_quote"]
    if exchange != "okx":
        index = rows(asked("venue_mark_price", exchange=exchange, symbol="BTCUSDT"))[0]["index_price"]
        assert value / coins == pytest.approx(index, rel=0.02)
    if exchange in FOUR:
        candles = rows(asked("venue_klines", exchange=exchange, interval="1m"))
        assert sum(candle["volume"] for candle in candles) == pytest.approx(coins, rel=0.5)


@pytest.mark.parametrize(
    ("exchange", "path", "rates"),
    [
        ("binance", "binance_futures/fapi/v1/fundingRate?symbol=BTCUSDT", lambda told: told[-1]["fundingRate"]),
        (
            "bybit",
            "bybit_futures/v5/market/funding/history?category=linear&symbol=BTCUSDT",
            lambda told: told["result"]["list"][0]["fundingRate"],
        ),
        (
            "okx",
            "okx_futures/api/v5/public/funding-rate-history?instId=BTC-USDT-SWAP",
            lambda told: told["data"][0]["realizedRate"],
        ),
        ("gateio", "gateio_futures/api/v4/futures/usdt/funding_rate?contract=BTC_USDT", lambda told: told[0]["r"]),
        (
            "kucoin",
            "kucoin_futures/api/v1/contract/funding-rates?symbol=XBTUSDTM&from=0&to=9999999999999",
            lambda told: told["data"][0]["fundingRate"],
        ),
    ],
    ids=["binance", "bybit", "okx", "gateio", "kucoin"],
)
def test_the_rate_paid_last_is_the_one_the_venue_tells(
    asked: Ask, simulation: Simulation, settled: datetime, exchange: str, path: str, rates: Any
) -> None:
    answer = asked("venue_funding_history", exchange=exchange)
    (paid,) = rows(answer)
    assert paid["funding_rate"] == pytest.approx(float(rates(read(simulation, path))), rel=1e-5)
    assert paid["timestamp"] == f"{settled:%Y-%m-%dT%H:%M:%S}Z"
    assert answer["meta"]["mean_rate"] == pytest.approx(paid["funding_rate"])
    in_force = rows(asked("venue_funding", exchange=exchange, symbol="BTCUSDT"))[0]
    assert in_force["next_funding_at"] == f"{settled + SETTLED_EVERY:%Y-%m-%dT%H:%M:%S}Z"
    assert in_force["annualized_pct"] == pytest.approx(in_force["funding_rate"] * 3 * 365 * 100, rel=1e-4)


@pytest.mark.parametrize("exchange", FOUR)
def test_who_is_long_and_what_takers_did(asked: Ask, simulation: Simulation, exchange: str) -> None:
    path = "binance_futures/futures/data/globalLongShortAccountRatio?symbol=BTCUSDT&period=5m"
    accounts = float(read(simulation, path)[0]["longShortRatio"])
    ratio = rows(asked("venue_long_short_ratio", exchange=exchange))[-1]
    assert ratio["accounts"] == pytest.approx(accounts, rel=0.02)
    takers = rows(asked("venue_taker_volume", exchange=exchange))
    if exchange == "bybit":
        assert not takers
    elif exchange == "gateio":
        assert takers[-1]["buy_sell_ratio"] > 0
    else:
        assert takers[-1]["net_qty"] == pytest.approx(takers[-1]["buy_qty"] - takers[-1]["sell_qty"])
        minute = sum(one["volume"] for one in rows(asked("venue_klines", exchange=exchange, interval="1m"))[-1:])
        assert takers[-1]["buy_qty"] + takers[-1]["sell_qty"] == pytest.approx(minute, rel=1e-6)


@pytest.mark.parametrize("exchange", FOUR)
def test_open_interest_is_told_for_the_periods_asked_for(asked: Ask, settled: datetime, exchange: str) -> None:
    for period in ("5m", "1h"):
        past = rows(asked("venue_open_interest_history", exchange=exchange, period=period))[-1]
        length = timedelta(minutes=5 if period == "5m" else 60)
        at = settled - length if exchange == "okx" else settled
        assert past["timestamp"] == f"{at:%Y-%m-%dT%H:%M:%S}Z"
        held = rows(asked("venue_open_interest", exchange=exchange, symbol="BTCUSDT"))[0]
        assert past["open_interest"] == pytest.approx(held["open_interest"], rel=0.05)


def test_longer_periods_hold_what_takers_did_in_all_of_it() -> None:
    def at(number: int, bought: int, sold: int) -> Interest:
        return Interest(number * 300_000_000, 5, 1.0, Positioning(1.0, 1.0, 1.0, 1.0, bought, sold))

    quarters = sums([at(number, number, 1) for number in range(1, 7)], 900_000_000)
    assert [(one.when_us, one.positioning.bought, one.positioning.sold) for one in quarters] == [
        (900_000_000, 6, 3),
        (1_800_000_000, 15, 3),
    ]
    assert quarters[0].positioning.taker == pytest.approx(7 / 4)


def test_kucoin_spot_lists_its_pairs_and_their_tickers(asked: Ask) -> None:
    listed = rows(asked("venue_instruments", exchange="kucoin", market="spot"))
    assert {one["instrument"] for one in listed} == {"BTC-USDT", "ETH-USDT"}
    told = rows(asked("venue_tickers", exchange="kucoin", market="spot"))
    assert all(one["bid"] < one["ask"] for one in told)


def test_what_there_is_not_is_said_apart(asked: Ask) -> None:
    absent = asked("venue_liquidations", exchange="bybit")
    assert absent["hint"].startswith("Not supported by this venue")
    assert "liquidations_get" in absent["hint"]
    assert asked("venue_risk_limits", exchange="binance")["hint"].startswith("Not supported by this venue")
    unknown = asked("venue_risk_limits", exchange="okx")
    assert unknown["hint"].startswith("The simulator that answers in this demo has none: nothing at /api/v5/public/")
    assert asked("venue_funding", exchange="gateio", market="inverse")["hint"].startswith("The simulator")


@pytest.mark.parametrize(
    ("name", "sent", "wanted"),
    [
        ("okx_ticker_tool", {"inst_id": "BTC-USDT"}, {"symbol": "BTC-USDT", "market": "spot"}),
        ("okx_ticker_tool", {"inst_id": "BTC-USDT-SWAP"}, {"symbol": "BTC-USDT-SWAP", "market": "futures"}),
        ("okx_ticker_tool", {"inst_id": "BTC-USD-261225"}, {"market": "delivery"}),
        ("okx_ticker_tool", {"inst_id": "BTC-USD-261225-90000-C"}, {"market": "options"}),
        ("okx_all_tickers_tool", {"inst_type": "MARGIN"}, {"exchange": "okx", "market": "spot"}),
        ("okx_klines_tool", {"interval": "1H"}, {"interval": "1h"}),
        ("okx_klines_tool", {"interval": "1M"}, {"interval": "1M"}),
        ("okx_orderbook_tool", {"depth": 400}, {"depth": 100}),
        (
            "okx_open_interest_tool",
            {"uly": "BTC-USD", "inst_type": "FUTURES"},
            {"symbol": "BTC-USD", "market": "delivery"},
        ),
        ("bybit_spot_klines_tool", {"interval": "D"}, {"interval": "1d"}),
        ("bybit_spot_klines_tool", {"interval": "720"}, {"interval": "12h"}),
        ("bybit_long_short_ratio_tool", {"period": "15min"}, {"period": "15m"}),
        ("bybit_long_short_ratio_tool", {}, {"period": "1h", "limit": 24, "symbol": "BTCUSDT"}),
        ("bybit_risk_limit_tool", {"category": "inverse"}, {"market": "inverse"}),
        ("bybit_insurance_fund_tool", {"coin": "USDC"}, {"symbol": "BTCUSDC"}),
        ("gateio_futures_klines", {"contract": "BTC_USDT", "interval": "30d"}, {"interval": "1M", "market": "futures"}),
        ("gateio_funding_rate", {"contract": "BTC_USD", "settle": "btc"}, {"symbol": "BTC_USD", "market": "inverse"}),
        ("gateio_options_contracts", {"underlying": "BTC_USDT", "expiration": 1_798_185_600}, {"expiry": "2026-12-25"}),
        ("binance_ticker_tool", {}, {"symbols": None, "market": "futures"}),
        ("binance_spot_avg_price_tool", {}, {"window": "5m", "symbol": "BTCUSDT"}),
    ],
)
def test_the_words_of_a_venue_become_ours(name: str, sent: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert checked(find(name, TOOLS), sent).items() >= wanted.items()


def test_a_section_that_is_not_there_is_refused_in_the_words_of_the_name() -> None:
    with pytest.raises(ToolError, match="inst_type"):
        checked(find(OKX[1].name, TOOLS), {"inst_type": "WARRANT"})


class Telling(Client):
    """A client whose venue answers what its documentation shows."""

    def __init__(self, exchange: str, told: Any) -> None:
        self.venue, self.kind, self._told = VENUES[exchange], "futures", told

    def ask(self, method: str, *arguments: Any, left_s: float, cached_s: float = 0.0) -> Any:
        return self._told


BTC = {
    "id": "BTC_USDT",
    "symbol": "BTC/USDT:USDT",
    "base": "BTC",
    "quote": "USDT",
    "settle": "USDT",
    "settleId": "usdt",
    "type": "swap",
    "contract": True,
    "linear": True,
    "contractSize": 0.001,
}


def test_the_sign_of_what_gateio_closes_is_that_of_the_position() -> None:
    told = [
        {"time": 1_695_718_000, "contract": "BTC_USDT", "size": 40, "order_price": "26900", "fill_price": "27000"},
        {"time": 1_695_718_060, "contract": "BTC_USDT", "size": -10, "order_price": "27100", "fill_price": "27050"},
        {"time": 1_695_718_090, "contract": "ETH_USDT", "size": -10, "order_price": "1", "fill_price": "1"},
    ]
    newest, oldest = statistics.liquidations(Telling("gateio", told), [BTC], 10, 1.0)
    assert (newest["side"], newest["quantity"], newest["value"]) == ("short", 0.01, pytest.approx(270.5))
    assert (oldest["side"], oldest["price"], oldest["value"]) == ("long", 27_000.0, pytest.approx(1_080.0))


@pytest.mark.parametrize(
    ("exchange", "told", "wanted"),
    [
        (
            "binance",
            {
                "symbols": ["BTCUSDT", "ETHUSDT"],
                "assets": [{"asset": "USDT", "marginBalance": "793930.5", "updateTime": 1_745_366_402_000}],
            },
            {"coin": "USDT", "balance": 793_930.5, "covers": 2},
        ),
        (
            "bybit",
            {
                "result": {
                    "updatedTime": "1714003200000",
                    "list": [{"coin": "USDT", "symbols": "A,B,C", "balance": "4.5", "value": "4.6"}],
                }
            },
            {"coin": "USDT", "balance": 4.5, "balance_usd": 4.6, "covers": 3},
        ),
        (
            "okx",
            {"data": [{"total": "9", "details": [{"balance": "8.5", "ccy": "USDT", "ts": "1732291200000"}]}]},
            {"coin": "USDT", "balance": 8.5},
        ),
        ("gateio", [{"t": 1_728_604_800, "b": "7.25"}], {"coin": "USDT", "balance": 7.25}),
    ],
)
def test_insurance_funds_as_venues_write_them(exchange: str, told: Any, wanted: dict[str, Any]) -> None:
    (fund,) = conditions.insurance(Telling(exchange, told), BTC, 1.0)
    assert fund.items() >= wanted.items()
    assert fund["timestamp"].year in (2024, 2025)


def test_sums_of_a_coin_are_newest_first() -> None:
    told = {"data": [["1630502400000", "1713028741.6898", "39800873.554"], ["1630598400000", "1", "2"]]}
    newest, oldest = conditions.coin(Telling("okx", told), "btc", "1h", 1.0)
    assert (newest["open_interest_usd"], newest["volume_usd"]) == (1.0, 2.0)
    assert oldest["open_interest_usd"] == pytest.approx(1_713_028_741.6898)
