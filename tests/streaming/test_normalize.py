"""The engine-side normalizer: rows by hand, malformed neighbours, venues that count contracts, any clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

import duckdb
import msgspec
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.binance.futures import BinanceFutures
from orderflow_streaming.exchanges.protocol import Channel, Exchange, Rows, values
from orderflow_streaming.writing import projection
from orderflow_streaming.writing.normalize import Normalizer, Outcome
from orderflow_streaming.writing.projection import staged

BINANCE = exchange("binance_futures")
RECEIVED = 1_700_000_000_500_000
EVENT_MS = 1_700_000_000_000
EVENT = datetime.fromisoformat("2023-11-14T22:13:20")


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as opened:
        yield opened


@pytest.fixture
def normalizer(connection: duckdb.DuckDBPyConnection) -> Normalizer:
    return Normalizer(connection)


def frame(topic: str, **data: Any) -> bytes:
    return msgspec.json.encode({"stream": topic, "data": data})


def trade(number: int = 1, **changes: Any) -> bytes:
    data = {"e": "aggTrade", "E": EVENT_MS + 5, "a": number, "s": "BTCUSDT", "p": "60000.10", "q": "0.5"}
    data |= {"f": 10, "l": 10 + number, "T": EVENT_MS, "m": True}
    return frame("btcusdt@aggTrade", **(data | changes))


def quote(**changes: Any) -> bytes:
    data = {"e": "bookTicker", "u": 7, "s": "BTCUSDT", "b": "99.0", "B": "2", "a": "101.0", "A": "3"}
    return frame("btcusdt@bookTicker", **(data | {"T": EVENT_MS, "E": EVENT_MS} | changes))


def book(bids: Any, asks: Any, **changes: Any) -> bytes:
    data = {"e": "depthUpdate", "E": EVENT_MS, "T": EVENT_MS, "s": "BTCUSDT", "U": 1, "u": 9, "pu": 0}
    return frame("btcusdt@depth20@100ms", **(data | {"b": bids, "a": asks} | changes))


def mark(**changes: Any) -> bytes:
    data = {"e": "markPriceUpdate", "E": EVENT_MS, "s": "BTCUSDT", "p": "101", "i": "100", "r": "0.0001"}
    return frame("btcusdt@markPrice@1s", **(data | {"T": EVENT_MS + 3_600_000} | changes))


def rows(connection: duckdb.DuckDBPyConnection, stream: str) -> list[dict[str, Any]]:
    return connection.sql(f"SELECT * FROM {staged(stream)} ORDER BY frame, item").to_arrow_table().to_pylist()


def run(normalizer: Normalizer, channel: str, *frames: bytes, protocol: Exchange = BINANCE) -> Outcome:
    return normalizer.normalize(protocol, channel, frames, [RECEIVED] * len(frames))


# -- values by hand -----------------------------------------------------------------------------------------


def test_trade(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    outcome = run(normalizer, "aggTrade", trade(1), trade(2, m=False))
    assert outcome.staged == {"trades": 2}
    assert not outcome.rejected
    first, second = rows(connection, "trades")
    assert first == {
        "frame": 0,
        "item": 0,
        "symbol": "BTCUSDT",
        "exchange": "binance",
        "market_type": "futures",
        "timestamp": EVENT,
        "trade_id": "1",
        "price": 60000.1,
        "quantity": 0.5,
        "quote_value": 30000.05,
        "side": "sell",
        "is_buyer_maker": True,
        "received_at": EVENT + timedelta(milliseconds=500),
        "source_seq": "11",
        "raw_quantity": 0.5,
    }
    assert (second["side"], second["is_buyer_maker"], second["frame"]) == ("buy", False, 1)


def test_quote(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    run(normalizer, "bookTicker", quote(), quote(b="102.0"))
    plain, crossed = rows(connection, "prices")
    assert (plain["mid_price"], plain["spread"], plain["spread_bps"]) == (100.0, 2.0, 200.0)
    assert (plain["bid_qty"], plain["ask_qty"], plain["last_price"], plain["source_seq"]) == (2.0, 3.0, None, "7")
    assert (crossed["mid_price"], crossed["spread"]) == (101.5, -1.0), "a crossed quote is stored as it was sent"


def test_one_sided_quote_is_known_and_not_stored(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    outcome = run(normalizer, "bookTicker", quote(), quote(b="0.00", B="0.0"), quote(u=8))
    assert (outcome.staged, outcome.known, outcome.rejected) == ({"prices": 2}, {"one_sided_quote": 1}, [])
    assert [row["frame"] for row in rows(connection, "prices")] == [0, 2]


def test_book_has_ten_levels_a_tail_and_totals(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    bids = [[str(99 - level), "2"] for level in range(12)]
    asks = [[str(101 + level), "1"] for level in range(12)]
    run(normalizer, "partialDepth", book(bids, asks))
    (row,) = rows(connection, "orderbooks")
    assert [row[f"bid_{level}_price"] for level in range(1, 11)] == [99.0 - level for level in range(10)]
    assert [row[f"ask_{level}_qty"] for level in range(1, 11)] == [1.0] * 10
    assert (row["bid_tail"], row["ask_tail"]) == ([[89.0, 2.0], [88.0, 2.0]], [[111.0, 1.0], [112.0, 1.0]])
    assert (row["total_bid_depth"], row["total_ask_depth"], row["bid_ask_ratio"]) == (20.0, 10.0, 2.0)
    assert (row["raw_bid_depth"], row["raw_ask_depth"]) == (20.0, 10.0)
    assert (row["spread"], row["mid_price"], row["spread_pct"], row["source_seq"]) == (2.0, 100.0, 2.0, "9")


def test_undefined_is_null(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    run(normalizer, "partialDepth", book([["99", "2"]], []), book([], []))
    one_sided, empty = rows(connection, "orderbooks")
    assert (one_sided["total_bid_depth"], one_sided["total_ask_depth"]) == (2.0, 0.0)
    assert one_sided["bid_1_price"] == 99.0
    for row in (one_sided, empty):
        assert [row[name] for name in ("ask_1_price", "bid_ask_ratio", "spread", "spread_pct", "mid_price")] == [
            None
        ] * 5


def test_mark_price_makes_three_rows(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    outcome = run(normalizer, "markPrice", mark())
    assert outcome.staged == {"mark_prices": 1, "funding_rates": 1, "index_prices": 1}
    (price,) = rows(connection, "mark_prices")
    assert (price["basis"], price["basis_pct"], price["annualized_rate"]) == (1.0, 1.0, None)
    (funding,) = rows(connection, "funding_rates")
    assert funding["next_funding_time"] == EVENT + timedelta(hours=1)
    assert (funding["countdown_secs"], funding["funding_pct"]) == (3600, pytest.approx(0.01))
    assert (funding["annualized_pct"], funding["funding_interval_hours"]) == (None, None)
    assert rows(connection, "index_prices")[0]["index_price"] == 100.0


@pytest.mark.parametrize(
    ("change", "staged_rows"),
    [
        ({"i": None}, {"mark_prices": 1, "funding_rates": 1, "index_prices": 0}),
        ({"i": "0.0"}, {"mark_prices": 1, "funding_rates": 1, "index_prices": 0}),
        ({"r": "", "T": 0}, {"mark_prices": 1, "funding_rates": 0, "index_prices": 1}),
    ],
    ids=["message of 2019", "no index", "delivery contract"],
)
def test_parts_a_mark_price_may_lack(
    normalizer: Normalizer, change: dict[str, Any], staged_rows: dict[str, int]
) -> None:
    outcome = run(normalizer, "markPrice", mark(**change))
    assert (outcome.staged, outcome.rejected) == (staged_rows, [])


def test_a_settlement_that_has_passed_is_not_counted_down_to(
    connection: duckdb.DuckDBPyConnection, normalizer: Normalizer
) -> None:
    run(normalizer, "markPrice", mark(T=EVENT_MS - 1000))
    assert rows(connection, "funding_rates")[0]["countdown_secs"] is None


def test_forming_candle(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    bar = {"t": EVENT_MS, "T": EVENT_MS + 299_999, "i": "5m", "L": -1, "o": "1", "c": "2", "h": "3", "l": "0.5"}
    bar |= {"v": "8", "n": 4, "x": False, "q": "16", "V": "2", "Q": "4"}
    run(normalizer, "kline", frame("x@kline_5m", e="kline", E=EVENT_MS, s="BTCUSDT", k=bar))
    (row,) = rows(connection, "candles")
    assert (row["interval"], row["is_closed"], row["taker_buy_pct"]) == ("5m", False, 25.0)
    assert (row["open_time"], row["close_time"]) == (EVENT, EVENT + timedelta(milliseconds=299_999))
    assert (row["open"], row["high"], row["low"], row["close"], row["source_seq"]) == (1.0, 3.0, 0.5, 2.0, None)


@pytest.mark.parametrize(("side", "closed"), [("SELL", "long"), ("BUY", "short")])
def test_liquidation_names_the_position_closed(
    connection: duckdb.DuckDBPyConnection, normalizer: Normalizer, side: str, closed: str
) -> None:
    order = {"s": "BTCUSDT", "S": side, "q": "9", "p": "1", "ap": "50000", "X": "FILLED", "z": "3", "T": EVENT_MS}
    run(normalizer, "forceOrder", frame("btcusdt@forceOrder", e="forceOrder", E=EVENT_MS, o=order))
    (row,) = rows(connection, "liquidations")
    assert (row["side"], row["price"], row["quantity"], row["value_usd"]) == (closed, 50000.0, 3.0, 150000.0)
    assert row["is_large"] is True


def test_trades_away_from_the_market_are_not_stored(normalizer: Normalizer) -> None:
    data = {"e": "trade", "E": EVENT_MS, "T": EVENT_MS, "s": "ETHUSDT", "t": 1, "p": "1", "q": "2", "m": True}
    frames = [frame("ethusdt@trade", **data, **extra) for extra in ({}, {"X": "MARKET"}, {"X": "INSURANCE_FUND"})]
    outcome = run(normalizer, "trade", *frames)
    assert (outcome.staged, outcome.known) == ({"trades": 2}, {"off_market_trade": 1})


# -- instruments --------------------------------------------------------------------------------------------

_INSTRUMENTS = (
    "CREATE TABLE known (symbol VARCHAR, exchange VARCHAR, market_type VARCHAR, venue_symbol VARCHAR, status VARCHAR, "
    "contract_size DOUBLE, tick_size DOUBLE, lot_size DOUBLE, funding_interval_hours DOUBLE, as_of TIMESTAMP)"
)


def test_funding_per_year_follows_the_interval_of_the_instrument(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(_INSTRUMENTS)
    connection.execute(
        "INSERT INTO known VALUES ('BTCUSDT','binance','futures','BTCUSDT','T',1,1,1,4,now()::TIMESTAMP)"
    )
    connection.execute("INSERT INTO known VALUES ('BTCUSDT','bybit','futures','BTCUSDT','T',9,1,1,1,now()::TIMESTAMP)")
    run(Normalizer(connection, "known"), "markPrice", mark(), mark(s="NEWUSDT"))
    known, unknown = rows(connection, "mark_prices")
    assert known["annualized_rate"] == pytest.approx(0.0001 * 6 * 365 * 100)
    assert (unknown["symbol"], unknown["annualized_rate"]) == ("NEWUSDT", None)
    assert rows(connection, "funding_rates")[0]["funding_interval_hours"] == 4.0


class Contracts(BinanceFutures):
    """The same venue if it counted contracts and spelled symbols differently."""

    counts_base = False
    neutral_symbol = "upper(replace(venue_symbol, '-', ''))"


def test_contracts_become_base_coin(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(_INSTRUMENTS)
    connection.execute(
        "INSERT INTO known VALUES ('BTCUSDT','binance','futures','BTC-USDT','T',0.01,1,1,8,now()::TIMESTAMP)"
    )
    normalizer, protocol = Normalizer(connection, "known"), Contracts()
    outcome = run(normalizer, "aggTrade", trade(s="BTC-USDT"), trade(s="ETH-USDT"), protocol=protocol)
    (row,) = rows(connection, "trades")
    assert (row["symbol"], row["raw_quantity"], row["quantity"]) == ("BTCUSDT", 0.5, 0.005)
    assert row["quote_value"] == pytest.approx(300.0005)
    assert [(item.frame, item.reason) for item in outcome.rejected] == [(1, "no contract size is known for ETH-USDT")]
    run(normalizer, "partialDepth", book([["99", "200"]], [["101", "100"]], s="BTC-USDT"), protocol=protocol)
    (snapshot,) = rows(connection, "orderbooks")
    assert (snapshot["bid_1_qty"], snapshot["total_bid_depth"], snapshot["raw_bid_depth"]) == (2.0, 2.0, 200.0)
    run(normalizer, "markPrice", mark(s="ETH-USDT"), protocol=protocol)
    assert rows(connection, "mark_prices")[0]["symbol"] == "ETHUSDT", "prices need no contract size"


# -- bad neighbours -----------------------------------------------------------------------------------------

MALFORMED = [
    (b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","T":17', "not JSON"),
    (b"\xff\xfe\x00", "not JSON"),
    (b"", "not JSON"),
    (b"[]", "the symbol is missing"),
    (b'{"stream":"btcusdt@aggTrade","data":5}', "the symbol is missing"),
    (trade(p="abc"), "p: abc is not a number"),
    (trade(p="NaN"), "p: NaN is not a number"),
    (trade(p="1e999"), "p: 1e999 is not a number"),
    (trade(q=[1]), "q: [1] is not a number"),
    (trade(q=None), "raw_quantity is missing"),
    (trade(p="-1"), "price is not above zero"),
    (trade(q="0"), "raw_quantity is not above zero"),
    (trade(T="soon"), "T: soon is not an integer"),
    (trade(T=0), "timestamp is missing"),
    (trade(T=99999999999999999), "timestamp is missing"),
    (trade(m="perhaps"), "m: perhaps is not true or false"),
    (trade(s={"x": 1}), 's: {"x":1} is not text'),
    (trade(s=""), "the symbol is missing"),
    (trade(a="x1"), "a: x1 is not an integer"),
]


def test_a_malformed_frame_costs_only_itself(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    frames = [item for number, (bad, _) in enumerate(MALFORMED) for item in (trade(number), bad)]
    outcome = run(normalizer, "aggTrade", *frames)
    assert outcome.staged == {"trades": len(MALFORMED)}
    assert [row["trade_id"] for row in rows(connection, "trades")] == [str(n) for n in range(len(MALFORMED))]
    assert [(item.frame, item.reason) for item in outcome.rejected] == [
        (2 * number + 1, reason) for number, (_, reason) in enumerate(MALFORMED)
    ]


@pytest.mark.parametrize("level", [["1"], [], "x", ["1", "a"], ["1", None], ["NaN", "1"], {"p": "1"}, None])
def test_a_malformed_level_rejects_its_book(normalizer: Normalizer, level: Any) -> None:
    outcome = run(normalizer, "partialDepth", book([["2", "1"], level], [["3", "1"]]), book([["2", "1"]], []))
    assert outcome.staged == {"orderbooks": 1}
    assert [item.frame for item in outcome.rejected] == [0]
    assert outcome.rejected[0].reason.startswith("b: ")


def test_a_malformed_optional_value_is_not_taken_as_absent(normalizer: Normalizer) -> None:
    outcome = run(normalizer, "markPrice", mark(i="n/a"))
    assert [item.reason for item in outcome.rejected] == ["i: n/a is not a number"]
    assert not any(outcome.staged.values())


def test_one_item_of_a_list_costs_only_itself(connection: duckdb.DuckDBPyConnection, normalizer: Normalizer) -> None:
    good, bad = (msgspec.json.decode(mark(**change))["data"] for change in ({}, {"p": "x"}))
    frames = [
        msgspec.json.encode({"stream": "!markPrice@arr", "data": data})
        for data in ([good, bad, good], [], 5, [good], [None], good)
    ]
    outcome = run(normalizer, "markPrice[]", *frames, b"nonsense")
    assert [(row["frame"], row["item"]) for row in rows(connection, "mark_prices")] == [(0, 0), (0, 2), (3, 0), (5, 0)]
    assert [(item.frame, item.item, item.reason) for item in outcome.rejected] == [
        (0, 1, "p: x is not a number"),
        (2, 0, "no list at data"),
        (4, 0, "the symbol is missing"),
        (6, 0, "not JSON"),
    ]


class Fragile(BinanceFutures):
    """A declaration with an expression that raises for some values."""

    channels: ClassVar = {
        "fragile": Channel(
            "fragile",
            values(BIGINT="T", VARCHAR="s", DOUBLE="p"),
            (Rows("index_prices", {"timestamp": "make_timestamp($T * 1000)", "index_price": "$p"}),),
        )
    }


def test_what_the_engine_cannot_evaluate_is_found_by_halving(
    connection: duckdb.DuckDBPyConnection, normalizer: Normalizer
) -> None:
    prices = [{"T": 1 << 62 if number == 37 else 1, "s": "X", "p": number + 1} for number in range(100)]
    frames = [msgspec.json.encode({"data": data}) for data in prices]
    outcome = normalizer.normalize(Fragile(), "fragile", frames, [RECEIVED] * 100)
    assert outcome.staged == {"index_prices": 99}
    assert [item.frame for item in outcome.rejected] == [37]
    assert "cannot read it" in outcome.rejected[0].reason
    found = [row["frame"] for row in rows(connection, "index_prices")]
    assert found == [number for number in range(100) if number != 37]


def test_frames_are_numbered_across_batches_until_cleared(
    connection: duckdb.DuckDBPyConnection, normalizer: Normalizer
) -> None:
    run(normalizer, "aggTrade", trade(1), trade(2))
    assert run(normalizer, "bookTicker", quote()).first == 2
    assert rows(connection, "prices")[0]["frame"] == 2
    normalizer.clear()
    assert rows(connection, "trades") == rows(connection, "prices") == []
    assert run(normalizer, "aggTrade", trade(1)).first == 0


def test_unknown_channel_says_which_exist(normalizer: Normalizer) -> None:
    with pytest.raises(ValueError, match=r"has no channel 'trades'. It has: .*aggTrade"):
        run(normalizer, "trades", trade())


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_times_are_utc_whatever_the_clock(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with duckdb.connect() as connection:
            connection.execute(f"SET TimeZone = '{zone}'")
            run(Normalizer(connection), "aggTrade", trade())
            (row,) = rows(connection, "trades")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row["timestamp"] == EVENT
    assert row["received_at"] == EVENT + timedelta(milliseconds=500)


@pytest.mark.parametrize("channel", BINANCE.channels)
def test_every_declared_channel_is_sound(connection: duckdb.DuckDBPyConnection, channel: str) -> None:
    for inspect in (False, True):
        normalizer = Normalizer(connection, inspect=inspect)
        outcome = run(normalizer, channel, b'{"stream":"x@y","data":{}}', b'{"rest":"/a?b=c","data":[{}]}', b"?")
        assert not any(outcome.staged.values())
        assert {item.frame for item in outcome.rejected} == {0, 1, 2}
        assert projection.plan(BINANCE, channel, inspect)
