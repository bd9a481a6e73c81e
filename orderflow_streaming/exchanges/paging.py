"""Cutting a span of the past into the requests a venue answers."""

from __future__ import annotations

from collections.abc import Iterator

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US


def spans(start_us: int, end_us: int, longest_us: int) -> Iterator[tuple[int, int]]:
    """``[start, end)`` in parts of at most ``longest_us``, oldest first."""
    for begin in range(start_us, end_us, longest_us):
        yield begin, min(end_us, begin + longest_us)
