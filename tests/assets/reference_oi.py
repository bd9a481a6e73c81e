"""The features of open interest once more, slowly: one value at a time from lists of records."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SECOND = 1_000_000
MINUTE, FIVE = 60 * SECOND, 300 * SECOND
ASKED = {"binance": 15 * SECOND, "kucoin": 15 * SECOND}
LEVERAGE = {5: 0.30, 10: 0.30, 25: 0.25, 50: 0.10, 100: 0.05}
MAINTENANCE = 0.005
MONTH, WEEK = 8640, 2016

Record = tuple[int, float]
Book = tuple[int, list[tuple[float, float]], list[tuple[float, float]]]
Row = dict[str, float | str | None]


@dataclass
class Venue:
    """What one venue told of one symbol; times in microseconds, each list in order."""

    symbol: str
    exchange: str
    bars: list[int]
    """Closing edges of the minutes that have a row."""
    oi: list[Record] = field(default_factory=list)
    marks: list[Record] = field(default_factory=list)
    volumes: list[Record] = field(default_factory=list)
    ratios: list[tuple[int, int, float]] = field(default_factory=list)
    """Time, time it came, ratio."""
    books: list[Book] = field(default_factory=list)


def last(records: Sequence[Record], at: int, stands: int) -> float | None:
    found = [record for record in records if record[0] <= at]
    return found[-1][1] if found and at - found[-1][0] <= stands else None


def standing_oi(venue: Venue, at: int) -> float | None:
    seen = [record for record in venue.oi if record[0] <= at]
    if not seen:
        return None
    limit = 600 * SECOND
    if venue.exchange in ASKED and len(seen) > 1:
        limit = min(limit, 2 * max(ASKED[venue.exchange], seen[-1][0] - seen[-2][0]))
    return seen[-1][1] if at - seen[-1][0] <= limit else None


def told_ratio(venue: Venue, at: int) -> float | None:
    known = [row for row in venue.ratios if max(row[0], row[1] - 2 * SECOND) <= at]
    if not known:
        return None
    latest = max(known, key=lambda row: (max(row[0], row[1] - 2 * SECOND), row[0]))
    return latest[2] if at - latest[0] <= 1200 * SECOND else None


class Reference:
    """Rows of all venues of one symbol."""

    def __init__(self, venues: list[Venue]) -> None:
        self.venues = venues
        self.oi: dict[tuple[str, int], float | None] = {}
        self.marks: dict[tuple[str, int], float | None] = {}

    def held(self, venue: Venue, at: int) -> float | None:
        key = venue.exchange, at
        if key not in self.oi:
            self.oi[key] = standing_oi(venue, at) if at in venue.bars else None
        return self.oi[key]

    def mark(self, venue: Venue, at: int) -> float | None:
        key = venue.exchange, at
        if key not in self.marks:
            self.marks[key] = last(venue.marks, at, 60 * SECOND) if at in venue.bars else None
        return self.marks[key]

    def value(self, venue: Venue, at: int) -> float | None:
        oi, mark = self.held(venue, at), self.mark(venue, at)
        return None if oi is None or mark is None else oi * mark

    def leverage(self, venue: Venue, at: int) -> float | None:
        value = self.value(venue, at)
        volume = last(venue.volumes, at, 300 * SECOND) if at in venue.bars else None
        return value / volume if value is not None and volume else None

    def row(self, venue: Venue, at: int) -> Row:
        def change(of: Callable[[Venue, int], float | None], end: int, span: int) -> float | None:
            now, then = of(venue, end), of(venue, end - span)
            return math.log(now / then) if now and then else None

        hour = change(self.held, at, 60 * MINUTE)
        before = change(self.held, at - 60 * MINUTE, 60 * MINUTE)
        edges = self._edges(venue, at)
        held_z, priced_z = (
            zscore(change(of, at, 15 * MINUTE), [change(of, edge, 15 * MINUTE) for edge in edges[-WEEK:]])
            for of in (self.held, self.mark)
        )
        oi, earlier = self.held(venue, at), self.held(venue, at - MINUTE)
        leverage = self.leverage(venue, at)
        together = correlation(
            [(change(self.held, at - k * FIVE, FIVE), change(self.mark, at - k * FIVE, FIVE)) for k in range(48)]
        )
        intent, score = intents(held_z, priced_z)
        row: Row = {
            "n_obs": sum(at - MINUTE < time <= at for time, _ in venue.oi),
            "oi": oi,
            "oi_value": self.value(venue, at),
            "oi_delta": None if oi is None or earlier is None else oi - earlier,
            "oi_delta_pct": None if hour is None else 100 * hour,
            "oi_delta_pct_5m": hundred(change(self.held, at, FIVE)),
            "oi_zscore": zscore(log(oi), [log(self.held(venue, edge)) for edge in edges[-MONTH:]]),
            "oi_momentum": hour,
            "oi_acceleration": None if hour is None or before is None else hour - before,
            "oi_price_delta_product": None if held_z is None or priced_z is None else held_z * priced_z,
            "oi_price_divergence": None if together is None else -together,
            "oi_price_correlation": together,
            "leverage_index": leverage,
            "leverage_zscore": zscore(log(leverage), [log(self.leverage(venue, edge)) for edge in edges[-MONTH:]]),
            "position_intent": intent,
            "position_intent_score": score,
            "assumed_long_share": 0.5,
            "assumed_maintenance_rate": MAINTENANCE,
        }
        return row | self._positioning(venue, at, edges) | self._liquidations(venue, at, edges) | self._venues(at)

    def _edges(self, venue: Venue, at: int) -> list[int]:
        latest = (at - 1) // FIVE * FIVE
        first = min(venue.bars)
        return [edge for edge in range(latest - MONTH * FIVE, latest + 1, FIVE) if edge >= first - FIVE]

    def _positioning(self, venue: Venue, at: int, edges: list[int]) -> Row:
        ratio = told_ratio(venue, at)
        usual = [log(told_ratio(venue, edge)) for edge in edges[-MONTH:] if edge in venue.bars]
        known = [value for value in usual if value is not None]
        row: Row = {
            "long_short_ratio": ratio,
            "long_short_kind": None if ratio is None else "accounts",
            "position_crowding_score": None,
            "crowded_side": None,
        }
        if ratio is not None and len(known) >= 60:
            mine = math.log(ratio)
            rank = (sum(value < mine for value in known) + 0.5 * sum(value == mine for value in known)) / len(known)
            middle = statistics.median(known)
            row |= {"position_crowding_score": 2 * abs(rank - 0.5), "crowded_side": (mine > middle) - (mine < middle)}
        return row

    def _liquidations(self, venue: Venue, at: int, edges: list[int]) -> Row:
        price, sigma = self.mark(venue, at), self._sigma(venue, at)
        row: Row = {"sigma_1h": sigma} | self._depth(venue, at, sigma)
        names = [f"{side}_{what}" for side in ("long", "short") for what in ("liquidation_notional", "trigger_pct")]
        row |= dict.fromkeys([*names, "liquidation_map_share", "liquidation_cascade_risk"])
        steps = [(edge, self.held(venue, edge)) for edge in edges]
        if sum(oi is not None for _, oi in steps[1:]) < 60 or price is None:
            return row | {"assumed_long_share": None, "assumed_maintenance_rate": None}
        cohorts = self._cohorts(venue, steps)
        row["liquidation_map_share"] = sum(base for _, base, _, _ in cohorts) / [oi for _, oi in steps if oi][-1]
        ratios = []
        for side, book in (("long", "bid"), ("short", "ask")):
            levels = []
            for entry, base, low, high in cohorts:
                for leverage, share in LEVERAGE.items():
                    if side == "long":
                        level = entry * (1 - 1 / leverage) / (1 - MAINTENANCE)
                        gone = level >= low or level >= price
                    else:
                        level = entry * (1 + 1 / leverage) / (1 + MAINTENANCE)
                        gone = level <= high or level <= price
                    if not gone:
                        levels.append((abs(level / price - 1), 0.5 * share * base))
            if sigma:
                notional = price * sum(base for distance, base in levels if distance <= sigma)
                row[f"{side}_liquidation_notional"] = notional
                depth, covered = row[f"{book}_depth_sigma"], row[f"{book}_depth_covered"]
                usable = isinstance(covered, float | int) and covered >= 0.5 and depth
                ratios.append(notional / depth if usable else None)  # type: ignore[operator]
            row[f"{side}_trigger_pct"] = trigger(levels)
        if len(ratios) == 2 and None not in ratios:
            worst = max(ratios)
            row["liquidation_cascade_risk"] = worst / (1 + worst)
        return row

    def _cohorts(self, venue: Venue, steps: list[tuple[int, float | None]]) -> list[tuple[float, float, float, float]]:
        """Entry price, base coin that is left, lowest and highest mark since, of each rise."""
        cohorts: list[list[float]] = []
        before = steps[0][1]
        for (earlier, oi_earlier), (edge, oi) in itertools.pairwise(steps):
            seen = [mark for time, mark in venue.marks if earlier < time <= edge and _minute(time) in venue.bars]
            for cohort in cohorts:
                cohort[2] = min([cohort[2], *seen])
                cohort[3] = max([cohort[3], *seen])
            if not oi:
                continue
            if before and oi < before:
                for cohort in cohorts:
                    cohort[1] *= oi / before
            entry = self.mark(venue, edge)
            if oi_earlier and oi > oi_earlier and entry:
                cohorts.append([entry, oi - oi_earlier, math.inf, -math.inf])
            before = oi
        return [(entry, base, low, high) for entry, base, low, high in cohorts]

    def _sigma(self, venue: Venue, at: int) -> float | None:
        returns = []
        for k in range(60):
            now, then = self.mark(venue, at - k * MINUTE), self.mark(venue, at - (k + 1) * MINUTE)
            if now and then:
                returns.append(math.log(now / then))
        return math.sqrt(60 * sum(r * r for r in returns) / len(returns)) if len(returns) >= 45 else None

    def _depth(self, venue: Venue, at: int, sigma: float | None) -> Row:
        row: Row = dict.fromkeys(f"{side}_depth_{what}" for side in ("bid", "ask") for what in ("sigma", "covered"))
        fresh = [book for book in venue.books if at - 5 * SECOND <= book[0] <= at]
        if not fresh or not sigma:
            return row
        _, bids, asks = fresh[-1]
        if bids[0][0] >= asks[0][0]:
            return row
        mid = (bids[0][0] + asks[0][0]) / 2
        for side, levels in (("bid", bids), ("ask", asks)):
            away = [(abs(price / mid - 1), price * qty) for price, qty in levels]
            row[f"{side}_depth_sigma"] = sum(value for distance, value in away if distance <= sigma)
            row[f"{side}_depth_covered"] = min(1.0, max(distance for distance, _ in away) / sigma)
        return row

    def _venues(self, at: int) -> Row:
        values = [value for venue in self.venues if (value := self.value(venue, at)) is not None]
        n, total = len(values), sum(values)
        row: Row = {"oi_venues": n, "oi_concentration": None}
        if n >= 2 and total:
            row["oi_concentration"] = (sum((v / total) ** 2 for v in values) - 1 / n) / (1 - 1 / n)
        return row


def _minute(time: int) -> int:
    return -(-time // MINUTE) * MINUTE


def trigger(levels: list[tuple[float, float]]) -> float | None:
    """Percent to the nearest level by which a tenth is liquidated."""
    wanted, held = 0.1 * sum(base for _, base in levels) * (1 - 1e-12), 0.0
    for distance, base in sorted(levels):
        held += base
        if base and held >= wanted:
            return 100 * distance
    return None


def intents(held: float | None, priced: float | None) -> tuple[str | None, float | None]:
    if held is None or priced is None:
        return None, None
    base = {
        (1, 1): ("long_build", 1.0),
        (1, -1): ("short_build", -1.0),
        (-1, -1): ("long_unwind", -0.5),
        (-1, 1): ("short_cover", 0.5),
    }
    signs = tuple((z > 0.5) - (z < -0.5) for z in (held, priced))
    label, score = base.get(signs, ("neutral", 0.0))
    return label, score * min(1, (abs(held) + abs(priced)) / 4)


def zscore(now: float | None, usual: Sequence[float | None]) -> float | None:
    known = [value for value in usual if value is not None]
    if now is None or len(known) < 60:
        return None
    mean = sum(known) / len(known)
    sd = math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return (now - mean) / sd if sd > 1e-12 * abs(mean) else None


def correlation(pairs: Sequence[tuple[float | None, float | None]]) -> float | None:
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    if len(known) < 30 or len({x for x, _ in known}) == 1 or len({y for _, y in known}) == 1:
        return None
    return statistics.correlation([x for x, _ in known], [y for _, y in known])


def log(value: float | None) -> float | None:
    return math.log(value) if value else None


def hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value
