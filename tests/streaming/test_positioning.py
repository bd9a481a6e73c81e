"""Who is long and who short: the venues' statistics from the question to the row, real shapes and simulated ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import duckdb
import msgspec
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import Poll, decoded, rest_frame
from orderflow_streaming.markets import MARKETS, expected_tables
from orderflow_streaming.reading.market_reader import plans
from orderflow_streaming.reading.rest import SHARE
from orderflow_streaming.settings import Settings
from orderflow_streaming.simulator.crowd import FOLLOWING, MEMORY_MINUTES, USUAL, Positioning
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.dialects.dialect import RestCall
from orderflow_streaming.simulator.feed import Batch, Feed
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.market import Market
from orderflow_streaming.watching import coverage
from orderflow_streaming.writing.normalize import Normalizer, Outcome
from orderflow_streaming.writing.rules import staged

TELLING = ("binance_futures", "bybit_futures", "gateio_futures", "okx_futures")
KINDS = {
    "binance_futures": {"accounts", "top_accounts", "top_positions", "taker_volume"},
    "bybit_futures": {"accounts"},
    "gateio_futures": {"accounts", "top_accounts", "top_positions", "taker_volume"},
    "okx_futures": {"accounts", "top_accounts", "top_positions"},
}
START_US = 1_746_453_600_000_000
MINUTES = 12
SYMBOL = "BTCUSDT"
telling = pytest.mark.parametrize("market", TELLING)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        opened.execute(
            "CREATE TABLE instruments AS FROM (VALUES "
            "('gateio', 'futures', 'BTC_USDT', 'BTCUSDT', 0.0001::DOUBLE, 8.0::DOUBLE), "
            "('okx', 'futures', 'BTC-USDT-SWAP', 'BTCUSDT', 0.01::DOUBLE, 8.0::DOUBLE)"
            ") t(exchange, market_type, venue_symbol, symbol, contract_size, funding_interval_hours)"
        )
        yield opened


def normalized(
    connection: duckdb.DuckDBPyConnection, market: str, answers: list[tuple[str, str, Any]]
) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """What became of answers, each with its channel and what was asked."""
    normalizer = Normalizer(connection, "instruments")
    frames = [(channel, rest_frame(path, msgspec.json.encode(body))) for channel, path, body in answers]
    outcomes = [normalizer.normalize(exchange(market), channel, [frame], [START_US]) for channel, frame in frames]
    found = connection.sql(f"SELECT * FROM {staged('positioning')} ORDER BY kind").to_arrow_table().to_pylist()
    return outcomes, found


def polls(market: str, symbols: tuple[str, ...] = (SYMBOL,)) -> tuple[Poll, ...]:
    return exchange(market).polls(symbols, ("positioning",))


DOCUMENTED: dict[str, tuple[str, Any, dict[str, float]]] = {
    "binance accounts": (
        "binance_futures",
        [{"symbol": "BTCUSDT", "longShortRatio": "1.8105", "longAccount": "0.6442", "shortAccount": "0.3558",
          "timestamp": 1583139600000}],
        {"accounts": 1.8105},
    ),
    "binance takers": (
        "binance_futures",
        [{"buySellRatio": "1.5586", "buyVol": "387.3300", "sellVol": "248.5030", "timestamp": "1583139600000"}],
        {"taker_volume": 1.5586},
    ),
    "bybit": (
        "bybit_futures",
        {"retCode": 0, "retMsg": "OK", "retExtInfo": {}, "time": 1583139612345, "result": {
            "nextPageCursor": "lastid%3D0",
            "list": [{"symbol": "BTCUSDT", "buyRatio": "0.5777", "sellRatio": "0.4223",
                      "timestamp": "1583139600000"}]}},
        {"accounts": 0.5777 / 0.4223},
    ),
    "okx": (
        "okx_futures",
        {"code": "0", "msg": "", "data": [["1583139600000", "1.1739"]]},
        {"accounts": 1.1739},
    ),
    "gateio": (
        "gateio_futures",
        [{"time": 1583139600, "lsr_taker": 0.8, "long_liq_size": 0, "short_liq_size": 0, "lsr_account": 0.5,
          "mark_price": 8865, "open_interest": 124724, "top_lsr_account": 1.02, "top_lsr_size": 1.6}],
        {"accounts": 0.5, "top_accounts": 1.02, "top_positions": 1.6, "taker_volume": 0.8},
    ),
    "gateio, where nobody of a kind is short": (
        "gateio_futures",
        [{"time": 1583139600, "lsr_taker": 0, "lsr_account": 0.5, "top_lsr_size": None}],
        {"accounts": 0.5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_answers_become_rows(name: str, connection: duckdb.DuckDBPyConnection) -> None:
    market, body, wanted = DOCUMENTED[name]
    (poll,) = [one for one in polls(market) if _tells(market, one, next(iter(wanted)))]
    outcomes, found = normalized(connection, market, [(poll.channel, poll.path, body)])
    assert not any(outcome.rejected for outcome in outcomes)
    assert {row["kind"]: row["long_short_ratio"] for row in found} == pytest.approx(wanted)
    for row in found:
        assert (row["symbol"], row["exchange"], row["market_type"]) == (SYMBOL, market.split("_")[0], "futures")
        assert row["timestamp"] == datetime(2020, 3, 2, 9)  # noqa: DTZ001
        assert row["long_share"] == pytest.approx(row["long_short_ratio"] / (1 + row["long_short_ratio"]))


def _tells(market: str, poll: Poll, kind: str) -> bool:
    return any(f"'{kind}'" in rows.fields["kind"] for rows in exchange(market).channels[poll.channel].rows)


@pytest.mark.parametrize("ratio", ["0", "-1", "", "much", None])
def test_what_is_no_ratio_is_set_aside(ratio: str | None, connection: duckdb.DuckDBPyConnection) -> None:
    poll = polls("binance_futures")[0]
    body = [{"symbol": "BTCUSDT", "longShortRatio": ratio, "timestamp": 1583139600000}]
    ((outcome,), found) = normalized(connection, "binance_futures", [(poll.channel, poll.path, body)])
    assert (len(outcome.rejected), found) == (1, [])


def test_a_bybit_market_without_shorts_has_no_ratio(connection: duckdb.DuckDBPyConnection) -> None:
    (poll,) = polls("bybit_futures")
    row = {"symbol": "BTCUSDT", "buyRatio": "1", "sellRatio": "0", "timestamp": "1583139600000"}
    ((outcome,), found) = normalized(
        connection, "bybit_futures", [(poll.channel, poll.path, {"retCode": 0, "result": {"list": [row]}})]
    )
    assert (len(outcome.rejected), found) == (1, [])


@telling
def test_recorded_answers_are_told_by_their_path(market: str) -> None:
    for poll in polls(market):
        body = _answered(market, poll)
        ((channel, frame),) = exchange(market).classify(body, poll.path)
        assert poll.channel.startswith(channel)
        assert frame == rest_frame(poll.path, body)


# -- what is asked ------------------------------------------------------------------------------------------


def test_only_markets_that_publish_statistics_are_asked() -> None:
    assert {name for name, market in MARKETS.items() if market.statistics} == set(TELLING)
    for name, market in MARKETS.items():
        asked = exchange(name).polls(market.symbols, ("positioning",))
        kinds = {
            rows.fields["kind"].strip("'") for poll in asked for rows in exchange(name).channels[poll.channel].rows
        }
        assert kinds == KINDS.get(name, set())
        assert {poll.symbol for poll in asked} == (set(market.symbols) if name in TELLING else set())


@pytest.mark.parametrize("market", MARKETS)
def test_polls_stay_below_the_share_of_the_limit(market: str) -> None:
    protocol = exchange(market)
    asked = protocol.polls(protocol.market.symbols, protocol.market.collected)
    a_minute = sum(poll.weight * 60 / poll.interval_s for poll in asked)
    assert a_minute <= SHARE * protocol.limits.rest_weight_per_min


def test_there_are_no_isolated_tables_of_them() -> None:
    assert not [name for name in expected_tables() if "positioning" in name]
    found = plans(Settings())
    assert {name for name, plan in found.items() if "positioning" in plan.streams} == set(TELLING)
    names = set().union(*(coverage.expected(plan) for plan in found.values()))
    assert names == set(expected_tables())


def test_they_can_be_left_out() -> None:
    assert all("positioning" not in plan.streams for plan in plans(Settings(stream_types=("trades",))).values())


# -- simulated ----------------------------------------------------------------------------------------------


@cache
def _history(market: str) -> Feed:
    dialect = DIALECTS[market]
    simulated, feed = Market(3, START_US, [dialect.venue], (SYMBOL,)), Feed(dialect)
    for _ in range(MINUTES):
        feed.add(Batch(simulated.minute()))
    return feed


def _answered(market: str, poll: Poll) -> bytes:
    path, _, query = poll.path.partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&"))
    now_us = START_US + MINUTES * MINUTE_US - 1
    answer = DIALECTS[market].rest(RestCall("GET", path, parameters, _history(market).history, now_us))
    assert answer.status == 200
    return answer.body


@telling
def test_the_simulated_venue_tells_what_its_market_is(market: str, connection: duckdb.DuckDBPyConnection) -> None:
    asked = polls(market)
    outcomes, found = normalized(
        connection, market, [(poll.channel, poll.path, decoded(_answered(market, poll))) for poll in asked]
    )
    assert not any(outcome.rejected for outcome in outcomes)
    assert {row["kind"] for row in found} == KINDS[market]
    told = _history(market).history[SYMBOL].interests(START_US + MINUTES * MINUTE_US)[-1].positioning
    wanted = {
        "accounts": told.accounts,
        "top_accounts": told.top_accounts,
        "top_positions": told.top_positions,
        "taker_volume": told.taker,
    }
    told_at = datetime.fromtimestamp(START_US / 1e6, UTC).replace(tzinfo=None) + timedelta(minutes=10)
    names_beginning = market == "okx_futures"
    for row in found:
        assert row["long_short_ratio"] == pytest.approx(wanted[row["kind"]], rel=1e-3), row["kind"]
        assert row["timestamp"] == told_at - timedelta(minutes=5 if names_beginning else 0)
        assert row["symbol"] == SYMBOL


@telling
def test_a_period_the_venue_does_not_offer_is_refused(market: str) -> None:
    poll = polls(market)[0]
    wrong = Poll(poll.channel, poll.symbol, poll.path.replace("5m", "7m"), 300.0)
    path, _, query = wrong.path.partition("?")
    parameters = dict(pair.split("=") for pair in query.split("&"))
    answer = DIALECTS[market].rest(RestCall("GET", path, parameters, _history(market).history, START_US))
    assert answer.status >= 400 or exchange(market).refusal(decoded(answer.body))


def test_the_simulated_crowd_follows_the_price_and_takers_are_counted() -> None:
    feed = _history("binance_futures")
    first, last = feed.history[SYMBOL].interests(START_US + MINUTES * MINUTE_US)
    marks, trend = [], 0.0
    simulated = Market(3, START_US, [DIALECTS["binance_futures"].venue], (SYMBOL,))
    bought = sold = 0
    for number in range(10):
        (minute,) = simulated.minute()
        assert minute.seconds is not None
        marks.append(float(minute.seconds.mark[-1]))
        moved = math.log(marks[-1] / marks[-2]) if number else 0.0
        trend += moved - trend / MEMORY_MINUTES
        if number >= 5:
            bought += int(minute.trades.lots[minute.trades.buy].sum())
            sold += int(minute.trades.lots[~minute.trades.buy].sum())
    small = USUAL + FOLLOWING * trend
    assert isinstance(last.positioning, Positioning)
    assert last.positioning.accounts == pytest.approx(math.exp(small))
    assert last.positioning.top_positions == pytest.approx(math.exp(-0.75 * small))
    assert (last.positioning.bought, last.positioning.sold) == (bought, sold)
    assert last.positioning.taker == pytest.approx((bought + 1) / (sold + 1))
    assert first.positioning.accounts != last.positioning.accounts
