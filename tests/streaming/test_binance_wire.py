"""Recorded Binance messages, compared value by value with a plain reading of the same JSON."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_streaming.commands.normalize import command
from orderflow_streaming.exchanges import exchange

pytestmark = pytest.mark.wire

FOLDERS = {
    "book_delta": {"book_delta"},
    "book_snapshot": {"orderbooks", "book_snapshot", "gap"},
    "book_ticker": {"prices"},
    "candles": {"candles"},
    "control": set(),
    "liquidations": {"liquidations"},
    "mark_price": {"mark_prices", "funding_rates", "index_prices"},
    "other": {"asset_index", "composite_index"},
    "rest_book_snapshot": {"book_snapshot"},
    "rest_book_ticker": {"prices"},
    "rest_candles": {"candles"},
    "rest_error": set(),
    "rest_funding": {"funding_rates"},
    "rest_instruments": {"instrument"},
    "rest_mark_funding": {"mark_prices", "funding_rates", "index_prices"},
    "rest_open_interest": {"open_interest"},
    "rest_ticker": {"ticker_24h"},
    "ticker_24h": {"ticker_24h"},
    "trades": {"trades", "off_market_trade"},
}
CROSSED = {"005_book_snapshot_btcusdt.json"}
"""Put together by whoever recorded it: its best bid is above its best ask."""


def printed(*files: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, ["--market", "binance_futures", *map(str, files)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def events(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Receive time in ns, kind and decoded message of each line that the server sent."""
    body = path.read_bytes()
    for line in (gzip.decompress(body) if path.suffix == ".gz" else body).decode().splitlines():
        time, kind, raw = line.split("\t", 2)
        if kind.startswith(("ws", "rest")):
            yield int(time), kind, json.loads(raw)


def test_every_folder_of_messages_is_expected(wire: Path) -> None:
    assert {folder.name for folder in (wire / "binance_futures").iterdir()} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_message_is_read(wire: Path, folder: str) -> None:
    for path in sorted((wire / "binance_futures" / folder).iterdir()):
        rows = printed(path)
        assert {row["kind"] for row in rows} <= FOLDERS[folder], path.name
        assert ("gap" in {row["kind"] for row in rows}) == (path.name in CROSSED)
        assert bool(rows) == bool(FOLDERS[folder]), path.name
        if path.suffix == ".jsonl":
            assert len(rows) == len(path.read_text().splitlines())
        for row in rows:
            if row["table"] is not None:
                assert row["table"].endswith(f"_binance_futures_{row['kind']}")


def _expected(stream: str, data: dict[str, Any]) -> dict[str, Any]:
    """What a row must say, by a reading of its own of the message."""
    kind = stream.split("@")[1]
    if kind == "bookTicker":
        return {
            "timestamp": iso(data["E"]),
            "bid_price": float(data["b"]),
            "ask_price": float(data["a"]),
            "bid_qty": float(data["B"]),
            "ask_qty": float(data["A"]),
            "source_seq": str(data["u"]),
            "mid_price": pytest.approx((float(data["a"]) + float(data["b"])) / 2),
        }
    if kind in ("aggTrade", "trade"):
        price, quantity = float(data["p"]), float(data["q"])
        return {
            "timestamp": iso(data["T"]),
            "trade_id": str(data["a" if kind == "aggTrade" else "t"]),
            "price": price,
            "quantity": quantity,
            "quote_value": pytest.approx(price * quantity),
            "side": "sell" if data["m"] else "buy",
        }
    if kind == "depth":
        return {
            "timestamp": iso(data["E"]),
            "first_update_id": data["U"],
            "last_update_id": data["u"],
            "previous_update_id": data["pu"],
            "bids": [[float(number) for number in level] for level in data["b"]],
            "asks": [[float(number) for number in level] for level in data["a"]],
        }
    bar = data["k"]
    return {
        "open_time": iso(bar["t"]),
        "close_time": iso(bar["T"]),
        "interval": bar["i"],
        "open": float(bar["o"]),
        "high": float(bar["h"]),
        "low": float(bar["l"]),
        "close": float(bar["c"]),
        "volume": float(bar["v"]),
        "quote_volume": float(bar["q"]),
        "trade_count": bar["n"],
        "taker_buy_volume": float(bar["V"]),
        "taker_buy_quote": float(bar["Q"]),
        "is_closed": bar["x"],
    }


@pytest.mark.parametrize(
    "name", ["binance_usdm_sushi_akro_20210722.tsv", "binance_usdm_btcusdt_20240808.tsv.gz"], ids=["2021", "2024"]
)
def test_sequences_come_out_whole_in_order_and_without_false_gaps(wire: Path, name: str) -> None:
    rows = printed(wire / "sequences" / name)
    recorded = list(events(wire / "sequences" / name))
    assert len(rows) == len(recorded)
    updates: dict[str, int] = {}
    identities: dict[str, list[int]] = defaultdict(list)
    for row, (received, kind, message) in zip(rows, recorded, strict=True):
        if kind.startswith("rest"):
            assert (row["kind"], row["row"]["last_update_id"]) == ("book_snapshot", message["lastUpdateId"])
            assert len(row["row"]["bids"]) == len(message["bids"])
            continue
        stream, data = message["stream"], message["data"]
        for column, value in _expected(stream, data).items():
            assert row["row"][column] == value, (stream, column)
        if row["table"] is None:
            assert (row["kind"], row["row"]["symbol"]) == ("book_delta", data["s"])
            assert updates.get(stream, data["pu"]) == row["row"]["previous_update_id"]
            updates[stream] = row["row"]["last_update_id"]
            continue
        symbol = data["s"].lower()
        assert row["table"] == f"{symbol}_binance_futures_{row['kind']}"
        assert row["row"]["received_at"] == iso(received // 1_000_000)[:-4] + f"{received // 1000 % 1000:03d}Z"
        if row["kind"] == "trades":
            identities[stream].append(int(row["row"]["trade_id"]))
    for stream, numbers in identities.items():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), stream
    counted = Counter(row["kind"] for row in rows)
    assert counted["prices"] == sum("bookTicker" in message.get("stream", "") for *_, message in recorded)


def test_instruments_of_a_recorded_listing(wire: Path) -> None:
    path = wire / "binance_futures" / "rest_instruments" / "004_instruments_BTCUSDT.json"
    information = json.loads(path.read_text())
    (bitcoin,) = [
        found for found in exchange("binance_futures").instruments([information, []]) if found.symbol == "BTCUSDT"
    ]
    (listed,) = [row["row"] for row in printed(path) if row["row"]["symbol"] == "BTCUSDT"]
    raw = next(row for row in information["symbols"] if row["symbol"] == "BTCUSDT")
    tick = next(float(entry["tickSize"]) for entry in raw["filters"] if entry["filterType"] == "PRICE_FILTER")
    step = next(float(entry["stepSize"]) for entry in raw["filters"] if entry["filterType"] == "LOT_SIZE")
    assert (bitcoin.tick_size, bitcoin.lot_size, bitcoin.status) == (tick, step, raw["status"])
    assert (listed["tick_size"], listed["lot_size"], listed["status"]) == (tick, step, raw["status"])
    assert (listed["contract_type"], listed["contract_size"]) == ("PERPETUAL", 1.0)
