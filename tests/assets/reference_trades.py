"""The trade features once more, slowly; see :mod:`tests.assets.reference`."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import stats

from tests.assets.reference import FIRST, MINUTE, QuoteTape, Row, between, closing_edges, total, weighted, zscore
from tests.assets.tape import END, SECOND, Print, Tape, us

WHALE_FLOOR = 10_000.0


@dataclass
class Parent:
    us: int
    side: str
    prints: list[Print] = field(default_factory=list)

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @cached_property
    def value(self) -> float:
        return math.fsum(trade.price * trade.qty for trade in self.prints)

    @property
    def qty(self) -> float:
        return math.fsum(trade.qty for trade in self.prints)

    @property
    def sweeps(self) -> bool:
        path = [trade.price * self.sign for trade in self.prints]
        return path == sorted(path) and len(set(path)) >= 3


def parents_of(tape: Tape) -> list[Parent]:
    found: dict[tuple[int, str], Parent] = {}
    for trade in tape.trades:
        found.setdefault((trade.us, trade.side), Parent(trade.us, trade.side)).prints.append(trade)
    return sorted(found.values(), key=lambda parent: parent.us)


def alive_bars(tapes: dict[str, Tape]) -> set[int]:
    """Bars in which any series of the market traded."""
    return {trade.us // MINUTE * MINUTE + MINUTE for tape in tapes.values() for trade in tape.trades}


def vwap_parts(tape: Tape) -> dict[int, tuple[float, float]]:
    parts: dict[int, tuple[float, float]] = {}
    for trade in tape.trades:
        edge = trade.us // MINUTE * MINUTE + MINUTE
        value, volume = parts.get(edge, (0.0, 0.0))
        parts[edge] = (value + trade.price * trade.qty, volume + trade.qty)
    return parts


def trade_rows(tape: Tape, bars: list[int], alive: set[int]) -> dict[int, Row]:
    """``bars`` are the closing edges that have a row."""
    parents = parents_of(tape)
    times = [parent.us for parent in parents]
    quotes = QuoteTape(tape)
    hidden = executions(tape, parents)
    tens = ten_seconds(parents, times, quotes)
    rows: dict[int, Row] = {}
    deltas: list[float | None] = []
    signed: list[float | None] = []
    moves: list[float | None] = []
    volumes: list[float | None] = []
    thresholds: dict[int, float | None] = {}
    flows: list[float | None] = []
    for closing in closing_edges():
        mine = parents[between(times, closing - MINUTE, closing)]
        lives = closing in alive and (closing in bars)
        row = _bar(mine, lives)
        rows[closing] = row
        deltas.append(row["cvd_delta"] if closing in bars else None)
        signed.append(row["aggressive_delta"] if closing in bars else None)
        volumes.append(row["total_volume"] if closing in bars else None)
        quarter_volume = total(volumes[-15:])
        flow = total(deltas[-15:])
        row["cvd_slope"] = flow / quarter_volume if quarter_volume and flow is not None else None
        row["cvd_zscore"] = zscore(deltas[-1], deltas[:-1])
        today = [
            delta
            for edge, delta in zip(closing_edges(), deltas, strict=False)
            if (edge - MINUTE) // (1440 * MINUTE) == (closing - MINUTE) // (1440 * MINUTE)
        ]
        row["cvd"] = total(today) if deltas[-1] is not None else None
        flows.append(total(signed[-15:]))
        now, then = _mid(quotes, closing, bars), _mid(quotes, closing - 15 * MINUTE, bars)
        moves.append(math.log(now / then) if now and then else None)
        a, b = zscore(flows[-1], flows[:-1]), zscore(moves[-1], moves[:-1])
        row["cvd_price_divergence"] = a - b if a is not None and b is not None else None
        row |= _sizes(parents, times, closing, thresholds, lives)
        row |= _kyle(tens, closing)
        row["trade_clustering_index"] = _clustering(tens, closing, alive.intersection(bars))
        row["iceberg_probability"] = _iceberg(hidden, closing)
        row |= _costs(parents, times, quotes, closing)
    return {closing: row for closing, row in rows.items() if closing in bars}


def _mid(quotes: QuoteTape, moment: int, bars: list[int]) -> float | None:
    return quotes.mid(moment) if moment in bars else None


def _bar(parents: list[Parent], lives: bool) -> Row:
    names = (
        "cvd_delta", "aggressive_delta", "total_volume", "buy_volume", "sell_volume", "sweep_detected", "parent_count",
        "aggressive_ratio", "buy_pressure", "sell_pressure", "avg_trade_size", "vwap",
    )  # fmt: skip
    row: Row = dict.fromkeys(names)
    row["n_obs"] = sum(len(parent.prints) for parent in parents)
    if not parents:
        if lives:
            row |= dict.fromkeys(names[:5], 0.0) | {"sweep_detected": False, "parent_count": 0}
        return row
    prints = [trade for parent in parents for trade in parent.prints]
    bought = [trade for trade in prints if trade.side == "buy"]
    sold = [trade for trade in prints if trade.side == "sell"]
    buy_volume, sell_volume = (math.fsum(trade.qty for trade in side) for side in (bought, sold))
    buy_value, sell_value = (math.fsum(trade.qty * trade.price for trade in side) for side in (bought, sold))
    buyers = sum(parent.side == "buy" for parent in parents)
    return row | {
        "cvd_delta": buy_volume - sell_volume,
        "aggressive_delta": buy_value - sell_value,
        "total_volume": buy_volume + sell_volume,
        "buy_volume": buy_volume,
        "sell_volume": sell_volume,
        "sweep_detected": any(parent.sweeps for parent in parents),
        "parent_count": len(parents),
        "aggressive_ratio": buy_value / (buy_value + sell_value),
        "buy_pressure": buyers / len(parents),
        "sell_pressure": 1 - buyers / len(parents),
        "avg_trade_size": (buy_value + sell_value) / len(parents),
        "vwap": (buy_value + sell_value) / (buy_volume + sell_volume),
    }


def _sizes(
    parents: list[Parent], times: list[int], closing: int, thresholds: dict[int, float | None], lives: bool
) -> Row:
    earlier = [parent.value for parent in parents[: bisect_left(times, closing - MINUTE)]]
    thresholds[closing] = max(float(np.percentile(earlier, 99.5)), WHALE_FLOOR) if len(earlier) >= 60 else None
    mine = parents[between(times, closing - MINUTE, closing)]
    quarter = parents[between(times, closing - 15 * MINUTE, closing)]
    limits = [(parent, thresholds.get(parent.us // MINUTE * MINUTE + MINUTE)) for parent in quarter]
    judged = [(parent, limit) for parent, limit in limits if limit is not None]
    whales = [parent for parent, limit in judged if parent.value >= limit]
    value = sum(parent.value for parent, _ in judged)
    sizes = [parent.value for parent in quarter]
    limit = thresholds[closing]
    changes = [b.prints[-1].price - a.prints[-1].price for a, b in pairwise(quarter)]
    covariance = statistics.covariance(changes[1:], changes[:-1]) if len(changes) > 60 else 0.0
    return {
        "whale_threshold": limit,
        "whale_trade_detected": any(parent.value >= limit for parent in mine) if limit and (mine or lives) else None,
        "whale_volume_ratio": sum(parent.value for parent in whales) / value if value else None,
        "signed_whale_ratio": sum(parent.sign * parent.value for parent in whales) / value if value else None,
        "trade_size_stddev": statistics.stdev(sizes) if len(sizes) >= 10 else None,
        "trade_size_log_stddev": statistics.stdev(map(math.log, sizes)) if len(sizes) >= 10 else None,
        "roll_spread": 2 * math.sqrt(-covariance) if covariance < 0 else None,
    }


def _costs(parents: list[Parent], times: list[int], quotes: QuoteTape, closing: int) -> Row:
    now = [
        (parent.value, _spread(parent, mid, mid))
        for parent in parents[between(times, closing - MINUTE, closing)]
        if (mid := _mid_before(quotes, parent.us))
    ]
    earlier = [
        (parent.value, _spread(parent, mid, mid), _spread(parent, later, mid))
        for parent in parents[between(times, closing - 2 * MINUTE, closing - MINUTE)]
        if (mid := _mid_before(quotes, parent.us)) and (later := quotes.mid(parent.us + MINUTE))
    ]
    return {
        "effective_spread_bps": weighted(now),
        "realized_spread_bps_60s": weighted([(value, realized) for value, _, realized in earlier]),
        "price_impact_bps_60s": weighted([(value, effective - realized) for value, effective, realized in earlier]),
    }


def _spread(parent: Parent, reference: float, mid: float) -> float:
    return 2e4 * parent.sign * (parent.value / parent.qty - reference) / mid


def _mid_before(quotes: QuoteTape, moment: int) -> float | None:
    index = bisect_left(quotes.times, moment) - 1
    if index < 0 or moment - quotes.times[index] > 5 * SECOND:
        return None
    quote = quotes.quotes[index]
    return (quote.bid + quote.ask) / 2 if quotes.valid(quote) else None  # type: ignore[operator]


Ten = dict[int, tuple[int, float, float | None]]


def ten_seconds(parents: list[Parent], times: list[int], quotes: QuoteTape) -> Ten:
    """Number of parents, signed value in USD mn and mid return in bps of each 10 s, by opening edge."""
    found: Ten = {}
    for opening in range(FIRST - 3600 * SECOND, us(END), 10 * SECOND):
        mine = parents[between(times, opening, opening + 10 * SECOND)]
        start, stop = quotes.mid(opening), quotes.mid(opening + 10 * SECOND)
        flow = sum(parent.sign * parent.value for parent in mine) / 1e6
        found[opening] = (len(mine), flow, 1e4 * math.log(stop / start) if start and stop else None)
    return found


def _kyle(tens: Ten, closing: int) -> Row:
    hour = [tens[opening] for opening in range(closing - 3600 * SECOND, closing, 10 * SECOND)]
    both = [(flow, moved) for count, flow, moved in hour if count and moved is not None]
    if len(both) < 60:
        return dict.fromkeys(("market_impact_per_volume", "market_impact_tstat", "market_impact_r2"))
    fit = stats.linregress(*zip(*both, strict=True))
    return {
        "market_impact_per_volume": fit.slope,
        "market_impact_tstat": fit.slope / fit.stderr,
        "market_impact_r2": fit.rvalue**2,
    }


def _clustering(tens: Ten, closing: int, alive: set[int]) -> float | None:
    counts = [
        tens[opening][0]
        for opening in range(closing - 3600 * SECOND, closing, 10 * SECOND)
        if tens[opening][0] or opening // MINUTE * MINUTE + MINUTE in alive
    ]
    if len(counts) < 60 or not statistics.variance(counts):
        return None
    return min(1.0, max(0.0, 1 - math.sqrt(statistics.mean(counts) / statistics.variance(counts))))


def executions(tape: Tape, parents: list[Parent]) -> list[tuple[int, bool, float, float]]:
    """When each parent was reported, whether a young book was seen, size executed, size hidden."""
    times = [book.us for book in tape.books]
    found = []
    for parent in parents:
        before, after = bisect_left(times, parent.us) - 1, bisect_right(times, parent.us)
        following = tape.books[after] if after < len(times) else None
        deadline = parent.us + 5 * SECOND
        reported = min(following.us, deadline) if following else deadline
        seen = before >= 0 and parent.us - times[before] <= 250_000
        executed = hidden = 0.0
        if seen:
            levels = (tape.books[before].asks if parent.side == "buy" else tape.books[before].bids)[:10]
            reach = max(parent.sign * price for price, _ in levels)
            shown = dict(levels)
            per_price: dict[float, float] = defaultdict(float)
            for trade in parent.prints:
                per_price[trade.price] += trade.qty
            for price, qty in per_price.items():
                if parent.sign * price > reach:
                    continue
                executed += qty
                if following and following.us <= deadline:
                    best = (following.asks if parent.side == "buy" else following.bids)[0][0]
                    if best == price:
                        hidden += max(0.0, qty - shown.get(price, 0.0))
        found.append((reported, seen, executed, hidden))
    return found


def _iceberg(hidden: list[tuple[int, bool, float, float]], closing: int) -> float | None:
    window = [item for item in hidden if closing - 15 * MINUTE <= item[0] < closing]
    unseen = sum(not seen for _, seen, _, _ in window)
    executed = sum(qty for _, _, qty, _ in window)
    if not window or unseen > 0.2 * len(window) or not executed:
        return None
    return sum(qty for _, _, _, qty in window) / executed


def bars_with_rows(tape: Tape) -> list[int]:
    """Closing edges of the bars that had a quote (closing edge included) or a trade."""
    quoted = {-(-quote.us // MINUTE) * MINUTE for quote in tape.quotes}
    traded = {trade.us // MINUTE * MINUTE + MINUTE for trade in tape.trades}
    return sorted(edge for edge in quoted | traded if FIRST < edge <= us(END))
