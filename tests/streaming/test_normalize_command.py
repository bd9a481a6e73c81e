"""``orderflow-stream normalize``: forms of recordings, exit codes, what goes where."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orderflow_streaming.commands import normalize
from orderflow_streaming.commands.normalize import command
from orderflow_streaming.schema import STREAMS
from tests.streaming import messages

AT = messages.START_MS
GOOD = [messages.trade(AT + number, number) for number in range(3)]
CONTROL = [b'{"result":null,"id":1}', b'{"method":"SUBSCRIBE","params":["x"],"id":1}']


def run(*arguments: Any, stdin: bytes | None = None, market: str = "binance_futures") -> Result:
    return CliRunner().invoke(command, ["--market", market, *map(str, arguments)], input=stdin)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def ids(result: Result) -> list[str]:
    return [line["row"]["trade_id"] for line in lines(result)]


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.recorded", "-"])
def test_messages_a_line(tmp_path: Path, name: str) -> None:
    body = b"\n".join([*GOOD, b"", *CONTROL]) + b"\r\n"
    if name == "-":
        result = run("-", stdin=body)
    else:
        path = tmp_path / name
        path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
        result = run(path)
    assert (result.exit_code, result.stderr, ids(result)) == (0, "", ["0", "1", "2"])
    assert lines(result)[0]["table"] == "btcusdt_binance_futures_trades"
    assert lines(result)[0]["row"]["received_at"] is None


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "-"])
def test_one_message_over_many_lines(tmp_path: Path, name: str) -> None:
    body = json.dumps(json.loads(GOOD[1]), indent=2).encode()
    path = tmp_path / name
    if name == "-":
        result = run("-", stdin=body)
    else:
        path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
        result = run(path)
    assert (result.exit_code, ids(result)) == (0, ["1"])


@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.gz", "-"])
def test_events_with_receive_times(tmp_path: Path, name: str) -> None:
    interest = b'{"symbol":"ETHUSDT","openInterest":"12.5","time":%d}' % AT
    bar = b'[[%d,"1","3","0.5","2","8",%d,"16",4,"2","4","0"]]' % (AT, AT + 59_999)
    events = [
        (AT, b"open wss://fstream.binance.com/stream", b""),
        (AT + 1, b"tx", CONTROL[1]),
        (AT + 2, b"ws", CONTROL[0]),
        (AT + 3, b"ws", GOOD[0]),
        (AT + 4, b"rest https://fapi.binance.com/fapi/v1/openInterest?symbol=ETHUSDT", interest),
        (AT + 5, b"rest https://fapi.binance.com/fapi/v1/klines?symbol=solusdt&interval=1m", bar),
        (AT + 60_000, b"rest https://fapi.binance.com/fapi/v1/klines?interval=1m&symbol=SOLUSDT", bar),
    ]
    body = b"".join(b"%d\t%s\t%s\n" % (at * 1_000_000 + 123_456, kind, raw) for at, kind, raw in events)
    path = tmp_path / name
    if name == "-":
        result = run("-", stdin=body)
    else:
        path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
        result = run(path)
    assert (result.exit_code, result.stderr) == (0, "")
    trade, interest_row, forming, closed = lines(result)
    assert trade["row"]["received_at"] == "2025-10-09T08:53:20.003123Z"
    assert (trade["kind"], trade["row"]["timestamp"]) == ("trades", "2025-10-09T08:53:20.000000Z")
    assert interest_row["table"] == "ethusdt_binance_futures_open_interest"
    assert interest_row["row"]["open_interest"] == 12.5
    assert forming["table"] == closed["table"] == "solusdt_binance_futures_candles"
    assert (forming["row"]["interval"], forming["row"]["trade_count"]) == ("1m", 4)
    assert (forming["row"]["is_closed"], closed["row"]["is_closed"]) == (False, True)


def test_rows_have_the_columns_of_the_isolated_view() -> None:
    frames = [messages.trade(AT, 1), messages.quote(AT, 2), messages.book(AT, 3), messages.mark(AT)]
    result = run("-", stdin=b"\n".join(frames))
    kinds = [line["kind"] for line in lines(result)]
    assert kinds == ["trades", "prices", "orderbooks", "mark_prices", "funding_rates", "index_prices"]
    for line in lines(result):
        assert list(line["row"]) == [column.name for column in STREAMS[line["kind"]].columns if column.name != "id"]


def test_any_symbol_is_read() -> None:
    result = run("-", stdin=messages.trade(AT, 1, symbol="1000SHIBUSDC_270326"))
    (line,) = lines(result)
    assert line["table"] == "1000shibusdc270326_binance_futures_trades"


def test_known_messages_that_no_table_stores_are_printed_without_a_table() -> None:
    delta = {"e": "depthUpdate", "E": AT, "T": AT, "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, "b": [["1", "2"]], "a": []}
    result = run("-", stdin=json.dumps(delta).encode())
    assert lines(result) == [
        {
            "table": None,
            "kind": "book_delta",
            "row": {
                "symbol": "BTCUSDT",
                "timestamp": "2025-10-09T08:53:20.000000Z",
                "first_update_id": 1,
                "last_update_id": 2,
                "previous_update_id": 0,
                "bids": [[1.0, 2.0]],
                "asks": [],
            },
        }
    ]


def test_a_row_whose_symbol_only_the_url_could_tell_has_no_table(tmp_path: Path) -> None:
    path = tmp_path / "klines.json"
    path.write_bytes(b'[[%d,"1","3","0.5","2","8",%d,"16",4,"2","4","0"]]' % (AT, AT + 59_999))
    result = run(path)
    (line,) = lines(result)
    assert (result.exit_code, line["table"], line["kind"]) == (0, None, "candles")
    assert (line["row"]["interval"], line["row"]["is_closed"], line["row"]["high"]) == (None, None, 3.0)


def test_messages_that_cannot_be_parsed_cost_a_line_each_and_no_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "mixed.tsv"
    bad = [b"{", messages.trade(AT, 9, price="dear"), b'{"e":"unheardOf"}', b'[{"e":"aggTrade","s":"X"}]']
    raws = [item for pair in zip(GOOD + GOOD[:1], bad, strict=True) for item in pair]
    path.write_bytes(b"".join(b"%d\tws\t%s\n" % (AT, raw) for raw in raws) + b"not an event\n")
    result = run(path)
    assert (result.exit_code, ids(result)) == (1, ["0", "1", "2", "0"])
    places = [line.split(": ", 1) for line in result.stderr.splitlines()]
    assert [place for place, _ in places] == [f"{path}:{number}" for number in (2, 4, 6, 8, 9)]
    reasons = [reason for _, reason in places]
    assert reasons[0].startswith("not JSON")
    assert reasons[1] == "p: dear is not a number"
    assert reasons[2] == "unknown event e='unheardOf'"
    assert reasons[3] == "item 0: timestamp is missing"
    assert reasons[4].startswith("not a line of receive time in ns, kind")


def test_messages_of_another_product_are_mentioned_and_no_error() -> None:
    result = run("-", stdin=b'{"e":"aggTrade","s":"BTCUSD_PERP","st":2}')
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "-:1: not read: st=2 is not a USDⓈ-M contract\n"


@pytest.mark.parametrize(
    ("market", "reason"), [("binance_future", "Did you mean 'binance_futures'"), ("kraken_spot", "unknown market")]
)
def test_unknown_market(market: str, reason: str) -> None:
    result = run("-", stdin=b"", market=market)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_unreadable_files_are_named_before_anything_is_printed(tmp_path: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_bytes(GOOD[0])
    damaged = tmp_path / "damaged.jsonl.gz"
    damaged.write_bytes(gzip.compress(GOOD[0])[:20])
    for bad in (tmp_path / "absent.jsonl", tmp_path, damaged):
        result = run(good, bad)
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(bad) in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_empty_input_prints_nothing(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.tsv"):
        (tmp_path / name).touch()
        result = run(tmp_path / name)
        assert (result.exit_code, result.output) == (0, "")


def test_long_inputs_are_read_in_chunks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(normalize, "CHUNK_MESSAGES", 100)
    path = tmp_path / "long.jsonl"
    frames = [messages.trade(AT + number, number) for number in range(1050)]
    frames[777] = b"?"
    path.write_bytes(b"\n".join(frames))
    result = run(path)
    assert ids(result) == [str(number) for number in range(1050) if number != 777]
    assert result.stderr.startswith(f"{path}:778: not JSON")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_the_clock_of_the_machine_does_not_matter(tmp_path: Path, zone: str) -> None:
    path = tmp_path / "x.tsv"
    path.write_bytes(b"%d\tws\t%s\n" % (AT * 1_000_000, GOOD[0]))
    arguments = [sys.executable, "-m", "orderflow_streaming.cli", "normalize", "--market", "binance_futures", str(path)]
    code = "from orderflow_streaming.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments[3:]], env={"TZ": zone, "PATH": ""}, capture_output=True, check=True
    )
    row = json.loads(result.stdout)["row"]
    assert row["timestamp"] == row["received_at"] == "2025-10-09T08:53:20.000000Z"
