"""SQL that the declarations of several venues share, beside :func:`~.protocol.milliseconds`."""

from __future__ import annotations

_FIRST_MILLISECOND = 100_000_000_000
"""Of epoch numbers, those from here on count milliseconds: March 1973 if so, the year 5138 in seconds."""
_LAST_MILLISECOND = 253_402_300_799_999


def instant(expression: str) -> str:
    """SQL of the UTC timestamp for an epoch number in seconds or milliseconds, told apart by its magnitude.

    NULL for zero and for what no calendar has. Fractions count, to the microsecond.
    """
    return (
        f"CASE WHEN {expression} >= {_FIRST_MILLISECOND} AND {expression} <= {_LAST_MILLISECOND} "
        f"THEN make_timestamp(round({expression} * 1e3)::BIGINT) "
        f"WHEN {expression} >= 1 AND {expression} < {_FIRST_MILLISECOND} "
        f"THEN make_timestamp(round({expression} * 1e6)::BIGINT) END"
    )


def query(parameter: str) -> str:
    """SQL of a parameter of the URL a REST answer came from, path ``/rest`` of its frame; NULL without one."""
    return f"nullif(regexp_extract($/rest, '[?&]{parameter}=([^&]+)', 1), '')"


def bar_end(open_time: str, interval: str) -> str:
    """SQL of the last millisecond of a bar whose length is text like ``1m``, ``1min`` or ``60 minutes``; else NULL."""
    return f"{open_time} + TRY_CAST({interval} AS INTERVAL) - INTERVAL 1 MILLISECOND"
