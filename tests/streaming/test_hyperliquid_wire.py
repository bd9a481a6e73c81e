"""Recorded Hyperliquid messages, compared value by value with a plain reading of the same JSON."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_streaming import markets
from orderflow_streaming.commands.normalize import command
from orderflow_streaming.exchanges import exchange

pytestmark = pytest.mark.wire

HYPERLIQUID = exchange("hyperliquid_futures")
RECORDING = "hyperliquid_btc_20250126_a.tsv"
CONTEXT = {"mark_prices", "funding_rates", "open_interest", "ticker_24h", "index_prices"}
FOLDERS = {
    "book_snapshot": {"orderbooks", "empty_book"},
    "book_ticker": {"prices", "one_sided_quote"},
    "candles": {"candles", "empty_candle"},
    "control": set(),
    "mark_price": CONTEXT | {"spot_context", "context_by_position"},
    "prices_mids": {"mid_price"},
    "rest_book_snapshot": {"book_snapshot"},
    "rest_candles": {"candles"},
    "rest_error": set(),
    "rest_funding": {"funding_rates"},
    "rest_instruments": {"instrument"},
    "rest_open_interest": CONTEXT,
    "rest_trades": {"trades"},
    "trades": {"trades"},
}


def printed(*files: Path) -> list[dict[str, Any]]:
    result = CliRunner().invoke(command, ["--market", "hyperliquid_futures", *map(str, files)])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


def iso(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_every_folder_of_messages_is_expected(wire: Path) -> None:
    assert {folder.name for folder in (wire / "hyperliquid_futures").iterdir()} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_recorded_message_is_read(wire: Path, folder: str) -> None:
    paths = sorted((wire / "hyperliquid_futures" / folder).iterdir())
    rows = printed(*paths)
    assert {row["kind"] for row in rows} == FOLDERS[folder]
    assert len(rows) >= len(paths) * bool(FOLDERS[folder])
    for row in rows:
        if row["table"] is not None:
            assert row["table"].endswith(f"_hyperliquid_futures_{row['kind']}")


def test_every_answer_on_the_socket_is_understood(wire: Path) -> None:
    for path in sorted((wire / "hyperliquid_futures" / "control").iterdir()):
        frame = path.read_bytes()
        assert (HYPERLIQUID.route(frame), HYPERLIQUID.topic(frame)) == (None, None)
        if "client" not in path.name and "post" not in path.name:
            assert HYPERLIQUID.control(frame).kind != "unknown", path.name


def test_every_pushed_message_has_the_topic_that_brought_it(wire: Path) -> None:
    for folder in ("book_snapshot", "book_ticker", "candles", "trades"):
        for path in sorted((wire / "hyperliquid_futures" / folder).iterdir()):
            for frame in path.read_bytes().splitlines():
                message = json.loads(frame)
                first = message["data"][0] if isinstance(message["data"], list) else message["data"]
                name = f"{first['s']}.{first['i']}" if folder == "candles" else first["coin"]
                assert HYPERLIQUID.topic(frame) == f"{message['channel']}.{name}"
                assert HYPERLIQUID.route(frame) == message["channel"]


def test_a_recording_comes_out_whole_and_in_order(wire: Path) -> None:
    path = wire / "sequences" / RECORDING
    rows = iter(printed(path))
    counts: Counter[str] = Counter()
    newest = ""
    identities: list[int] = []
    for line in path.read_text().splitlines():
        received, kind, raw = line.split("\t", 2)
        message = json.loads(raw) if kind == "ws" else {"channel": "none"}
        if message["channel"] == "l2Book":
            row, data = next(rows), message["data"]
            assert (row["kind"], row["table"]) == ("orderbooks", "btcusdt_hyperliquid_futures_orderbooks")
            stored = row["row"]
            assert stored["timestamp"] == iso(data["time"]) >= newest
            assert stored["received_at"][:23] == iso(int(received) / 1e6)[:23]
            newest = stored["timestamp"]
            for side, levels in zip(("bid", "ask"), data["levels"], strict=True):
                sent = [(float(level["px"]), float(level["sz"])) for level in levels]
                assert [(stored[f"{side}_{n}_price"], stored[f"{side}_{n}_qty"]) for n in range(1, 11)] == sent[:10]
            counts["l2Book"] += 1
        elif message["channel"] == "trades":
            for data in message["data"]:
                row = next(rows)
                stored = row["row"]
                assert (stored["trade_id"], stored["timestamp"]) == (str(data["tid"]), iso(data["time"]))
                assert (stored["price"], stored["quantity"]) == (float(data["px"]), float(data["sz"]))
                assert stored["side"] == {"A": "sell", "B": "buy"}[data["side"]]
                identities.append(data["tid"])
            counts["trades"] += 1
    assert next(rows, None) is None
    assert counts["l2Book"] >= 20
    assert len(set(identities)) == len(identities) > 30


def test_the_first_trades_are_a_backlog_of_seconds_before(wire: Path) -> None:
    for line in (wire / "sequences" / RECORDING).read_text().splitlines():
        received, _, raw = line.split("\t", 2)
        if '"channel":"trades"' in raw:
            trades = json.loads(raw)["data"]
            assert len(trades) == 30
            assert int(received) / 1e6 - trades[-1]["time"] > 0
            return
    raise AssertionError("no trades in the recording")


def test_the_newest_context_says_what_it_says(wire: Path) -> None:
    rows = {
        row["kind"]: row["row"] for row in printed(wire / "hyperliquid_futures/mark_price/002_activeAssetCtx_BTC.json")
    }
    assert rows["mark_prices"]["basis"] == pytest.approx(80640.0 - 80684.7)
    assert rows["open_interest"]["open_interest"] == 36295.80812
    assert rows["ticker_24h"]["volume_24h"] == 56265.69068
    assert rows["ticker_24h"]["vwap_24h"] == pytest.approx(4490636699.3287734985 / 56265.69068)
    assert rows["funding_rates"]["next_funding_time"] is None


def test_contexts_over_rest_belong_to_the_coins_at_their_places(wire: Path) -> None:
    path = wire / "hyperliquid_futures/rest_open_interest/003_open_interest_BTC_trimmed.json"
    meta, contexts = json.loads(path.read_text())
    marks = [row for row in printed(path) if row["kind"] == "mark_prices"]
    assert [row["row"]["mark_price"] for row in marks] == [float(context["markPx"]) for context in contexts]
    assert [row["table"].split("usdt_")[0] for row in marks] == [coin["name"].lower() for coin in meta["universe"]]


def test_all_our_coins_are_listed_in_the_recorded_universe(wire: Path) -> None:
    answer = json.loads((wire / "hyperliquid_futures/rest_instruments/001_instruments_BTC.json").read_text())
    instruments = HYPERLIQUID.instruments([answer])
    assert {instrument.symbol for instrument in instruments} == set(markets.SYMBOLS)


def test_settled_rates_have_the_time_of_their_settlement(wire: Path) -> None:
    path = wire / "hyperliquid_futures/rest_funding/001_funding_BTC.json"
    sent = json.loads(path.read_text())
    assert [(row["row"]["timestamp"], row["row"]["funding_rate"]) for row in printed(path)] == [
        (iso(paid["time"]), float(paid["fundingRate"])) for paid in sent
    ]
