"""Recorded Binance spot messages against a plain reading of the same JSON, and local books of both markets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_streaming.commands.normalize import command
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import Change, LocalBook
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import rest_frame
from tests.streaming.test_binance_wire import events, iso

pytestmark = pytest.mark.wire

FOLDERS = {
    "book_delta": {"book_delta"},
    "book_snapshot": {"orderbooks", "book_snapshot"},
    "book_ticker": {"prices"},
    "candles": {"candles"},
    "control": set(),
    "rest_book_snapshot": {"book_snapshot"},
    "rest_book_ticker": {"prices"},
    "rest_candles": {"candles"},
    "rest_error": set(),
    "rest_instruments": {"instrument"},
    "rest_ticker": {"ticker_24h", "window_ticker"},
    "ticker_24h": {"ticker_24h", "mini_ticker", "window_ticker"},
    "trades": {"trades"},
}
SEQUENCES = {
    "binance_spot": ("binance_spot_4pairs_20211012.tsv", "binance_spot_btcusdt_20240808.tsv.gz"),
    "binance_futures": ("binance_usdm_sushi_akro_20210722.tsv", "binance_usdm_btcusdt_20240808.tsv.gz"),
}


def printed(*files: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, ["--market", "binance_spot", *map(str, files)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_folder_of_messages_is_expected(wire: Path) -> None:
    assert {folder.name for folder in (wire / "binance_spot").iterdir()} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_message_is_read(wire: Path, folder: str) -> None:
    for path in sorted((wire / "binance_spot" / folder).iterdir()):
        rows = printed(path)
        assert {row["kind"] for row in rows} <= FOLDERS[folder], path.name
        assert bool(rows) == bool(FOLDERS[folder]), path.name
        if path.suffix == ".jsonl":
            assert len(rows) == len(path.read_text().splitlines())


def _expected(stream: str, received: int, data: dict[str, Any]) -> dict[str, Any]:
    kind = stream.split("@")[1]
    if kind == "bookTicker":
        at = iso(received // 1_000_000)[:-4] + f"{received // 1000 % 1000:03d}Z"
        return {
            "timestamp": at,
            "bid_price": float(data["b"]),
            "ask_qty": float(data["A"]),
            "source_seq": str(data["u"]),
        }
    if kind in ("trade", "aggTrade"):
        identity = str(data["t" if kind == "trade" else "a"])
        side = "sell" if data["m"] else "buy"
        return {"timestamp": iso(data["T"]), "trade_id": identity, "quantity": float(data["q"]), "side": side}
    if kind == "depth":
        bids = [[float(number) for number in level] for level in data["b"]]
        return {"timestamp": iso(data["E"]), "first_update_id": data["U"], "last_update_id": data["u"], "bids": bids}
    bar = data["k"]
    return {"open_time": iso(bar["t"]), "close": float(bar["c"]), "trade_count": bar["n"], "is_closed": bar["x"]}


@pytest.mark.parametrize("name", SEQUENCES["binance_spot"], ids=["2021", "2024"])
def test_sequences_come_out_whole_and_in_order(wire: Path, name: str) -> None:
    rows = printed(wire / "sequences" / name)
    recorded = list(events(wire / "sequences" / name))
    assert len(rows) == len(recorded)
    identities = defaultdict(list)
    for row, (received, kind, message) in zip(rows, recorded, strict=True):
        if kind.startswith("rest"):
            assert (row["kind"], row["row"]["last_update_id"]) == ("book_snapshot", message["lastUpdateId"])
            continue
        for column, value in _expected(message["stream"], received, message["data"]).items():
            assert row["row"][column] == value, (message["stream"], column)
        if row["kind"] == "trades" and "t" in message["data"]:
            identities[message["data"]["s"]].append(message["data"]["t"])
    for numbers in identities.values():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_instruments_of_a_recorded_listing(wire: Path) -> None:
    answer = json.loads((wire / "binance_spot" / "rest_instruments" / "002_instruments_BTCUSDT.json").read_text())
    (bitcoin,) = [found for found in exchange("binance_spot").instruments([answer]) if found.symbol == "BTCUSDT"]
    assert (bitcoin.status, bitcoin.tick_size, bitcoin.lot_size) == ("TRADING", 0.01, 1e-5)


# -- local books -----------------------------------------------------------------------------------------------


@dataclass
class Recorded:
    """What one instrument's book was made of, in order of arrival."""

    changes: list[Change] = field(default_factory=list)
    snapshots: list[tuple[int, Change]] = field(default_factory=list)
    """With the number of changes that came before."""


@cache
def books(wire: Path, market: str, name: str) -> dict[str, Recorded]:
    protocol = exchange(market)
    feed = protocol.books["depth"]
    assert feed.decode_snapshot is not None
    found: dict[str, Recorded] = defaultdict(Recorded)
    for _, kind, message in events(wire / "sequences" / name):
        if kind.startswith("rest"):
            url = kind.removeprefix("rest ")
            if "symbol=" not in url:
                url = "/depth?symbol=BTCUSDT"
            change = feed.decode_snapshot(rest_frame(url, json.dumps(message).encode()))
            found[change.symbol].snapshots.append((len(found[change.symbol].changes), change))
        elif "@depth" in message["stream"]:
            change = feed.decode(json.dumps(message).encode())
            found[change.symbol].changes.append(change)
    return found


def recordings(wire: Path) -> Iterator[tuple[str, Recorded]]:
    for market, names in SEQUENCES.items():
        for name in names:
            for recorded in books(wire, market, name).values():
                yield market, recorded


def replayed(market: str, recorded: Recorded, *, without: int | None = None) -> LocalBook:
    """The book in the end; raises OutOfSequenceError."""
    book = LocalBook(exchange(market).books["depth"].sequencing)
    position, snapshot = recorded.snapshots[0]
    for number, change in enumerate(recorded.changes):
        if number == position:
            book.apply(snapshot)
        if number != without:
            book.apply(change)
    if position == len(recorded.changes):
        book.apply(snapshot)
    return book


def test_recorded_differences_join_their_snapshots_and_leave_no_gap(wire: Path) -> None:
    total = 0
    for market, recorded in recordings(wire):
        book = replayed(market, recorded)
        assert book.last == max(recorded.changes[-1].last, recorded.snapshots[0][1].last)
        assert max(book.bids) < min(book.asks)
        total += len(recorded.changes)
    assert total > 2_500


def test_every_missing_difference_is_found(wire: Path) -> None:
    found = 0
    for market, recorded in recordings(wire):
        position, snapshot = recorded.snapshots[0]
        used = [
            number
            for number, change in enumerate(recorded.changes)
            if change.last > snapshot.last and position < number < len(recorded.changes) - 1
        ]
        for number in used[:: max(1, len(used) // 12)]:
            with pytest.raises(OutOfSequenceError, match="does not follow"):
                replayed(market, recorded, without=number)
            found += 1
    assert found > 30


def test_a_repeated_difference_changes_nothing(wire: Path) -> None:
    for market, recorded in recordings(wire):
        book = replayed(market, recorded)
        before = dict(book.bids), dict(book.asks)
        assert not book.apply(recorded.changes[-1])
        assert (book.bids, book.asks) == before


def test_a_merged_book_has_the_best_prices_sent_beside_it(wire: Path) -> None:
    """The quotes of the recording carry the id of the book; where it is known under that id, both must agree."""
    protocol = exchange("binance_spot")
    book = LocalBook(protocol.books["depth"].sequencing)
    quotes: dict[int, tuple[float, float]] = {}
    compared = 0
    source = books(wire, "binance_spot", SEQUENCES["binance_spot"][1])["BTCUSDT"]
    for _, kind, message in events(wire / "sequences" / SEQUENCES["binance_spot"][1]):
        if kind == "ws" and message["stream"].endswith("@bookTicker"):
            quotes[message["data"]["u"]] = float(message["data"]["b"]), float(message["data"]["a"])
    position, snapshot = source.snapshots[0]
    for number, change in enumerate(source.changes):
        if number == position:
            book.apply(snapshot)
        book.apply(change)
        if book.ready and book.last in quotes:
            assert (max(book.bids), min(book.asks)) == quotes[book.last]
            compared += 1
    assert compared > 50
