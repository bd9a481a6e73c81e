"""The features of liquidations once more, slowly: one series, one bar, one event at a time.

Times are microseconds, bars are named by their closing edge. ``None`` is NULL.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from tests.assets.reference_ticker import rank

SECOND = 1_000_000
MINUTE = 60 * SECOND
FIVE = 5 * MINUTE
DAY = 1440 * MINUTE

Row = dict[str, float | bool | str | None]


class Event(NamedTuple):
    us: int
    side: str
    value: float


class Run(NamedTuple):
    started: int
    ended: int
    events: int
    value: float


@dataclass(eq=False)
class Market:
    """What is stored of one series. ``past`` are minutes, steps and clusters from before the events begin."""

    events: list[Event]
    bars: set[int]
    gaps: list[tuple[int, int]]
    heard: list[int]
    """Minutes (closing edges) in which any series of the market had an event."""
    quotes: dict[int, tuple[float, float]]
    """Mid and spread by full second."""
    interest: dict[int, float]
    """Open interest in quote currency by minute."""
    past_counts: dict[int, int] = field(default_factory=dict)
    past_steps: dict[int, tuple[float, float]] = field(default_factory=dict)
    past_clusters: list[tuple[int, float]] = field(default_factory=list)

    def alive(self, edge: int) -> bool:
        if edge in self.past_counts:
            return True
        heard = edge in self.bars and any(edge - DAY <= minute <= edge for minute in self.heard)
        return heard and not any(start < edge and end > edge - MINUTE for start, end in self.gaps)

    def within(self, start: int, end: int, side: str = "") -> list[Event]:
        return [event for event in self.events if start <= event.us < end and side in ("", event.side)]

    def count(self, edge: int) -> int | None:
        if edge in self.past_counts:
            return self.past_counts[edge]
        return len(self.within(edge - MINUTE, edge)) if self.alive(edge) else None

    def value(self, edge: int, minutes: int, side: str = "") -> float | None:
        """Value of the ``minutes`` up to ``edge``; the past before the events is without any."""
        if not all(self.alive(edge - k * MINUTE) for k in range(minutes)):
            return None
        return math.fsum(event.value for event in self.within(edge - minutes * MINUTE, edge, side))

    def runs(self, until: int) -> list[Run]:
        """Runs of one side of the events before ``until``."""
        found = []
        for side in ("long", "short"):
            open_run: list[Event] = []
            for event in [*self.within(0, until, side), Event(2**62, side, 0)]:
                if open_run and event.us - open_run[-1].us > 5 * SECOND:
                    total = math.fsum(member.value for member in open_run)
                    found.append(Run(open_run[0].us, open_run[-1].us, len(open_run), total))
                    open_run = []
                open_run.append(event)
        return found

    def step(self, edge: int) -> tuple[float, float | None] | None:
        if edge in self.past_steps:
            return self.past_steps[edge]
        value = self.value(edge, 5) if edge in self.bars else None
        if value is None:
            return None
        worth = self.interest.get(edge)
        return value, value / worth if worth else None


def _all(values: Sequence[int | None]) -> list[int] | None:
    return [value for value in values if value is not None] if None not in values else None


def _zscore(value: float | None, past: Sequence[float | None]) -> float | None:
    known = [x for x in past if x is not None]
    if value is None or len(known) < 60 or len(set(known)) == 1:
        return None
    mean = math.fsum(known) / len(known)
    return (value - mean) / math.sqrt(math.fsum((x - mean) ** 2 for x in known) / (len(known) - 1))


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    place = (len(ordered) - 1) * q
    low = math.floor(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def _branching(counts: Sequence[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    if len(known) < 60 or sum(known) < 30:
        return None
    spread = statistics.variance(known)
    return min(1.0, max(0.0, 1 - math.sqrt(statistics.fmean(known) / spread))) if spread else 0.0


def _both(*conditions: bool | None) -> bool | None:
    if False in conditions:
        return False
    return None if None in conditions else True


def _detected(market: Market, edge: int, touching: list[Run]) -> bool | None:
    dense = [run.value for run in touching if run.events >= 3]
    if not dense:
        return False
    opening = edge - MINUTE
    closed = [run.value for run in market.runs(2**61) if opening - 7 * DAY <= run.ended + 5 * SECOND < opening]
    past = [value for at, value in market.past_clusters if opening - 7 * DAY <= at < opening]
    if len(closed + past) < 60:
        return None
    return max(dense) >= _quantile(closed + past, 0.9)


@cache
def _month(market: Market, last: int, which: int) -> list[float | None]:
    steps = [market.step(last - k * FIVE) for k in range(8640)]
    return [step[which] if step else None for step in steps]


@cache
def _rank_of_value(market: Market, edge: int) -> float | None:
    return rank(market.value(edge, 5), _month(market, (edge - FIVE) // FIVE * FIVE, 0), 60)


@cache
def _log_rate(market: Market, edge: int) -> float | None:
    counts = _all([market.count(edge - k * MINUTE) for k in range(5)])
    return math.log(1 + sum(counts) / 5) if counts else None


def _exhausted(market: Market, edge: int) -> bool | None:
    edges = [edge - k * MINUTE for k in range(15)]
    ranks = [_rank_of_value(market, at) for at in edges]
    reached = True if any(r is not None and r >= 0.99 for r in ranks) else None if None in ranks else False
    counts = _all([market.count(at) for at in edges])
    died = counts[0] <= max(counts) / 4 if counts else None
    long, short = (market.value(edge, 15, side) for side in ("long", "short"))
    held = None
    if long is not None and short is not None and long != short:
        sign = 1 if long > short else -1
        minutes = [
            [sign * market.quotes[at - k * SECOND][0] for k in range(60) if at - k * SECOND in market.quotes]
            for at in edges
        ]
        if all(minutes):
            held = min(map(min, minutes[:2])) >= min(map(min, minutes[2:]))
    return _both(reached, died, held)


def _absorbed(market: Market, edge: int) -> float | None:
    last = None
    for run in market.runs(edge):
        end = -(-run.ended // SECOND) * SECOND
        if edge - 60 * MINUTE <= end + MINUTE < edge and run.ended - run.started <= 60 * MINUTE:
            key = (end + MINUTE, run.ended, run.value)
            if last is None or key > last[0]:
                last = (key, run.started // SECOND * SECOND, end)
    if last is None:
        return None
    before, ended, after = (market.quotes.get(at) for at in (last[1], last[2], last[2] + MINUTE))
    if not before or not ended or not after or abs(before[0] - ended[0]) < ended[1]:
        return None
    return (after[0] - ended[0]) / (before[0] - ended[0])


def row(market: Market, edge: int) -> Row:
    """Every feature of the bar that closes at ``edge``."""
    found: Row = {}
    count = market.count(edge)
    for side in ("long", "short"):
        alive = market.alive(edge)
        events = market.within(edge - MINUTE, edge, side)
        found[f"{side}_liquidation_count"] = len(events) if alive else None
        found[f"{side}_liquidation_value"] = market.value(edge, 1, side)
        found[f"{side}_liquidation_value_5m"] = market.value(edge, 5, side)
    found["n_obs"], found["total_liquidation_count"] = count or 0, count
    found["total_liquidation_value"] = market.value(edge, 1)
    long, short, both = (market.value(edge, 5, side) for side in ("long", "short", ""))
    found["liquidation_imbalance"] = (long - short) / both if both and long is not None and short is not None else None

    counts = _all([market.count(edge - k * MINUTE) for k in range(5)])
    found["liquidation_rate"] = sum(counts) / 5 if counts else None
    logs = [_log_rate(market, edge - k * MINUTE) for k in range(10081)]
    found["liquidation_rate_zscore"] = _zscore(logs[0], logs[1:])

    touching = [run for run in market.runs(edge) if run.ended >= edge - MINUTE]
    largest = max(touching, key=lambda run: (run.events, run.value), default=Run(0, 0, 0, 0.0))
    known = count is not None
    found["cluster_size"] = largest.events if known else None
    found["cluster_value"] = largest.value if known else None
    found["cluster_duration_seconds"] = (largest.ended - largest.started) / SECOND if known else None
    found["liquidation_cluster_detected"] = _detected(market, edge, touching) if known else None

    halves = [market.within(edge - 30 * SECOND * k, edge - 30 * SECOND * (k - 1)) for k in (1, 2)]
    late, early = (math.fsum(event.value for event in half) for half in halves)
    found["cascade_acceleration"] = (late - early) / 900 if known else None
    probability = _branching([market.count(edge - k * MINUTE) for k in range(180)])
    found["cascade_probability"] = probability
    worth = market.interest.get(edge)
    share = both / worth if both is not None and worth else None
    place = rank(share, _month(market, (edge - FIVE) // FIVE * FIVE, 1), 60)
    found["liquidated_share"], found["liquidated_share_rank"] = share, place
    found["cascade_severity"] = None
    if place is not None:
        severe = place >= 0.995 and probability is not None and probability >= 0.5
        band = "none" if place < 0.9 else "mild" if place < 0.97 else "moderate"
        found["cascade_severity"] = "severe" if severe else band
    found["exhaustion_signal"] = _exhausted(market, edge)
    found["absorption_after_liq"] = _absorbed(market, edge) if known else None
    return found
