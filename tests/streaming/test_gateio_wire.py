"""Recorded Gate.io messages, compared value by value with a plain reading of the same JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_streaming.commands.normalize import command
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import INTERVAL_US, Change, LocalBook
from orderflow_streaming.exchanges.gateio.books import BOOKS
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import rest_frame

pytestmark = pytest.mark.wire

GATE = exchange("gateio_futures")
RECORDING = "gate_usdt_6contracts_20230524.tsv"
TICKER = {"mark_prices", "funding_rates", "open_interest", "ticker_24h", "index_prices"}
FOLDERS = {
    "book_delta": {"book_delta", "book_change"},
    "book_snapshot": {"orderbooks", "empty_book", "book_snapshot"},
    "book_ticker": {"prices"},
    "candles": {"candles", "empty_candle"},
    "control": set(),
    "liquidations": {"liquidations"},
    "open_interest": {"open_interest"},
    "rest_book_snapshot": {"book_snapshot", "spot_book_snapshot"},
    "rest_candles": {"candles"},
    "rest_error": set(),
    "rest_funding": {"funding_rates"},
    "rest_instruments": {"instrument"},
    "rest_liquidations": {"liquidations"},
    "rest_open_interest": {"open_interest"},
    "rest_ticker": TICKER,
    "ticker_24h": TICKER,
    "trades": {"trades", "off_market_trade"},
}


def printed(*files: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, ["--market", "gateio_futures", *map(str, files)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def iso(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def events(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Receive time in ns, kind and raw message of each line that the server sent."""
    for line in path.read_bytes().splitlines():
        time, kind, raw = line.split(b"\t", 2)
        if kind.startswith((b"ws", b"rest")):
            yield int(time), kind.decode(), raw


def test_every_folder_of_messages_is_expected(wire: Path) -> None:
    assert {folder.name for folder in (wire / "gateio_futures").iterdir()} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_message_is_read(wire: Path, folder: str) -> None:
    paths = sorted((wire / "gateio_futures" / folder).iterdir())
    rows = printed(*paths)
    assert {row["kind"] for row in rows} == FOLDERS[folder]
    assert len(rows) >= len(paths) * bool(FOLDERS[folder])
    for row in rows:
        if row["table"] is not None:
            assert row["table"].endswith(f"_gateio_futures_{row['kind']}")


def test_every_answer_on_the_socket_is_understood(wire: Path) -> None:
    for path in sorted((wire / "gateio_futures" / "control").iterdir()):
        for frame in path.read_bytes().splitlines():
            assert (GATE.route(frame), GATE.topic(frame)) == (None, None)
            if "client" not in path.name:
                assert GATE.control(frame).kind != "unknown", path.name


def test_every_pushed_message_has_the_topic_that_brought_it(wire: Path) -> None:
    for folder in ("book_delta", "book_snapshot", "book_ticker", "candles", "liquidations", "ticker_24h", "trades"):
        for path in sorted((wire / "gateio_futures" / folder).iterdir()):
            for frame in path.read_bytes().splitlines():
                message = json.loads(frame)
                first = message["result"][0] if isinstance(message["result"], list) else message["result"]
                if "c" in first and message["channel"] == "futures.order_book":
                    assert (GATE.route(frame), GATE.topic(frame)) == (None, None)
                    continue
                name = first.get("contract") or first.get("n") or first["s"]
                assert GATE.topic(frame) == f"{message['channel']}.{name}", path.name
                assert GATE.route(frame) == message["channel"], path.name


def expected(channel: str, data: dict[str, Any]) -> dict[str, Any]:
    """What a row must say, by a reading of its own of the message; sizes are counts where no contract is known."""
    if channel == "futures.book_ticker":
        return {
            "timestamp": iso(data["t"]),
            "bid_price": float(data["b"]),
            "ask_price": float(data["a"]),
            "bid_qty": None,
            "ask_qty": None,
            "source_seq": str(data["u"]),
        }
    if channel == "futures.trades":
        size = float(data["size"])
        return {
            "timestamp": iso(data.get("create_time_ms") or data["create_time"] * 1000),
            "trade_id": str(data["id"]),
            "price": float(data["price"]),
            "raw_quantity": abs(size),
            "quantity": None,
            "side": "sell" if size < 0 else "buy",
        }
    if channel == "futures.candlesticks":
        return {
            "open_time": iso(data["t"] * 1000),
            "interval": data["n"].partition("_")[0],
            "open": float(data["o"]),
            "high": float(data["h"]),
            "low": float(data["l"]),
            "close": float(data["c"]),
            "is_closed": data.get("w"),
        }
    return {
        "timestamp": iso(data["t"]),
        "first_update_id": data["U"],
        "last_update_id": data["u"],
        "bids": [[float(level["p"]), float(level["s"])] for level in data["b"]],
        "asks": [[float(level["p"]), float(level["s"])] for level in data["a"]],
    }


def test_a_recording_comes_out_whole_in_order_and_without_false_gaps(wire: Path) -> None:
    rows = printed(wire / "sequences" / RECORDING)
    merged = [row for row in rows if row["kind"] == "orderbooks"]
    rest = iter([row for row in rows if row["kind"] != "orderbooks"])
    for received, kind, raw in events(wire / "sequences" / RECORDING):
        message = json.loads(raw)
        if kind.startswith("rest"):
            row = next(rest)
            assert (row["kind"], row["row"]["last_update_id"]) == ("book_snapshot", message["id"])
            assert row["row"]["symbol"] == kind.split("contract=")[1].split("&")[0].replace("_", "")
            assert len(row["row"]["bids"]) == len(message["bids"])
            continue
        if message["event"] == "subscribe":
            continue
        result = message["result"]
        for data in result if isinstance(result, list) else [result]:
            row = next(rest)["row"]
            wanted = expected(message["channel"], data)
            assert {name: row[name] for name in wanted} == wanted
            if "received_at" in row:
                assert row["received_at"] == iso(received // 1000 / 1000)
    assert next(rest, None) is None
    assert len({row["table"] for row in merged}) == 6


@pytest.fixture(scope="module")
def recorded(wire: Path) -> dict[str, tuple[Change, list[tuple[int, bytes]]]]:
    """By contract: its REST snapshot, and the changes of the recording with their receive times in microseconds."""
    feed = BOOKS["futures.order_book_update"]
    assert feed.decode_snapshot is not None
    snapshots: dict[str, Change] = {}
    changes: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for received, kind, raw in events(wire / "sequences" / RECORDING):
        if kind.startswith("rest"):
            snapshot = feed.decode_snapshot(rest_frame(kind.removeprefix("rest "), raw))
            snapshots[snapshot.symbol] = snapshot
        elif GATE.route(raw) == "futures.order_book_update":
            changes[feed.decode(raw).symbol].append((received // 1000, raw))
    return {contract: (snapshot, changes[contract]) for contract, snapshot in snapshots.items()}


def replay(snapshot: Change, frames: list[bytes]) -> tuple[LocalBook, int]:
    """The book after all, and how many changes it took."""
    feed = BOOKS["futures.order_book_update"]
    book, taken = LocalBook(feed.sequencing), 0
    book.apply(snapshot)
    for frame in frames:
        before = book.last
        book.apply(feed.decode(frame))
        taken += book.last != before
    return book, taken


def test_recorded_changes_join_their_snapshots_and_follow_one_another(
    recorded: dict[str, tuple[Change, list[tuple[int, bytes]]]],
) -> None:
    assert len(recorded) == 6
    total = 0
    for contract, (snapshot, changes) in recorded.items():
        book, taken = replay(snapshot, [frame for _, frame in changes])
        total += taken
        last = json.loads(changes[-1][1])["result"]
        assert (book.symbol, book.last) == (contract, last["u"])
        sides = {"b": {}, "a": {}}
        for side, levels in (("b", snapshot.bids), ("a", snapshot.asks)):
            sides[side] = {float(price): float(size) for price, size in levels}
        for _, frame in changes:
            result = json.loads(frame)["result"]
            if result["u"] <= snapshot.last:
                continue
            for side in "ba":
                for level in result[side]:
                    sides[side][float(level["p"])] = float(level["s"])
        for side, best in (("b", sorted(sides["b"], reverse=True)), ("a", sorted(sides["a"]))):
            held = [[price, sides[side][price]] for price in best if sides[side][price]][:10]
            found = book.top(10)["ba".index(side)]
            assert [[float(price), float(size)] for price, size in found] == held
    assert total > 100


def test_every_missing_change_is_found(recorded: dict[str, tuple[Change, list[tuple[int, bytes]]]]) -> None:
    found = 0
    for snapshot, changes in recorded.values():
        frames = [frame for _, frame in changes]
        new = [place for place, frame in enumerate(frames) if json.loads(frame)["result"]["u"] > snapshot.last]
        for place in new[:-1]:
            with pytest.raises(OutOfSequenceError):
                replay(snapshot, frames[:place] + frames[place + 1 :])
            found += 1
    assert found > 100


def test_a_repeated_change_changes_nothing(recorded: dict[str, tuple[Change, list[tuple[int, bytes]]]]) -> None:
    for snapshot, changes in recorded.values():
        frames = [frame for _, frame in changes]
        once, twice = replay(snapshot, frames)[0], replay(snapshot, [frame for frame in frames for _ in "12"])[0]
        assert (once.top(20), once.last) == (twice.top(20), twice.last)


def test_merged_books_are_the_best_prices_at_most_ten_a_second(wire: Path) -> None:
    rows = [row for row in printed(wire / "sequences" / RECORDING) if row["kind"] == "orderbooks"]
    for _, found in groupby(sorted(rows, key=lambda row: row["table"]), lambda row: row["table"]):
        stored = [row["row"] for row in found]
        times = [datetime.fromisoformat(row["received_at"]).timestamp() for row in stored]
        assert all(later - earlier >= INTERVAL_US / 1e6 - 1e-6 for earlier, later in pairwise(times))
        for row in stored:
            assert row["bid_1_price"] < row["ask_1_price"]
            assert row["bid_1_price"] > row["bid_2_price"]


def test_contract_sizes_of_a_recorded_list_apply(wire: Path, tmp_path: Path) -> None:
    listing = json.loads((wire / "gateio_futures/rest_instruments/004_instruments_BTC-USDT.json").read_text())
    trades = (wire / "gateio_futures/trades/006_trades_BTC-USDT.json").read_text().strip()
    book = (wire / "gateio_futures/book_snapshot/007_order_book_all_BTC-USDT.json").read_text().strip()
    path = tmp_path / "together.jsonl"
    path.write_text("\n".join([json.dumps(listing), trades, book]))
    instrument, trade, stored = (row["row"] for row in printed(path))
    assert (instrument["contract_size"], instrument["funding_interval_hours"]) == (0.0001, 8.0)
    assert (trade["raw_quantity"], trade["quantity"]) == (5.0, pytest.approx(0.0005))
    assert trade["quote_value"] == pytest.approx(5 * 0.0001 * 84588.2)
    assert stored["bid_1_qty"] == pytest.approx(29510 * 0.0001)
    assert stored["raw_bid_depth"] == pytest.approx(29510)


def test_recorded_liquidations_have_the_side_of_the_position(wire: Path) -> None:
    folder = wire / "gateio_futures"
    (sold,) = printed(folder / "liquidations/SYNTHETIC_public_liquidates.json")
    bought = printed(folder / "liquidations/SYNTHETIC_public_liquidates_string_size.json")
    (settled,) = printed(folder / "rest_liquidations/001_liquidations_BTC-USDT.json")
    assert (sold["row"]["side"], sold["row"]["raw_quantity"]) == ("long", 124.0)
    assert [(row["row"]["side"], row["row"]["raw_quantity"]) for row in bought] == [("short", 0.5), ("short", 12.0)]
    assert (settled["row"]["side"], settled["row"]["price"]) == ("long", 3424.0)


def test_the_newest_ticker_tells_the_next_settlement(wire: Path) -> None:
    rows = {row["kind"]: row["row"] for row in printed(wire / "gateio_futures/ticker_24h/006_tickers_BTC-USDT.json")}
    assert rows["funding_rates"]["next_funding_time"] == iso(1791014400 * 1000)
    assert rows["funding_rates"]["countdown_secs"] == 1791014400 - 1791009972 - 1
    assert rows["open_interest"]["raw_quantity"] == 503655852.0
    assert (rows["ticker_24h"]["quote_volume_24h"], rows["ticker_24h"]["volume_24h"]) == (6365210534.0, None)
    assert rows["ticker_24h"]["price_change_pct"] == -1.5475
