"""Premiums of single minutes by plain scanning: slow, and written from the definitions alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from orderflow_assets.features.funding.terms import TERMS
from tests.assets.perpetual_tape import Rows, Series

MINUTE, STALE = timedelta(minutes=1), timedelta(seconds=60)
Record = tuple[datetime, float]


def of_series(rows: Rows, stream: str, series: Series, column: str) -> list[Record]:
    """Time and value of one column in time order; the last of equal times stands."""
    found = {
        row["timestamp"]: row[column]
        for row in rows[stream]
        if (row["symbol"], row["exchange"], row["market_type"]) == series and row.get(column) is not None
    }
    return sorted(found.items())


def standing(records: Sequence[Record], when: datetime, stale: timedelta = STALE) -> float | None:
    past = [record for record in records if record[0] <= when]
    return past[-1][1] if past and when - past[-1][0] <= stale else None


def index_of(rows: Rows, series: Series) -> list[Record]:
    own = of_series(rows, "mark_prices", series, "index_price")
    apart = of_series(rows, "index_prices", series, "index_price")
    return sorted({**dict(apart), **dict(own)}.items())


def minute(rows: Rows, series: Series, close: datetime) -> dict[str, Any] | None:
    """The row of ``bars.marks_1m`` that closes at ``close``; None where no mark price stands or is published."""
    marks, index = of_series(rows, "mark_prices", series, "mark_price"), index_of(rows, series)
    published = [when for when, _ in marks if close - MINUTE < when <= close]
    rated = [
        when for when, _ in of_series(rows, "mark_prices", series, "funding_rate") if close - MINUTE < when <= close
    ]
    if not published and standing(marks, close - MINUTE) is None:
        return None
    pieces = _pieces(marks, index, close)
    seconds = sum(life for life, _, _ in pieces)
    x = standing(index, close)
    spot = _spot(rows, series[0], close)
    return {
        "n_obs": len(published),
        "mark_close": standing(marks, close),
        "index_close": x if standing(marks, close) is not None else None,
        "basis": _mean(pieces, lambda k, i: k - i),
        "premium": _mean(pieces, lambda k, i: (k - i) / i),
        "premium_s": seconds,
        "impact_premium": _impact(rows, series, close, x) if standing(marks, close) is not None and x else None,
        "spot_mid": median(spot) if spot else None,
        "spot_venues": len(spot),
        "rated_at": max(rated, default=None),
    }


def _pieces(marks: list[Record], index: list[Record], close: datetime) -> list[tuple[float, float, float]]:
    """Stretches of the minute with both prices: seconds, mark, index."""
    edges = {close - MINUTE, close}
    for records in (marks, index):
        edges |= {when + extra for when, _ in records for extra in (timedelta(0), STALE)}
    cut = sorted(edge for edge in edges if close - MINUTE <= edge <= close)
    found = []
    for low, high in itertools.pairwise(cut):
        middle = low + (high - low) / 2
        mark, price = standing(marks, middle), standing(index, middle)
        if mark is not None and price is not None:
            found.append(((high - low).total_seconds(), mark, price))
    return found


def _mean(pieces: list[tuple[float, float, float]], value: Callable[[float, float], float]) -> float | None:
    total = sum(life for life, _, _ in pieces)
    return sum(life * value(mark, index) for life, mark, index in pieces) / total if total else None


def _spot(rows: Rows, symbol: str, close: datetime) -> list[float]:
    """Mids of the spot venues: the last quote of each that stood at a second's edge in the last ten seconds."""
    mids = []
    for exchange in ("binance", "bybit", "kucoin"):
        quotes = of_series(rows, "prices", (symbol, exchange, "spot"), "mid_price")
        for back in range(10):
            mid = standing(quotes, close - timedelta(seconds=back), timedelta(seconds=5))
            if mid is not None:
                mids.append(mid)
                break
    return mids


def _impact(rows: Rows, series: Series, close: datetime, x: float) -> float | None:
    books = [
        row for row in rows["orderbooks"]
        if row["exchange"] == series[1] and row["symbol"] == series[0]
        and close - timedelta(seconds=5) < row["timestamp"] <= close
    ]  # fmt: skip
    if not books:
        return None
    book = max(books, key=lambda row: row["timestamp"])
    bid, ask = (_average_price(book, side, TERMS[series[1]].impact_value or 0.0) for side in ("bid", "ask"))
    return None if bid is None or ask is None else (max(0.0, bid - x) - max(0.0, x - ask)) / x


def _average_price(book: dict[str, Any], side: str, value: float) -> float | None:
    levels = [(book[f"{side}_{n}_price"], book[f"{side}_{n}_qty"]) for n in range(1, 11)] + [
        tuple(level) for level in book[f"{side}_tail"]
    ]
    left, bought = value, 0.0
    for price, quantity in levels:
        taken = min(left, price * quantity)
        left -= taken
        bought += taken / price
        if left <= 0:
            return value / bought
    return None
