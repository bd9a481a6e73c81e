"""Recorded Bybit messages, compared value by value with a plain reading of the same JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_streaming.commands.normalize import command
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import LocalBook
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import ControlKind
from tests.streaming.test_binance_wire import iso

pytestmark = pytest.mark.wire

_BOOKS = {"book_snapshot", "book_delta", "orderbooks", "prices", "quote_change"}
_CONTRACT = {"mark_prices", "funding_rates", "open_interest", "ticker_24h", "index_prices"}
FOLDERS: dict[str, dict[str, set[str]]] = {
    "bybit_futures": {
        "book_delta": _BOOKS,
        "book_snapshot": _BOOKS,
        "candles": {"candles"},
        "control": set(),
        "liquidations": {"liquidations"},
        "other": {"price_limit"},
        "rest_book_snapshot": {"book_snapshot"},
        "rest_candles": {"candles", "price_candle"},
        "rest_error": set(),
        "rest_funding": {"funding_rates"},
        "rest_instruments": {"instrument"},
        "rest_open_interest": {"open_interest"},
        "rest_ticker": _CONTRACT,
        "rest_trades": {"trades"},
        "ticker_24h": _CONTRACT | {"ticker_change"},
        "trades": {"trades"},
    },
    "bybit_spot": {
        "book_delta": _BOOKS | {"rpi_book_delta"},
        "book_snapshot": _BOOKS,
        "candles": {"candles"},
        "control": set(),
        "rest_book_snapshot": {"book_snapshot"},
        "rest_candles": {"candles"},
        "rest_instruments": {"instrument"},
        "rest_ticker": {"ticker_24h", "prices"},
        "rest_trades": {"trades"},
        "ticker_24h": {"ticker_24h"},
        "trades": {"trades"},
    },
}
EVERY_FOLDER = [(market, folder) for market, folders in FOLDERS.items() for folder in folders]
SEQUENCES = {
    "bybit_futures": "bybit_linear_xrpusdt_ob500_20241201.tsv",
    "bybit_spot": "bybit_spot_btcusdt_ob200_20231224.tsv",
}


def printed(market: str, *files: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, ["--market", market, *map(str, files)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("market", FOLDERS)
def test_every_folder_of_messages_is_expected(wire: Path, market: str) -> None:
    assert {folder.name for folder in (wire / market).iterdir()} == set(FOLDERS[market])


@pytest.mark.parametrize(("market", "folder"), EVERY_FOLDER)
def test_every_recorded_message_is_read(wire: Path, market: str, folder: str) -> None:
    allowed = FOLDERS[market][folder]
    for path in sorted((wire / market / folder).iterdir()):
        if "client" in path.name:
            continue
        rows = printed(market, path)
        assert {row["kind"] for row in rows} <= allowed, path.name
        assert bool(rows) == bool(allowed), path.name


def _ticker(stream: str, row: dict[str, Any], data: dict[str, Any]) -> None:
    match stream:
        case "ticker_24h":
            names = {"lastPrice": "last_price", "highPrice24h": "high_24h", "volume24h": "volume_24h"}
            names |= {"turnover24h": "quote_volume_24h", "prevPrice24h": "open_24h", "lowPrice24h": "low_24h"}
            assert row["price_change_pct"] == pytest.approx(float(data["price24hPcnt"]) * 100)
        case "mark_prices":
            names = {"markPrice": "mark_price", "indexPrice": "index_price"}
            assert row["basis"] == pytest.approx(float(data["markPrice"]) - float(data["indexPrice"]))
        case "open_interest":
            names = {"openInterest": "open_interest", "openInterestValue": "open_interest_usd"}
        case "index_prices":
            names = {"indexPrice": "index_price"}
        case _:
            names = {"fundingRate": "funding_rate"}
            assert row["next_funding_time"] == iso(int(data["nextFundingTime"]))
    for theirs, ours in names.items():
        assert row[ours] == float(data[theirs]), ours


def test_a_recorded_snapshot_of_a_ticker_fills_all_its_streams(wire: Path) -> None:
    for path in sorted((wire / "bybit_futures" / "ticker_24h").glob("*snapshot*")):
        message = json.loads(path.read_text())
        rows = {row["kind"]: row["row"] for row in printed("bybit_futures", path)}
        expected = _CONTRACT if message["data"]["fundingRate"] else _CONTRACT - {"funding_rates"}
        assert set(rows) == expected | {"ticker_change"}, path.name
        for stream in expected:
            assert rows[stream]["timestamp"] == iso(message["ts"])
            _ticker(stream, rows[stream], message["data"])


def test_changes_of_a_recorded_ticker_come_out_merged(wire: Path, tmp_path: Path) -> None:
    """A snapshot and what came within two seconds after it, in order of the venue's sequence."""
    folder = wire / "bybit_futures" / "ticker_24h"
    messages = [json.loads((folder / f"{number:03d}_tickers_delta_BTCUSDT.json").read_text()) for number in range(1, 8)]
    start = json.loads((folder / "008_tickers_snapshot_BTCUSDT.json").read_text())
    ordered = [start, *sorted(messages, key=lambda message: message["cs"])]
    recording = tmp_path / "ticker.jsonl"
    recording.write_text("\n".join(json.dumps(message) for message in ordered))
    rows = printed("bybit_futures", recording)
    merged: dict[str, Any] = {}
    states = {}
    for message in ordered:
        merged |= message["data"]
        states[iso(message["ts"])] = dict(merged)
    marks = [row["row"] for row in rows if row["kind"] == "mark_prices"]
    assert len(marks) == 3
    for row in rows:
        if row["kind"] in _CONTRACT:
            _ticker(row["kind"], row["row"], states[row["row"]["timestamp"]])
    assert [row["row"]["last_price"] for row in rows if row["kind"] == "ticker_24h"][-1] == float(merged["lastPrice"])


@pytest.mark.parametrize("market", FOLDERS)
def test_recorded_trades_and_quotes_are_those_sent(wire: Path, market: str) -> None:
    for path in sorted((wire / market / "trades").iterdir()):
        message = json.loads(path.read_text())
        for row, data in zip(printed(market, path), message["data"], strict=True):
            stored = row["row"]
            assert row["table"] == f"{data['s'].lower()}_{market}_trades"
            assert (stored["trade_id"], stored["timestamp"]) == (data["i"], iso(data["T"]))
            assert (stored["price"], stored["quantity"]) == (float(data["p"]), float(data["v"]))
            assert stored["side"] == data["S"].lower()
            assert stored["source_seq"] == (str(data["seq"]) if "seq" in data else None)
    for path in sorted((wire / market / "book_snapshot").glob("*orderbook*.json")):
        message = json.loads(path.read_text())
        if message["topic"].startswith("orderbook.1."):
            (row,) = (row["row"] for row in printed(market, path))
            (bid, bids), (ask, asks) = message["data"]["b"][0], message["data"]["a"][0]
            assert (row["bid_price"], row["bid_qty"], row["ask_price"], row["ask_qty"]) == tuple(
                map(float, (bid, bids, ask, asks))
            )
            assert row["timestamp"] == iso(message.get("cts", message["ts"]))


def test_recorded_liquidations_are_of_the_position(wire: Path) -> None:
    for path in sorted((wire / "bybit_futures" / "liquidations").iterdir()):
        data = json.loads(path.read_text())["data"]
        one = data[0] if isinstance(data, list) else data
        (row,) = (row["row"] for row in printed("bybit_futures", path))
        assert row["side"] == {"Buy": "long", "Sell": "short"}[one.get("S", one.get("side"))]
        assert row["price"] == float(one.get("p", one.get("price")))
        assert row["quantity"] == float(one.get("v", one.get("size")))


@pytest.mark.parametrize("market", FOLDERS)
def test_every_answer_on_a_socket_is_understood(wire: Path, market: str) -> None:
    kinds = {"subscribe": ControlKind.ACK, "subscribe_error": ControlKind.REFUSED, "ping": ControlKind.PONG}
    for path in sorted((wire / market / "control").iterdir()):
        name = path.stem.partition("_")[2]
        if not name.startswith("client"):
            control = exchange(market).control(path.read_bytes())
            assert control.kind is kinds.get(name, ControlKind.PONG), path.name


def test_instruments_of_recorded_listings(wire: Path) -> None:
    def listing(market: str, name: str) -> Any:
        return json.loads((wire / market / "rest_instruments" / name).read_text())

    spot = exchange("bybit_spot").instruments([listing("bybit_spot", "004_instruments_BTCUSDT.json")])
    assert [(one.symbol, one.tick_size, one.lot_size, one.contract_size) for one in spot] == [
        ("BTCUSDT", 0.1, 1e-6, 1.0)
    ]
    linear = exchange("bybit_futures").instruments([listing("bybit_futures", "002_instruments_BTCUSDT.json")])
    assert {one.symbol for one in linear} == {"BTCUSDT", "ETHUSDT"}
    (listed,) = printed("bybit_futures", wire / "bybit_futures" / "rest_instruments" / "003_instruments_TSLAUSDT.json")
    assert (listed["row"]["funding_interval_hours"], listed["row"]["lot_size"]) == (8.0, 0.001)


# -- local books -----------------------------------------------------------------------------------------------


def frames(wire: Path, market: str) -> list[bytes]:
    lines = (wire / "sequences" / SEQUENCES[market]).read_text().splitlines()
    return [line.split("\t", 2)[2].encode() for line in lines]


@pytest.mark.parametrize("market", SEQUENCES)
def test_books_replay_without_a_false_gap(wire: Path, market: str) -> None:
    recorded = frames(wire, market)
    feed = exchange(market).books["orderbook"]
    book = LocalBook(feed.sequencing)
    plain: tuple[dict[float, float], dict[float, float]] = ({}, {})
    for frame in recorded:
        book.apply(feed.decode(frame))
        data = json.loads(frame)["data"]
        for side, levels in zip(plain, (data["b"], data["a"]), strict=True):
            side.update({float(price): float(size) for price, size in levels})
    assert book.last == json.loads(recorded[-1])["data"]["u"]
    for side, levels in zip(plain, (book.bids, book.asks), strict=True):
        assert {price: float(level[1]) for price, level in levels.items()} == {
            p: size for p, size in side.items() if size
        }


def test_every_missing_change_is_found(wire: Path) -> None:
    recorded = frames(wire, "bybit_futures")
    feed = exchange("bybit_futures").books["orderbook"]
    changes = [feed.decode(frame) for frame in recorded]
    for missing in range(1, len(changes) - 1):
        book = LocalBook(feed.sequencing)
        for change in changes[:missing]:
            book.apply(change)
        with pytest.raises(OutOfSequenceError, match="does not follow"):
            book.apply(changes[missing + 1])


@pytest.mark.parametrize("market", SEQUENCES)
def test_merged_rows_are_the_book_of_the_same_id(wire: Path, market: str) -> None:
    """Each stored book against a book kept by hand: ten levels a side, best first."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    states = {}
    for frame in frames(wire, market):
        data = json.loads(frame)["data"]
        for side, levels in ((bids, data["b"]), (asks, data["a"])):
            side.update({float(price): float(size) for price, size in levels})
            for price in [price for price, size in side.items() if not size]:
                del side[price]
        states[str(data["u"])] = sorted(bids.items(), reverse=True)[:10], sorted(asks.items())[:10]
    merged = [
        row["row"] for row in printed(market, wire / "sequences" / SEQUENCES[market]) if row["kind"] == "orderbooks"
    ]
    assert len(merged) > len(states) // 2
    for row in merged:
        for name, levels in zip(("bid", "ask"), states[row["source_seq"]], strict=True):
            shown = [(row[f"{name}_{level}_price"], row[f"{name}_{level}_qty"]) for level in range(1, 11)]
            assert shown == levels
