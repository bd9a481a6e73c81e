"""What each venue shows of its liquidations, in one table.

A sampled feed undercounts most when it matters most: its counts and values are lower bounds, and its clusters and
cascades look weaker than they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Completeness = Literal["every", "sampled", "none"]
LABELS: tuple[Completeness, ...] = ("every", "sampled", "none")


@dataclass(frozen=True, slots=True)
class Feed:
    """``completeness`` holds from ``since`` on; before, the feed was a sample."""

    completeness: Completeness
    source: str
    since: datetime | None = None

    def at(self, time: datetime) -> Completeness:
        """What the feed showed at ``time``, naive UTC."""
        return "sampled" if self.since is not None and time < self.since else self.completeness


FEEDS: dict[str, Feed] = {
    "binance_futures": Feed(
        "sampled", "developers.binance.com, Liquidation Order Streams: the latest of each symbol and second"
    ),
    "bybit_futures": Feed(
        "every",
        "bybit-exchange.github.io/docs/v5, All Liquidation: all of them, every 500 ms; a sample before this topic came",
        datetime(2025, 2, 20),  # noqa: DTZ001
    ),
    "okx_futures": Feed(
        "sampled", "www.okx.com/docs-v5, Liquidation orders channel: not all of them; long one per contract and second"
    ),
    "gateio_futures": Feed(
        "every",
        "www.gate.com/docs, futures.public_liquidates, 2026-08-20: those of a second as one list; one a second before",
        datetime(2026, 8, 20),  # noqa: DTZ001
    ),
    "hyperliquid_futures": Feed("none", "no public feed of the whole market"),
    "kucoin_futures": Feed("none", "no public feed"),
}


def completeness(exchange: str, market_type: str, time: datetime) -> Completeness | None:
    """What the market shows of its liquidations at ``time``; None for a market nothing is declared of."""
    feed = FEEDS.get(f"{exchange}_{market_type}")
    return feed.at(time) if feed else None
