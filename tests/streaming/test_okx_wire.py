"""Recorded OKX messages, compared value by value with a plain reading of the same JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_streaming.commands.normalize import command
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import Change, LocalBook
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.okx.books import BOOKS, checksum
from orderflow_streaming.exchanges.protocol import Control, ControlKind

pytestmark = pytest.mark.wire

OKX = exchange("okx_futures")
INVERSE = "okx_swap_uni_usd_swap_20220513.tsv"
"""An inverse swap, a dated future and a spot pair, with checksums and without ids."""
LINEAR = "okx_swap_btc_usdt_swap_20260926_snapshot_trimmed.tsv"
"""A linear swap with ids and without checksums; the first book is cut to 60 levels."""

FOLDERS = {
    "book_delta": {"book_delta", "book_snapshot"},
    "book_snapshot": {"book_snapshot", "orderbooks"},
    "book_ticker": {"prices"},
    "candles": {"candles"},
    "control": set(),
    "funding": {"funding_rates", "funding_forecast"},
    "liquidations": {"liquidations"},
    "mark_price": {"mark_prices"},
    "open_interest": {"open_interest"},
    "other": {"index_prices", "instrument"},
    "rest_book_snapshot": {"book_snapshot"},
    "rest_candles": {"candles"},
    "rest_error": set(),
    "rest_funding": {"funding_rates"},
    "rest_instruments": {"instrument"},
    "rest_mark_price": {"mark_prices"},
    "rest_open_interest": {"open_interest"},
    "rest_ticker": {"ticker_24h"},
    "ticker_24h": {"ticker_24h"},
    "trades": {"trades"},
}


def printed(*files: Path) -> list[dict[str, Any]]:
    """The rows of recordings, without what is said of books cut by whoever kept them."""
    result = CliRunner().invoke(command, ["--market", "okx_futures", *map(str, files)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return [row for row in map(json.loads, result.stdout.splitlines()) if row["kind"] != "gap"]


def iso(milliseconds: str) -> str:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def recorded(path: Path) -> Iterator[tuple[int, str]]:
    """Receive time in ns and text of each message that the server sent."""
    for line in path.read_text().splitlines():
        time, kind, raw = line.split("\t", 2)
        if kind == "ws":
            yield int(time), raw


def test_every_folder_of_messages_is_expected(wire: Path) -> None:
    assert {folder.name for folder in (wire / "okx_futures").iterdir()} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_message_is_read(wire: Path, folder: str) -> None:
    for path in sorted((wire / "okx_futures" / folder).iterdir()):
        rows = printed(path)
        assert {row["kind"] for row in rows} <= FOLDERS[folder], path.name
        assert bool(rows) == bool(FOLDERS[folder]), path.name
        if path.suffix == ".jsonl" and rows:
            sent = len([row for row in rows if row["kind"] != "orderbooks"])
            assert sent == len(path.read_text().splitlines())


def test_every_answer_on_a_socket_is_understood(wire: Path) -> None:
    kinds: dict[ControlKind, list[Control]] = defaultdict(list)
    for path in sorted((wire / "okx_futures" / "control").iterdir()):
        if "client" not in path.name:
            for line in path.read_text().splitlines():
                control = OKX.control(line.encode())
                kinds[control.kind].append(control)
    assert set(kinds) == {ControlKind.ACK, ControlKind.REFUSED, ControlKind.ERROR, ControlKind.RATE_LIMITED}
    refused = [control.topics for control in kinds[ControlKind.REFUSED]]
    assert refused == [("estimated-price:FUTURES",), ("index-tickers:NEAR-USDT-SWAP",)]


# -- values ----------------------------------------------------------------------------------------------

# BTC-USDT-SWAP is 0.01 BTC a contract: instruments of the same recordings say so.
SIZES = "rest_instruments/002_list_only_BTC-USD-SWAP_trimmed.json"
CONTRACT = 0.01


def _quote(row: dict[str, Any]) -> dict[str, Any]:
    (bid, bid_size, *_), (ask, ask_size, *_) = row["bids"][0], row["asks"][0]
    return {
        "timestamp": iso(row["ts"]),
        "bid_price": float(bid),
        "ask_price": float(ask),
        "bid_qty": pytest.approx(float(bid_size) * CONTRACT),
        "ask_qty": pytest.approx(float(ask_size) * CONTRACT),
        "mid_price": pytest.approx((float(bid) + float(ask)) / 2),
        "source_seq": str(row["seqId"]),
    }


def _trade(row: dict[str, Any]) -> dict[str, Any]:
    price, size = float(row["px"]), float(row["sz"])
    return {
        "timestamp": iso(row["ts"]),
        "trade_id": row["tradeId"],
        "price": price,
        "raw_quantity": size,
        "quantity": pytest.approx(size * CONTRACT),
        "quote_value": pytest.approx(price * size * CONTRACT),
        "side": row["side"],
        "is_buyer_maker": row["side"] == "sell",
    }


def _change(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "timestamp": iso(row["ts"]),
        "last_update_id": row["seqId"],
        "previous_update_id": row["prevSeqId"],
        "bids": [[float(number) for number in level] for level in row["bids"]],
        "asks": [[float(number) for number in level] for level in row["asks"]],
    }


EXPECTED = {"bbo-tbt": ("prices", _quote), "trades": ("trades", _trade), "books": ("", _change)}


def test_values_are_those_of_the_messages(wire: Path) -> None:
    rows = [
        row
        for row in printed(wire / "okx_futures" / SIZES, wire / "sequences" / LINEAR)
        if row["kind"] not in ("instrument", "orderbooks")
    ]
    messages = [json.loads(raw) for _, raw in recorded(wire / "sequences" / LINEAR)]
    data = [message for message in messages if "data" in message]
    assert len(rows) == len(data) == 62
    for row, message in zip(rows, data, strict=True):
        kind, read = EXPECTED[message["arg"]["channel"]]
        action = message.get("action")
        assert row["kind"] == (kind or {"snapshot": "book_snapshot", "update": "book_delta"}[action])
        expected = read(message["data"][0])
        assert {name: row["row"][name] for name in expected} == expected
        if kind:
            assert row["table"] == f"btcusdt_okx_futures_{kind}"


SINGLES: dict[str, dict[str, Any]] = {
    "candles/001_candle1m_BTC-USDT-SWAP.json": {
        "open_time": iso("1662716640000"),
        "close_time": iso("1662716699999"),
        "interval": "1m",
        "open": 20702.4,
        "high": 20710.0,
        "low": 20702.3,
        "close": 20703.8,
        "volume": 40.7,
        "quote_volume": None,
        "is_closed": None,
    },
    "funding/001_funding-rate_BTC-USDT-SWAP.json": {
        "timestamp": iso("1790757122992"),
        "funding_rate": 0.0000252378080097,
        "next_funding_time": iso("1790784000000"),
    },
    "liquidations/001_liquidation-orders_MINA-USDT-SWAP.json": {
        "timestamp": iso("1789678209470"),
        "side": "short",
        "price": 0.09859,
        "raw_quantity": 10975.0,
        "quantity": None,
    },
    "mark_price/001_mark-price_BTC-USDT-SWAP.json": {
        "timestamp": iso("1790757203016"),
        "mark_price": 83003.8,
        "index_price": None,
        "basis": None,
    },
    "open_interest/001_open-interest_BTC-USDT-SWAP.json": {
        "timestamp": iso("1790757195759"),
        "open_interest": 28744.8699000000925,
        "open_interest_usd": 2385812703.752047677463,
    },
    "other/001_index-tickers_BTC-USDT.json": {"timestamp": iso("1790757203066"), "index_price": 83043.9},
    "ticker_24h/005_tickers_BTC-USD-SWAP.json": {
        "last_price": 42294.4,
        "open_24h": 42194.5,
        "price_change": pytest.approx(99.9),
        "price_change_pct": pytest.approx(99.9 / 42194.5 * 100),
        "quote_volume_24h": None,
        "volume_24h": None,
    },
    "rest_funding/002_funding_BTC-USDT-SWAP.json": {
        "timestamp": iso("1704067200000"),
        "funding_rate": 0.00015,
        "next_funding_time": None,
    },
    "trades/003_trades_BTC-USDT-SWAP.json": {"side": "sell", "quantity": 0.0003, "source_seq": "279183506666"},
}


@pytest.mark.parametrize("name", SINGLES)
def test_single_messages_come_out_as_they_say(wire: Path, name: str) -> None:
    folder = wire / "okx_futures"
    row = next(row["row"] for row in printed(folder / SIZES, folder / name) if row["kind"] != "instrument")
    expected = SINGLES[name]
    found = {column: row[column] for column in expected}
    assert found == {
        column: pytest.approx(value) if isinstance(value, float) else value for column, value in expected.items()
    }


def test_contract_sizes_are_coins_of_linear_contracts_only(wire: Path) -> None:
    rows = {row["row"]["venue_symbol"]: row["row"] for row in printed(wire / "okx_futures" / SIZES)}
    assert (rows["BTC-USDT-SWAP"]["contract_size"], rows["BTC-USDT-SWAP"]["tick_size"]) == (0.01, 0.1)
    assert rows["AR-USDT-SWAP"]["contract_size"] == 0.1
    inverse = rows["XRP-USD-SWAP"]
    assert (inverse["contract_size"], inverse["contract_value"], inverse["contract_currency"]) == (None, 10, "USD")


def test_instruments_are_read_from_the_recorded_list(wire: Path) -> None:
    listed = json.loads((wire / "okx_futures" / SIZES).read_text())
    rate = json.loads((wire / "okx_futures/rest_funding/001_funding_BTC-USDT-SWAP.json").read_text())
    found = {one.symbol: one for one in OKX.instruments([{"code": "0", "data": listed}, rate])}
    assert (found["BTCUSDT"].contract_size, found["BTCUSDT"].funding_interval_hours) == (0.01, 8)
    assert (found["ARUSDT"].contract_size, found["ARUSDT"].funding_interval_hours) == (0.1, None)


# -- books -----------------------------------------------------------------------------------------------


def books(path: Path) -> list[bytes]:
    return [raw.encode() for _, raw in recorded(path) if OKX.route(raw.encode()) == "books"]


@pytest.mark.parametrize(("name", "count"), [(INVERSE, 290), (LINEAR, 16)], ids=["2022", "2026"])
def test_books_replay_without_a_false_gap(wire: Path, name: str, count: int) -> None:
    feed = BOOKS["books"]
    made: dict[str, LocalBook] = {}
    frames = books(wire / "sequences" / name)
    assert len(frames) == count
    for frame in frames:
        change = feed.decode(frame)
        made.setdefault(change.symbol, LocalBook(feed.sequencing)).apply(change)
    assert all(book.ready and book.bids and book.asks for book in made.values())


def test_every_checksum_of_the_recording_is_reproduced(wire: Path) -> None:
    feed, same = BOOKS["books"], 0
    made: dict[str, LocalBook] = {}
    for frame in books(wire / "sequences" / INVERSE):
        change = feed.decode(frame)
        book = made.setdefault(change.symbol, LocalBook(feed.sequencing))
        book.apply(change)
        same += checksum(book) == json.loads(frame)["data"][0]["checksum"]
    assert same == 290


def replayed(changes: Sequence[Change]) -> LocalBook | None:
    """The book after ``changes``; None where it was noticed that something is missing."""
    book = LocalBook(BOOKS["books"].sequencing)
    try:
        for change in changes:
            book.apply(change)
    except OutOfSequenceError:
        return None
    return book


@pytest.mark.parametrize(("name", "count"), [(INVERSE, 284), (LINEAR, 14)], ids=["2022", "2026"])
def test_every_lost_change_is_found(wire: Path, name: str, count: int) -> None:
    """By the ids; without ids, where the 25 levels that the checksum is of are not as they should be."""
    by_symbol: dict[str, list[Change]] = defaultdict(list)
    for frame in books(wire / "sequences" / name):
        change = BOOKS["books"].decode(frame)
        by_symbol[change.symbol].append(change)
    lost = found = 0
    for changes in by_symbol.values():
        whole = replayed(changes)
        for missing in range(1, len(changes) - 1):
            book = replayed(changes[:missing] + changes[missing + 1 :])
            lost += 1
            found += book is None
            assert book is None or (whole and book.top(25) == whole.top(25))
    assert lost == count
    assert found == (count if name == LINEAR else 273)


def test_merged_books_are_the_best_prices_of_the_same_id(wire: Path) -> None:
    """Best prices and book count with the same ids, so that equal ids mean equal tops."""
    rows = printed(wire / "okx_futures" / SIZES, wire / "sequences" / LINEAR)
    tops = {row["row"]["source_seq"]: row["row"] for row in rows if row["kind"] == "prices"}
    matched = 0
    for row in (row["row"] for row in rows if row["kind"] == "orderbooks"):
        top = tops.get(row["source_seq"])
        if top:
            matched += 1
            assert [row["bid_1_price"], row["bid_1_qty"]] == [top["bid_price"], top["bid_qty"]]
            assert [row["ask_1_price"], row["ask_1_qty"]] == [top["ask_price"], top["ask_qty"]]
    assert matched >= 3
