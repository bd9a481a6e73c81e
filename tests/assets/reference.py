"""The features once more, slowly: loops over records, dictionaries and the standard library.

Written from the definitions and sharing no code with what it checks. ``None`` is NULL. A bar is named by its closing
edge in microseconds.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from tests.assets.tape import END, SECOND, START, Quote, Snapshot, Tape, us

MINUTE = 60 * SECOND
STALE = 5 * SECOND
FIRST, LAST = us(START), us(END)
Row = dict[str, float | bool | None]


def closing_edges() -> list[int]:
    return list(range(FIRST + MINUTE, LAST + 1, MINUTE))


def zscore(value: float | None, past: Iterable[float | None]) -> float | None:
    known = [x for x in past if x is not None]
    if value is None or len(known) < 60:
        return None
    mean, sd = statistics.fmean(known), statistics.stdev(known)
    return None if sd <= 1e-12 * abs(mean) else (value - mean) / sd


def mean(values: Iterable[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return math.fsum(known) / len(known) if known else None


def total(values: Iterable[float | None]) -> float | None:
    known = [x for x in values if x is not None]
    return math.fsum(known) if known else None


def ols_slope(points: Sequence[tuple[float, float]]) -> float:
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


class QuoteTape:
    """The quotes of one series, with book sizes where they have none."""

    def __init__(self, tape: Tape) -> None:
        self.quotes = [self._sized(quote, tape.books) for quote in tape.quotes]
        self.times = [quote.us for quote in self.quotes]

    @staticmethod
    def _sized(quote: Quote, books: list[Snapshot]) -> Quote:
        if quote.bid_qty is not None and quote.ask_qty is not None:
            return quote
        earlier = books[: bisect_right(books, quote.us, key=lambda book: book.us)][-1:]
        if not earlier or quote.us - earlier[0].us > SECOND:
            return Quote(quote.us, quote.bid, quote.ask, None, None)
        return Quote(quote.us, quote.bid, quote.ask, earlier[0].bids[0][1], earlier[0].asks[0][1])

    @staticmethod
    def valid(quote: Quote) -> bool:
        return quote.bid is not None and quote.ask is not None and quote.bid < quote.ask

    def standing(self, moment: int) -> Quote | None:
        index = bisect_right(self.times, moment) - 1
        if index < 0 or moment - self.times[index] > STALE or not self.valid(self.quotes[index]):
            return None
        return self.quotes[index]

    def mid(self, moment: int) -> float | None:
        quote = self.standing(moment)
        return (quote.bid + quote.ask) / 2 if quote else None  # type: ignore[operator]

    def lives(self, opening: int, closing: int) -> list[tuple[float, Quote]]:
        """Seconds each valid quote stood inside the bar."""
        found = []
        for index in range(max(0, bisect_right(self.times, opening - STALE) - 1), bisect_right(self.times, closing)):
            quote = self.quotes[index]
            following = self.times[index + 1] if index + 1 < len(self.times) else quote.us + STALE
            life = min(following, quote.us + STALE, closing) - max(quote.us, opening)
            if life > 0 and self.valid(quote):
                found.append((life / SECOND, quote))
        return found


def weighted(pairs: list[tuple[float, float]]) -> float | None:
    weight = math.fsum(w for w, _ in pairs)
    return math.fsum(w * x for w, x in pairs) / weight if weight else None


def price_rows(tape: Tape, vwap_parts: dict[int, tuple[float, float]]) -> dict[int, Row]:
    """``vwap_parts`` are value and volume traded, by bar."""
    quotes = QuoteTape(tape)
    shifts = microprice_shifts(tape, quotes)
    rows: dict[int, Row] = {}
    past: list[Row] = []
    for closing in closing_edges():
        opening = closing - MINUTE
        published = bisect_right(quotes.times, closing) - bisect_right(quotes.times, opening)
        if not published and closing not in vwap_parts:
            past.append({})
            continue
        row = _levels(quotes, opening, closing) | {"n_obs": published}
        mid = row["mid_price"]
        row |= _micro(quotes.standing(closing), shifts if opening >= us(END.replace(hour=0, minute=0)) else {}, tape)
        row["microprice_zscore"] = zscore(row["microprice_deviation"], (p.get("microprice_deviation") for p in past))
        row |= _spread_judged(row, past, tape.tick)
        seconds = [quotes.standing(closing - k * SECOND) for k in range(59, -1, -1)]
        known = [
            (float(k), math.log((q.ask - q.bid) / (q.ask + q.bid)))  # type: ignore[operator]
            for k, q in enumerate(seconds)
            if q
        ]
        row["spread_compression_velocity"] = 60 * ols_slope(known) if len(known) >= 30 else None
        traded = [vwap_parts[edge] for edge in range(closing - 59 * MINUTE, closing + 1, MINUTE) if edge in vwap_parts]
        volume = sum(v for _, v in traded)
        row["vwap_1h"] = sum(v for v, _ in traded) / volume if volume else None
        row["price_vs_vwap"] = 1e4 * (mid / row["vwap_1h"] - 1) if mid and row["vwap_1h"] else None
        row["vwap_deviation"] = row["price_vs_vwap"]
        row |= _walk([quotes.mid(closing - k * SECOND) for k in range(900, -1, -1)])
        row["mid_zscore"] = zscore(
            math.log(mid) if mid else None,
            [math.log(p["mid_price"]) if p.get("mid_price") else None for p in past[-240:]],  # type: ignore[arg-type]
        )
        tens = [quotes.mid(closing - k * 10 * SECOND) for k in range(360, -1, -1)]
        squares = [math.log(b / a) ** 2 for a, b in pairwise(tens) if a and b]
        row["realized_variance_1h"] = math.fsum(squares) if len(squares) >= 324 else None
        row["hurst_exponent"] = row["hurst_stderr"] = None
        rows[closing] = row
        past.append(row)
    return rows


def _levels(quotes: QuoteTape, opening: int, closing: int) -> Row:
    now = quotes.standing(closing)
    lives = quotes.lives(opening, closing)
    sized = [(life, q) for life, q in lives if q.bid_qty and q.ask_qty]
    spreads = [(life, q.ask - q.bid) for life, q in lives]  # type: ignore[operator]
    relative = [(life, 1e4 * (q.ask - q.bid) / ((q.ask + q.bid) / 2)) for life, q in lives]  # type: ignore[operator]
    bid_share = weighted([(life, q.bid_qty / (q.bid_qty + q.ask_qty)) for life, q in sized])  # type: ignore[operator]
    log_ratio = weighted([(life, math.log(q.bid_qty / q.ask_qty)) for life, q in sized])  # type: ignore[operator]
    return {
        "mid_price": quotes.mid(closing),
        "bid_price": now.bid if now else None,
        "ask_price": now.ask if now else None,
        "spread": weighted(spreads),
        "spread_bps": weighted(relative),
        "pressure_ratio": math.exp(log_ratio) if log_ratio is not None else None,
        "bid_pressure": bid_share,
        "ask_pressure": 1 - bid_share if bid_share is not None else None,
    }


def _spread_judged(row: Row, past: list[Row], tick: float) -> Row:
    logs = [math.log(p["spread_bps"]) if p.get("spread_bps") else None for p in past]  # type: ignore[arg-type]
    now = math.log(row["spread_bps"]) if row["spread_bps"] else None
    spreads = [p["spread"] for p in past if p.get("spread")]
    pinned = sum(1 for spread in spreads if round(spread / tick, 5) <= 1)  # type: ignore[operator]
    z = zscore(now, logs)
    if spreads and pinned > 0.9 * len(spreads):
        z = None
    return {"spread_zscore": z, "spread_expansion_spike": max(0.0, z - 2) if z is not None else None}


def _state(quote: Quote | None, tick: float) -> tuple[int, int] | None:
    if quote is None or not quote.bid_qty or not quote.ask_qty:
        return None
    share = quote.bid_qty / (quote.bid_qty + quote.ask_qty)
    return min(9, int(share * 10)), min(4, round((quote.ask - quote.bid) / tick))  # type: ignore[operator]


def _micro(quote: Quote | None, shifts: dict[tuple[int, int], float], tape: Tape) -> Row:
    row: Row = {"microprice": None, "microprice_deviation": None, "weighted_mid": None}
    state = _state(quote, tape.tick)
    if quote is None or state is None:
        return row
    mid = (quote.bid + quote.ask) / 2  # type: ignore[operator]
    row["weighted_mid"] = (quote.ask * quote.bid_qty + quote.bid * quote.ask_qty) / (  # type: ignore[operator]
        quote.bid_qty + quote.ask_qty  # type: ignore[operator]
    )
    if state in shifts:
        row["microprice"] = mid + shifts[state] * tape.tick
        row["microprice_deviation"] = 1e4 * shifts[state] * tape.tick / mid
    return row


def microprice_shifts(tape: Tape, quotes: QuoteTape) -> dict[tuple[int, int], float]:
    """Shifts by following the process: expected move until the next six mid changes, by iteration."""
    midnight = us(END.replace(hour=0, minute=0))
    grid = [quotes.standing(moment) for moment in range(FIRST, midnight + 1, SECOND)]
    steps = []
    for before, after in pairwise(grid):
        a, b = _state(before, tape.tick), _state(after, tape.tick)
        if a and b:
            change = ((after.bid + after.ask) - (before.bid + before.ask)) / 2 / tape.tick  # type: ignore[union-attr, operator]
            move = max(-1.0, min(1.0, round(2 * change) / 2))
            steps += [(a, b, move), ((9 - a[0], a[1]), (9 - b[0], b[1]), -move)]
    if len(steps) < 2 * 3600:
        return {}
    leaving: dict[tuple[int, int], list[tuple[tuple[int, int], float]]] = {}
    for a, b, move in steps:
        leaving.setdefault(a, []).append((b, move))
    usable = {a for a, targets in leaving.items() if any(move for _, move in targets)}
    while grown := {a for a in leaving if a not in usable and any(not m and b in usable for b, m in leaving[a])}:
        usable |= grown

    def settle(reward: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
        """Expected reward collected at the first mid change, by value iteration."""
        value = dict.fromkeys(usable, 0.0)
        counts = {a: [(b, m) for b, m in leaving[a] if not m and b in usable] for a in usable}
        for _ in range(3000):
            fresh = {a: reward[a] + math.fsum(value[b] for b, _ in counts[a]) / len(leaving[a]) for a in usable}
            moved = max(abs(fresh[a] - value[a]) for a in usable)
            value = fresh
            if moved < 1e-13:
                break
        return value

    first = settle({a: sum(m for _, m in leaving[a]) / len(leaving[a]) for a in usable})
    term, shift = first, dict(first)
    for _ in range(6):
        term = settle({a: sum(term[b] for b, m in leaving[a] if m and b in usable) / len(leaving[a]) for a in usable})
        shift = {a: shift[a] + term[a] for a in usable}
    return shift


def _walk(mids: list[float | None]) -> Row:
    """Variance ratio, reversals and entropy of 901 one-second mids."""
    logs = [math.log(m) if m else None for m in mids]
    ones = [b - a if a is not None and b is not None else None for a, b in pairwise(logs)]
    tens = [b - a if a is not None and b is not None else None for a, b in zip(logs, logs[10:], strict=False)]
    r, q = [x for x in ones if x is not None], [x for x in tens if x is not None]
    row: Row = dict.fromkeys(
        ("price_efficiency", "variance_ratio", "variance_ratio_z", "tick_reversal_rate", "mid_price_entropy")
    )
    if len(r) >= 60 and len(set(r)) > 1:
        mu, n = statistics.fmean(r), len(r)
        one = math.fsum((x - mu) ** 2 for x in r) / (n - 1)
        ten = math.fsum((x - 10 * mu) ** 2 for x in q) / (10 * len(q) * (1 - 10 / n))
        ratio = ten / one
        theta = 0.0
        for lag in range(1, 10):
            cross = math.fsum(
                (a - mu) ** 2 * (b - mu) ** 2
                for a, b in zip(ones, ones[lag:], strict=False)
                if a is not None and b is not None
            )
            theta += (2 * (10 - lag) / 10) ** 2 * cross / math.fsum((x - mu) ** 2 for x in r) ** 2
        row["variance_ratio"], row["variance_ratio_z"] = ratio, (ratio - 1) / math.sqrt(theta) if theta else None
        row["price_efficiency"] = 1 - min(1, abs(ratio - 1))
    signs = ["+" if b > a else "-" for a, b in pairwise(mids) if a and b and a != b]
    if len(signs) >= 20:
        row["tick_reversal_rate"] = sum(a != b for a, b in pairwise(signs)) / (len(signs) - 1)
    words = ["".join(word) for word in zip(signs, signs[1:], signs[2:], strict=False)]
    if len(words) >= 60:
        shares = [words.count(word) / len(words) for word in set(words)]
        row["mid_price_entropy"] = -math.fsum(p * math.log2(p) for p in shares) / 3
    return row


def median_before(past: Sequence[float | None]) -> float | None:
    known = [x for x in past if x is not None]
    return statistics.median(known) if len(known) >= 60 else None


def between(times: list[int], opening: int, closing: int) -> slice:
    """Events of a bar: from its opening edge up to, and without, its closing edge."""
    return slice(bisect_left(times, opening), bisect_left(times, closing))
