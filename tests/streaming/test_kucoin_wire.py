"""Recorded KuCoin messages, compared value by value with a plain reading of the same JSON; recorded books merged."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_streaming.commands.normalize import command
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.books import BookMerger
from orderflow_streaming.exchanges.kucoin.books import FUTURES_BOOK, SPOT_BOOK, UNIFIED_BOOK, snapshot, spot_change
from orderflow_streaming.exchanges.merging import OutOfSequenceError
from orderflow_streaming.exchanges.protocol import rest_frame
from tests.streaming.test_binance_wire import events, iso

pytestmark = pytest.mark.wire

SPOT, FUTURES = "kucoin_spot", "kucoin_futures"
FOLDERS: dict[str, dict[str, set[str]]] = {
    SPOT: {
        "book_delta": {"book_delta"},
        "book_snapshot": {"orderbooks", "book_snapshot"},
        "book_ticker": {"prices"},
        "candles": {"candles"},
        "control": set(),
        "other": {"margin_mark_price", "margin_index_price"},
        "rest_book_snapshot": {"book_snapshot"},
        "rest_candles": {"candles"},
        "rest_error": set(),
        "rest_instruments": {"instrument"},
        "rest_ticker": {"ticker_24h", "prices"},
        "rest_token": set(),
        "rest_trades": {"trades"},
        "ticker_24h": {"ticker_24h"},
        "trades": {"trades"},
    },
    FUTURES: {
        "book_delta": {"book_delta"},
        "book_snapshot": {"orderbooks"},
        "book_ticker": {"prices"},
        "candles": {"candles", "bare_candle"},
        "control": set(),
        "funding": {"funding_rates", "funding_settlement"},
        "mark_price": {"mark_prices", "index_prices", "open_interest"},
        "rest_book_snapshot": {"book_snapshot"},
        "rest_candles": {"candles"},
        "rest_error": set(),
        "rest_funding": {"funding_rates"},
        "rest_instruments": {"instrument", "open_interest", "funding_rates"},
        "rest_mark_price": {"mark_prices", "index_prices"},
        "rest_open_interest": {"open_interest"},
        "rest_ticker": {"prices"},
        "rest_token": set(),
        "rest_trades": {"trades", "prices"},
        "ticker_24h": {"ticker_24h"},
        "trades": {"trades"},
    },
}
RECORDED = [(market, folder) for market, folders in FOLDERS.items() for folder in folders]


def printed(market: str, *files: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, ["--market", market, *map(str, files)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def gathered(folder: Path, into: Path) -> Path:
    """All messages of a folder as they are, in one file with one a line."""
    lines = [
        line
        for path in sorted(folder.iterdir())
        for line in (path.read_text().splitlines() if path.suffix == ".jsonl" else [" ".join(path.read_text().split())])
    ]
    whole = into / f"{folder.name}.jsonl"
    whole.write_text("\n".join(lines) + "\n")
    return whole


def microsecond(nanoseconds: int) -> str:
    return iso(nanoseconds // 1_000_000)[:-4] + f"{nanoseconds // 1000 % 1000:03d}Z"


def messages(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text()
    yield from map(json.loads, text.splitlines() if path.suffix == ".jsonl" else [text])


@pytest.mark.parametrize("market", FOLDERS)
def test_every_folder_of_messages_is_expected(wire: Path, market: str) -> None:
    assert {folder.name for folder in (wire / market).iterdir()} == set(FOLDERS[market])


@pytest.mark.parametrize(("market", "folder"), RECORDED)
def test_every_recorded_message_is_read(wire: Path, tmp_path: Path, market: str, folder: str) -> None:
    path = gathered(wire / market / folder, tmp_path)
    rows = printed(market, path)
    assert {row["kind"] for row in rows} == FOLDERS[market][folder]
    if not folder.startswith(("rest_", "control", "mark_price")):
        assert len(rows) == len(list(messages(path)))
    for row in rows:
        if row["table"] is not None:
            assert row["table"].endswith(f"_{market}_{row['kind']}")


def _levels(side: list[list[Any]]) -> list[list[float]]:
    return [[float(number) for number in level[:2]] for level in side]


def _book(row: dict[str, Any], side: str) -> list[list[float]]:
    levels = [[row[f"{side}_{level}_price"], row[f"{side}_{level}_qty"]] for level in range(1, 11)]
    return [level for level in levels if level[0] is not None]


def _check_spot(row: dict[str, Any], topic: str, data: dict[str, Any]) -> None:
    kind = topic.partition(":")[0].rpartition("/")[2]
    match kind:
        case "ticker":
            assert row["timestamp"] == iso(data.get("time") or data["Time"])
            quoted = [row[name] for name in ("bid_price", "bid_qty", "ask_price", "ask_qty", "last_price")]
            sent = [data[name] for name in ("bestBid", "bestBidSize", "bestAsk", "bestAskSize", "price")]
            assert quoted == [float(value) for value in sent]
            assert row["source_seq"] == data["sequence"]
        case "level1":
            assert [row["bid_price"], row["bid_qty"]] == [float(value) for value in data["bids"]]
        case "level2Depth5" | "level2Depth50":
            assert row["timestamp"] == iso(data["timestamp"])
            assert _book(row, "bid") == _levels(data["bids"])[:10]
            assert _book(row, "ask") == _levels(data["asks"])[:10]
        case "match":
            assert row["timestamp"] == microsecond(int(data["time"]))
            assert (row["trade_id"], row["price"], row["quantity"], row["side"], row["is_buyer_maker"]) == (
                data["tradeId"], float(data["price"]), float(data["size"]), data["side"], data["side"] == "sell",
            )  # fmt: skip
        case "snapshot":
            inner = data["data"]
            assert row["timestamp"] == iso(inner["datetime"])
            assert (row["volume_24h"], row["quote_volume_24h"]) == (inner["vol"], inner["volValue"])
            assert (row["high_24h"], row["low_24h"], row["last_price"], row["price_change"]) == (
                inner["high"], inner["low"], inner["lastTradedPrice"], inner["changePrice"],
            )  # fmt: skip
            assert row["open_24h"] == inner.get("open")
            assert row["price_change_pct"] == pytest.approx(inner["changeRate"] * 100)
        case "candles":
            values = [float(value) for value in data["candles"]]
            assert row["open_time"] == iso(int(values[0]) * 1000)
            assert [row[name] for name in ("open", "close", "high", "low", "volume", "quote_volume")] == values[1:]
            assert row["is_closed"] is None
            seconds = {"1min": 60, "1hour": 3600, "1week": 604800}[topic.rpartition("_")[2]]
            assert row["close_time"] == iso(int(values[0] + seconds) * 1000 - 1)
            assert row["interval"] == {60: "1m", 3600: "1h", 604800: "1w"}[seconds]
        case "level2":
            assert (row["first_update_id"], row["last_update_id"]) == (data["sequenceStart"], data["sequenceEnd"])
            changes = [[float(number) for number in change] for change in data["changes"]["bids"]]
            assert row["bids"] == changes
        case "level2Snapshot":
            assert row["last_update_id"] == int(data["sequence"])
        case _:
            assert row["price"] == data["value"]


@pytest.mark.parametrize("folder", [name for name in FOLDERS[SPOT] if not name.startswith(("rest_", "control"))])
def test_spot_values_are_those_sent(wire: Path, tmp_path: Path, folder: str) -> None:
    path = gathered(wire / SPOT / folder, tmp_path)
    for row, message in zip(printed(SPOT, path), messages(path), strict=True):
        if "topic" in message:
            _check_spot(row["row"], message["topic"], message["data"])


def test_a_message_about_all_symbols_names_its_own(wire: Path) -> None:
    (row,) = printed(SPOT, wire / SPOT / "book_ticker" / "001_ticker_all.json")
    assert row["table"] == "dotusdt_kucoin_spot_prices"


def _futures(wire: Path, *parts: str) -> list[dict[str, Any]]:
    """Rows of files, read together with the recorded list of contracts."""
    contract = wire / FUTURES / "rest_instruments" / "003_instruments_XBTUSDTM.json"
    rows = printed(FUTURES, contract, *(wire / FUTURES / part for part in parts))
    return [row for row in rows if row["kind"] != "instrument"]


def test_lots_become_base_coin_and_the_raw_count_is_kept(wire: Path) -> None:
    (trade,) = _futures(wire, "trades/007_execution_XBTUSDTM.json")
    assert trade["table"] == "btcusdt_kucoin_futures_trades"
    assert (trade["row"]["quantity"], trade["row"]["raw_quantity"], trade["row"]["side"]) == (0.002, 2.0, "buy")
    assert trade["row"]["timestamp"] == "2024-11-18T02:56:59.520000Z"
    (quote,) = _futures(wire, "book_ticker/004_tickerV2_XBTUSDTM.json")
    assert (quote["row"]["bid_price"], quote["row"]["bid_qty"], quote["row"]["ask_qty"]) == (88987.4, 0.713, 1.037)
    (book,) = _futures(wire, "book_snapshot/005_level2Depth50_XBTUSDTM.json")
    assert _book(book["row"], "bid") == [[89778.6, 1.534], [89778.2, pytest.approx(0.054)]]
    assert book["row"]["source_seq"] == "1709294490099"
    (candle, _) = _futures(wire, "candles/001_limitCandle_XBTUSDTM.json", "candles/002_limitCandle_XBTUSDTM-1day.json")
    assert (candle["row"]["volume"], candle["row"]["quote_volume"]) == (0.021, None)
    assert (candle["row"]["open_time"], candle["row"]["interval"]) == ("2024-11-18T02:50:00.000000Z", "1m")
    (interest, *_) = _futures(wire, "rest_open_interest/001_open_interest.json")
    assert interest["row"]["open_interest"] is None, "the answer names no contract"


def test_the_24_hour_volume_of_futures_is_base_coin_already(wire: Path) -> None:
    path = "ticker_24h/003_snapshot_XBTUSDTM.json"
    (message,) = messages(wire / FUTURES / path)
    (row,) = _futures(wire, path)
    data = message["data"]
    assert row["row"]["volume_24h"] == pytest.approx(data["volume"])
    assert row["row"]["quote_volume_24h"] == data["turnover"]
    assert data["lowPrice"] <= row["row"]["vwap_24h"] <= data["highPrice"]
    assert row["row"]["open_24h"] == data["price24HoursBefore"]
    assert row["row"]["price_change_pct"] == pytest.approx(0.49)


def test_every_recorded_24_hour_volume_agrees_with_its_turnover(wire: Path) -> None:
    """Turnover over volume is a price of the day; of the inverse contract, whose volume is in dollars, its inverse."""
    for path in sorted((wire / FUTURES / "ticker_24h").iterdir()):
        (message,) = messages(path)
        data = message["data"]
        price = data["turnover"] / data["volume"]
        price = 1 / price if data["symbol"] == "XBTMM22" else price
        assert data["lowPrice"] <= price <= data["highPrice"], path.name


def test_marks_and_rates_of_the_instrument_topic(wire: Path) -> None:
    mark, index = _futures(wire, "mark_price/002_instrument_XBTUSDTM.json")
    assert (mark["row"]["mark_price"], mark["row"]["index_price"]) == (86201.79, 86248.81)
    assert (index["kind"], index["row"]["index_price"]) == ("index_prices", 86248.81)
    (running,) = _futures(wire, "funding/002_instrument_XBTUSDTM.json")
    assert (running["row"]["funding_rate"], running["row"]["timestamp"]) == (3.2e-05, "2024-01-24T04:00:00.000000Z")
    assert running["row"]["funding_interval_hours"] == 8.0
    (unified,) = _futures(wire, "funding/001_uta_funding-fee_XBTUSDTM.json")
    assert unified["row"]["next_funding_time"] == iso(1790121600000)
    rows = {row["kind"]: row["row"] for row in _futures(wire, "mark_price/001_uta_mark-price_XBTUSDTM.json")}
    assert rows["open_interest"]["open_interest"] == pytest.approx(11481.754)


def test_past_bars_have_the_order_of_their_market(wire: Path) -> None:
    def rows(market: str) -> Iterator[tuple[list[float], dict[str, Any]]]:
        path = wire / market / "rest_candles" / "001_candles.json"
        (message,) = messages(path)
        for sent, row in zip(message["data"], printed(market, path), strict=True):
            assert row["row"]["is_closed"] is None, "the recording does not tell when it was made"
            yield [float(value) for value in sent], row["row"]

    for sent, row in rows(SPOT):
        assert [row[name] for name in ("open", "close", "high", "low", "volume", "quote_volume")] == sent[1:]
        assert row["open_time"] == iso(int(sent[0]) * 1000)
    for sent, row in rows(FUTURES):
        assert [row[name] for name in ("open", "high", "low", "close")] == sent[1:5]
        assert row["open_time"] == iso(int(sent[0]))


def test_a_book_of_the_other_market_shows_what_it_is(wire: Path) -> None:
    (row,) = printed(FUTURES, wire / FUTURES / "rest_book_snapshot" / "005_book_snapshot_BTC-USDT.json")
    assert (row["table"], row["row"]["trade_type"]) == (None, "SPOT")


def test_instruments_of_recorded_listings(wire: Path) -> None:
    futures = json.loads((wire / FUTURES / "rest_instruments" / "003_instruments_XBTUSDTM.json").read_text())
    (bitcoin,) = exchange(FUTURES).instruments([futures])
    assert (bitcoin.symbol, bitcoin.contract_size, bitcoin.tick_size) == ("BTCUSDT", 0.001, 0.1)
    assert bitcoin.funding_interval_hours == 8.0
    spot = json.loads((wire / SPOT / "rest_instruments" / "003_instruments_BTC-USDT.json").read_text())
    (bitcoin,) = exchange(SPOT).instruments([spot])
    assert (bitcoin.symbol, bitcoin.contract_size, bitcoin.tick_size, bitcoin.lot_size) == ("BTCUSDT", 1.0, 0.1, 1e-8)


@pytest.mark.parametrize(("market", "name"), [(SPOT, "001"), (SPOT, "003"), (FUTURES, "001"), (FUTURES, "002")])
def test_recorded_tokens_open_a_connection(wire: Path, market: str, name: str) -> None:
    answer = json.loads((wire / market / "rest_token" / f"{name}_token.json").read_text())
    venue = exchange(market)
    (socket,) = venue.sockets(["BTCUSDT"], ["trades"], venue.endpoints)
    address = venue.address(socket, answer)
    server = answer["data"]["instanceServers"][0]
    assert address.url.startswith(f"{server['endpoint']}?token=")
    assert address.ping_interval_s == server["pingInterval"] / 1000


# -- sequences ---------------------------------------------------------------------------------------------

SEQUENCE = "sequences/kucoin_spot_6pairs_20210425.tsv.gz"


def test_a_recording_comes_out_whole_in_order_and_without_false_gaps(wire: Path) -> None:
    rows = printed(SPOT, wire / SEQUENCE)
    recorded = [event for event in events(wire / SEQUENCE) if event[2].get("type") not in ("welcome", "ack")]
    assert len(rows) == len(recorded)
    for row, (received, kind, message) in zip(rows, recorded, strict=True):
        if kind.startswith("rest"):
            assert (row["kind"], row["row"]["last_update_id"]) == ("book_snapshot", int(message["data"]["sequence"]))
            assert row["row"]["symbol"] == kind.partition("symbol=")[2].replace("-", "")
            continue
        _check_spot(row["row"], message["topic"], message["data"])
        if row["table"] is not None:
            assert row["row"]["received_at"] == microsecond(received)


def test_futures_recordings_come_out_whole_and_in_order(wire: Path) -> None:
    for name in ("kucoin_futures_depth5_xbt_eth_20210613.tsv", "kucoin_futures_ticker_xbtusdtm_202107.tsv"):
        rows = printed(FUTURES, wire / "sequences" / name)
        recorded = list(events(wire / "sequences" / name))
        assert [row["row"]["source_seq"] for row in rows] == [str(m["data"]["sequence"]) for *_, m in recorded]


@pytest.fixture(scope="module")
def changes(wire: Path) -> dict[str, tuple[list[bytes], bytes]]:
    """By symbol: the recorded increments, in order, and the REST snapshot that was asked for meanwhile."""
    increments: dict[str, list[bytes]] = defaultdict(list)
    snapshots: dict[str, bytes] = {}
    for _, kind, message in events(wire / SEQUENCE):
        body = json.dumps(message).encode()
        if kind.startswith("rest"):
            frame = rest_frame(kind.removeprefix("rest "), body)
            snapshots[snapshot(frame).symbol] = frame
        elif message.get("subject") == "trade.l2update":
            increments[message["data"]["symbol"]].append(body)
    return {symbol: (increments[symbol], frame) for symbol, frame in snapshots.items()}


def merged(frames: list[bytes], start: bytes) -> BookMerger:
    """A book from increments, of which those before its snapshot had come already."""
    merger = BookMerger("book", SPOT_BOOK.decode, SPOT_BOOK.sequencing)
    book = snapshot(start)
    early = [frame for frame in frames if spot_change(frame).first <= book.last]
    for frame in early:
        assert merger.absorb(frame, 0) is None
    merger.join(book, 0)
    for frame in frames[len(early) :]:
        merger.absorb(frame, 0)
    return merger


def test_recorded_increments_join_their_snapshots_and_follow_one_another(
    changes: dict[str, tuple[list[bytes], bytes]],
) -> None:
    assert len(changes) == 5
    for symbol, (frames, start) in changes.items():
        book = merged(frames, start).book
        assert (book.symbol, book.last) == (symbol, spot_change(frames[-1]).last)
        expected = _reference(frames, start)
        assert {price: float(level[1]) for price, level in book.bids.items()} == expected[0]
        assert {price: float(level[1]) for price, level in book.asks.items()} == expected[1]


def _reference(frames: list[bytes], start: bytes) -> tuple[dict[float, float], dict[float, float]]:
    """The same book by the rule as the venue tells it: change by change, each newer than the snapshot."""
    data = json.loads(start)["data"]["data"]
    sides = tuple({float(price): float(size) for price, size in data[name]} for name in ("bids", "asks"))
    for frame in frames:
        for side, name in zip(sides, ("bids", "asks"), strict=True):
            for price, size, number in json.loads(frame)["data"]["changes"][name]:
                if int(number) <= int(data["sequence"]) or float(price) == 0:
                    continue
                side.pop(float(price), None)
                if float(size):
                    side[float(price)] = float(size)
    return sides


def test_every_missing_increment_is_found(changes: dict[str, tuple[list[bytes], bytes]]) -> None:
    for frames, start in changes.values():
        after = next(place for place, frame in enumerate(frames) if spot_change(frame).last > snapshot(start).last)
        for missing in range(after, min(len(frames) - 1, after + 150)):
            with pytest.raises(OutOfSequenceError, match="does not follow"):
                merged([*frames[:missing], *frames[missing + 1 : missing + 3]], start)


def test_a_repeated_increment_changes_nothing(changes: dict[str, tuple[list[bytes], bytes]]) -> None:
    frames, start = changes["BCHSV-USDT"]
    once, twice = merged(frames, start), merged([*frames, *frames[-20:]], start)
    assert (once.book.bids, once.book.asks, once.book.last) == (twice.book.bids, twice.book.asks, twice.book.last)


def test_the_first_increment_counts_only_from_the_snapshot_on() -> None:
    def change(start: int, end: int, *bids: tuple[str, str, int]) -> bytes:
        levels = [[price, size, str(number)] for price, size, number in bids]
        data = {"sequenceStart": start, "sequenceEnd": end, "symbol": "A-B", "changes": {"asks": [], "bids": levels}}
        return json.dumps({"topic": "/market/level2:A-B", "data": data, "type": "message"}).encode()

    answer = {"code": "200000", "data": {"sequence": "12", "bids": [["5", "1"]], "asks": [["9", "1"]]}}
    merger = BookMerger("book", SPOT_BOOK.decode, SPOT_BOOK.sequencing)
    merger.join(snapshot(rest_frame("/x?symbol=A-B", json.dumps(answer).encode())), 0)
    merger.absorb(change(10, 15, ("6", "3", 15), ("0", "0", 14), ("6", "2", 13), ("5", "8", 11)), 0)
    assert {price: level[1] for price, level in merger.book.bids.items()} == {5.0: "1", 6.0: "3"}


def test_futures_increments_are_one_change_each(wire: Path) -> None:
    folder = wire / FUTURES / "book_delta"
    change = FUTURES_BOOK.decode((folder / "003_level2_XBTUSDTM.json").read_bytes())
    assert (change.symbol, change.first, change.last) == ("XBTUSDTM", 1747821025244, 1747821025244)
    assert (change.bids, change.asks, change.event_ms) == ([("83614", "12")], [], 1790113097240)
    taken = FUTURES_BOOK.decode((folder / "006_level2_MYROUSDTM.json").read_bytes())
    assert (taken.bids, taken.asks) == ([], [("0.2166", "0")])

    def level2(sequence: int, text: str) -> bytes:
        data = {"sequence": sequence, "change": text, "timestamp": 1}
        return json.dumps({"topic": "/contractMarket/level2:XBTUSDTM", "data": data}).encode()

    start = (wire / FUTURES / "rest_book_snapshot" / "004_book_snapshot_XBTUSDTM.json").read_bytes()
    whole = snapshot(rest_frame("/api/v1/level2/snapshot?symbol=XBTUSDTM", start))
    merger = BookMerger("book", FUTURES_BOOK.decode, FUTURES_BOOK.sequencing)
    merger.absorb(level2(whole.last, "89389.6,buy,9"), 0)
    merger.absorb(level2(whole.last + 1, "89389.6,buy,0"), 0)
    merger.join(whole, 0)
    assert 89389.6 not in merger.book.bids
    merger.absorb(level2(whole.last + 2, "89390.1,sell,7"), 0)
    assert merger.book.asks[89390.1][1] == "7"
    with pytest.raises(OutOfSequenceError, match="does not follow"):
        merger.absorb(level2(whole.last + 4, "89390.1,sell,8"), 0)


def test_unified_books_begin_with_a_snapshot_on_the_socket(wire: Path) -> None:
    start = json.loads((wire / FUTURES / "book_snapshot" / "002_uta_obu_snapshot_ETHUSDTM_trimmed.json").read_text())

    def delta(first: int, last: int) -> bytes:
        data = {"a": [], "b": [["2749.68", "5"]], "C": last, "s": "ETHUSDTM", "M": 1790114460761000000, "O": first}
        return json.dumps({"T": "obu.FUTURES", "dp": "increment@10ms", "t": "delta", "P": 1, "d": data}).encode()

    at = start["d"]["C"]
    merger = BookMerger("book", UNIFIED_BOOK.decode, UNIFIED_BOOK.sequencing)
    assert merger.absorb(delta(at + 1, at + 2), 0) is None
    merger.absorb(json.dumps(start).encode(), 0)
    merger.absorb(delta(at + 1, at + 4), 0)
    assert (merger.book.last, merger.book.bids[2749.68][1]) == (at + 4, "5")
    assert merger.book.event_ms == 1790114460761
    with pytest.raises(OutOfSequenceError, match="does not follow"):
        merger.absorb(delta(at + 6, at + 6), 0)
