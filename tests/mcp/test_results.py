"""How values are written: digits, times, hoisting, limits."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.arguments import moment
from mcp_server.results import MOST_CHARACTERS, Answer, payload
from orderflow_streaming.tables import Column

PRICE = Column("price", "DOUBLE", "a price", "quote")
RATIO = Column("ratio", "DOUBLE", "a ratio", "ratio")
AT = Column("at", "TIMESTAMP", "when", "UTC")


def sent(columns: list[Column], rows: list[list[Any]], **rest: Any) -> dict[str, Any]:
    return payload(Answer.rows(columns, rows, source="test", **rest), time.monotonic(), "concise")


def test_prices_keep_their_cents_and_ratios_six_digits() -> None:
    assert sent([PRICE, RATIO], [[61234.567891234, 0.123456789]])["rows"] == [[61234.56789, 0.123457]]


def test_times_are_utc_with_a_z() -> None:
    plain = datetime.fromisoformat("2026-11-24T09:57:11.120")
    zoned = datetime(2026, 11, 24, 11, 57, 11, 120_000, timezone(timedelta(hours=2)))
    assert sent([AT], [[plain], [zoned]])["constants"] == {"at": "2026-11-24T09:57:11.12Z"}


def test_equal_columns_are_said_once_and_a_single_row_stays_whole() -> None:
    answer = sent([PRICE, RATIO], [[1.0, 2.0], [1.0, 3.0]])
    assert (answer["columns"], answer["rows"], answer["constants"]) == (["ratio"], [[2.0], [3.0]], {"price": 1.0})
    assert sent([PRICE], [[1.0]])["rows"] == [[1.0]]


def test_the_age_is_that_of_the_newest_row() -> None:
    old = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=90)
    meta = sent([AT], [[old], [old - timedelta(hours=1)]], time="at")["meta"]
    assert meta["staleness_s"] == pytest.approx(90, abs=5)
    assert sent([AT], [[old]], time="at", dated=False)["meta"]["staleness_s"] is None


def test_values_json_lacks_are_named() -> None:
    assert sent([RATIO], [[float("nan")], [float("inf")], [None]])["rows"] == [["nan"], ["inf"], [None]]


def test_any_arrow_type_can_be_sent() -> None:
    table = pa.table({"a": [b"\xff"], "b": [{"k": 1.5}], "c": [[1, 2]], "d": [timedelta(seconds=1)], "e": [True]})
    json.dumps(payload(Answer.of(table, source="test"), time.monotonic(), "concise"), allow_nan=False)


@given(st.lists(st.text(max_size=2_000), max_size=120))
def test_an_answer_stays_within_its_characters(texts: list[str]) -> None:
    rows = [[number, text] for number, text in enumerate(texts)]
    answer = sent([Column("n", "BIGINT"), Column("text", "VARCHAR")], rows, cursor=str)
    assert len(json.dumps(answer, ensure_ascii=False)) <= MOST_CHARACTERS
    assert answer["meta"]["truncated"] is (answer["meta"]["rows"] < len(texts))


@given(st.datetimes(timezones=st.timezones()))
def test_times_are_read_as_utc(value: datetime) -> None:
    try:
        expected = value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return
    assert moment("start", value.isoformat()) == expected
