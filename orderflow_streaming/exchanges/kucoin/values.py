"""How KuCoin writes times, intervals and instruments, as SQL."""

from __future__ import annotations

from collections.abc import Mapping

from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds

TOPIC_SYMBOL = "split_part($/topic, ':', 2)"
"""What follows the colon of ``/spotMarket/level2Depth50:BTC-USDT``."""
TOPIC_INTERVAL = "regexp_extract($/topic, '_([0-9]+[a-z]+)$', 1)"
"""``1min`` of ``/market/candles:BTC-USDT_1min``."""
MINUTES_A_MONTH = 43_200
"""How the venue writes a month where it counts minutes."""

_LAST_SECOND = 253_402_300_799
_FIRST_NANOSECOND = 10**16
"""Larger stamps are nanoseconds; as milliseconds they would lie beyond the year 300,000."""


def seconds(expression: str) -> str:
    """SQL of the UTC timestamp for epoch seconds; NULL for zero and for what no calendar has."""
    return f"CASE WHEN {expression} BETWEEN 1 AND {_LAST_SECOND} THEN make_timestamp({expression} * 1000000) END"


def stamp(expression: str) -> str:
    """SQL of the UTC timestamp for epoch nanoseconds or milliseconds: the futures market sends both under one name."""
    return (
        f"CASE WHEN {expression} >= {_FIRST_NANOSECOND} THEN make_timestamp({expression} // 1000) "
        f"ELSE {milliseconds(expression)} END"
    )


def interval(label: str) -> str:
    """SQL of ``1m``, ``4h``, ``1d``, ``1w`` or ``1M`` for the venue's ``1min``, ``4hour``, ``1day``, ``1week``,
    ``1month``."""
    short = label
    for long, letter in (("month", "M"), ("min", "m"), ("hour", "h"), ("day", "d"), ("week", "w")):
        short = f"replace({short}, '{long}', '{letter}')"
    return f"nullif({short}, '')"


def minutes_interval(minutes: str) -> str:
    """The same for a number of minutes."""
    units = ((10_080, "w"), (1_440, "d"), (60, "h"))
    larger = " ".join(f"WHEN {minutes} % {size} = 0 THEN ({minutes} // {size}) || '{unit}'" for size, unit in units)
    return f"CASE WHEN {minutes} = {MINUTES_A_MONTH} THEN '1M' {larger} ELSE {minutes} || 'm' END"


def quote_rows(fields: Mapping[str, str]) -> tuple[Rows, ...]:
    """Best bid and ask; a side without orders has a price of zero."""
    empty = f"({fields['bid_price']} = 0 OR {fields['ask_price']} = 0)"
    return Rows("prices", fields, where=f"NOT {empty}"), Rows("one_sided_quote", fields, where=empty)


def answered(name: str, values: Mapping[str, str], *rows: Rows, symbol: str, item: str = "data.data") -> Channel:
    """The channel of a REST answer, ``{"code": …, "data": …}``."""
    return Channel(f"rest/{name}", values, rows, symbol=symbol, item=item)
