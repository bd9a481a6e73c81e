"""The order book features once more, slowly; see :mod:`tests.assets.reference`."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from tests.assets.reference import (
    FIRST,
    LAST,
    MINUTE,
    STALE,
    Row,
    between,
    closing_edges,
    mean,
    median_before,
    ols_slope,
)
from tests.assets.tape import SECOND, Snapshot, Tape

Levels = list[tuple[float, float]]
NEAR = 25 * (1 + 1e-9)


class BookTape:
    def __init__(self, tape: Tape) -> None:
        self.books = tape.books
        self.times = [book.us for book in tape.books]
        self.seconds = {moment: self._standing(moment) for moment in range(FIRST - 20 * SECOND, LAST + 1, SECOND)}
        self.walls = {(side, moment): self._walls(moment, side) for moment in self.seconds for side in ("bids", "asks")}
        self.traded: dict[tuple[str, int, float], float] = defaultdict(float)
        for trade in tape.trades:
            side = "asks" if trade.side == "buy" else "bids"
            self.traded[side, -(-trade.us // SECOND) * SECOND, trade.price] += trade.qty

    def _standing(self, moment: int) -> Snapshot | None:
        index = bisect_right(self.times, moment) - 1
        if index < 0 or moment - self.times[index] > STALE:
            return None
        book = self.books[index]
        return book if book.bids[0][0] < book.asks[0][0] else None

    def at(self, side: str, moment: int) -> Levels | None:
        book = self.seconds.get(moment)
        return getattr(book, side) if book else None

    def _walls(self, moment: int, side: str) -> dict[float, float]:
        book = self.seconds[moment]
        if book is None:
            return {}
        levels = getattr(book, side)[:10]
        sizes = [qty for _, qty in levels]
        middle = statistics.median(sizes)
        mad = statistics.median(abs(qty - middle) for qty in sizes)
        mid = (book.bids[0][0] + book.asks[0][0]) / 2
        return {
            price: qty
            for price, qty in levels
            if mad > 0 and qty > middle + 6 * 1.4826 * mad and abs(price - mid) / mid * 1e4 <= NEAR
        }


def _covers(levels: Iterable[float], side: str, price: float) -> bool:
    return price >= min(levels) if side == "bids" else price <= max(levels)


def book_rows(tape: Tape, trades: dict[int, Row]) -> dict[int, Row]:
    """``trades`` are the rows of the trade features, for lambda and the flow; mids come with them."""
    books = BookTape(tape)
    live = {moment // MINUTE for moment in books.times}
    logs = {
        moment: _log_depth(book) if (moment - SECOND) // MINUTE in live else None
        for moment, book in books.seconds.items()
    }
    rows: dict[int, Row] = {}
    past: list[Row] = []
    flows: list[float | None] = []
    for closing in closing_edges():
        opening = closing - MINUTE
        published = len(books.times[between(books.times, opening, closing)])
        trade = trades.get(closing, {})
        flow = trade.get("aggressive_delta")
        usual = median_before([abs(x) if x is not None else None for x in flows])
        flows.append(flow)
        if not published:
            past.append({})
            continue
        moments = range(opening + SECOND, closing + 1, SECOND)
        seconds = [books.seconds[moment] for moment in moments]
        row = _depths(seconds) | _changes(books, list(moments)) | _walls(books, list(moments))
        row["n_obs"] = published
        row |= _ofi(books, opening, closing) | _resiliency(logs, closing)
        for name, side in (("support_strength", "bid"), ("resistance_strength", "ask")):
            norm = median_before([p.get(f"{side}_depth_25bps") for p in past])
            value = row[f"{side}_depth_25bps"]
            row[name] = value / norm if norm and value is not None else None
        row |= _absorption(flow, usual, trades.get(closing - MINUTE, {}), trade)
        row |= _level_flow(books, list(moments))
        rows[closing] = row
        past.append(row)
    _integrate(rows)
    return rows


def _level_flow(books: BookTape, moments: list[int]) -> Row:
    sizes = [
        (book.bids[level][1] + book.asks[level][1]) / 2
        for book in map(books.seconds.get, moments)
        if book
        for level in range(10)
    ]
    row: Row = {}
    for level in range(10):
        flows = []
        for moment in moments:
            now, then = books.seconds[moment], books.seconds[moment - SECOND]
            if now and then:
                (b, qb), (b0, qb0) = now.bids[level], then.bids[level]
                (a, qa), (a0, qa0) = now.asks[level], then.asks[level]
                bid = qb - qb0 if b == b0 else (qb if b > b0 else -qb0)
                ask = qa - qa0 if a == a0 else (qa if a < a0 else -qa0)
                flows.append(bid - ask)
        row[f"mlofi_{level + 1}"] = math.fsum(flows) / statistics.fmean(sizes) if flows else None
    return row


def _integrate(rows: dict[int, Row]) -> None:
    """Weights by singular values of the centred flows of the first day, for the rows of the second."""
    names = [f"mlofi_{level}" for level in range(1, 11)]
    midnight = LAST // (1440 * MINUTE) * (1440 * MINUTE)
    known = [[row[name] for name in names] for edge, row in rows.items() if edge <= midnight]
    flows = np.array([flow for flow in known if None not in flow], dtype=float)
    if len(flows) >= 60:
        weights = np.linalg.svd(flows - flows.mean(axis=0))[2][0]
        weights = weights / np.abs(weights).sum() * np.sign(weights.sum())
    for edge, row in rows.items():
        flow = [row[name] for name in names]
        judged = edge > midnight and len(flows) >= 60 and None not in flow
        row["mlofi"] = float(np.dot(weights, np.array(flow, dtype=float))) if judged else None


def _notional(levels: Levels) -> float:
    return sum(p * q for p, q in levels)


def _size(levels: Levels) -> float:
    return sum(q for _, q in levels)


def _depths(seconds: list[Snapshot | None]) -> Row:
    measured = [_depth(book) if book else {} for book in seconds]
    names = {name for second in measured for name in second}
    row: Row = {name: mean(second.get(name) for second in measured) for name in names}
    distances = [(float(k), second["distance"]) for k, second in enumerate(measured) if second]
    row["liquidity_migration_velocity"] = 60 * ols_slope(distances) if len(distances) >= 30 else None
    row["vwap_depth"] = measured[-1].get("vwap_depth")
    row["vwap_depth_bps"] = measured[-1].get("vwap_depth_bps")
    return row


def _depth(book: Snapshot) -> dict[str, float]:
    mid = (book.bids[0][0] + book.asks[0][0]) / 2
    away = {side: [abs(p - mid) / mid * 1e4 for p, _ in getattr(book, side)] for side in ("bids", "asks")}
    reach = min(50.0, max(away["bids"]), max(away["asks"]))

    def band(side: str, limit: float) -> float:
        levels = [level for level, d in zip(getattr(book, side), away[side], strict=True) if d <= limit * (1 + 1e-9)]
        return _notional(levels)

    product = square = 0.0
    for side in ("bids", "asks"):
        running = 0.0
        for (p, q), d in zip(getattr(book, side), away[side], strict=True):
            running += p * q
            product, square = product + d * running, square + d * d
    best = book.bids[:10] + book.asks[:10]
    size = _size(best)
    shares = [q / size for _, q in best]
    centre = _notional(best) / _size(best)
    b5, a5, b10, a10 = (_size(levels) for levels in (book.bids[:5], book.asks[:5], book.bids[:10], book.asks[:10]))
    inner, outer = band("bids", reach), band("asks", reach)
    return {
        "depth_imbalance_5": (b5 - a5) / (b5 + a5),
        "depth_imbalance_10": (b10 - a10) / (b10 + a10),
        "cumulative_depth_imbalance": (inner - outer) / (inner + outer),
        "coverage_bps": reach,
        "liquidity_gradient": product / square,
        "liquidity_concentration_idx": (sum(w * w for w in shares) - 1 / 20) / (19 / 20),
        "bid_depth_5": _notional(book.bids[:5]),
        "ask_depth_5": _notional(book.asks[:5]),
        "bid_depth_10": _notional(book.bids[:10]),
        "ask_depth_10": _notional(book.asks[:10]),
        "bid_depth_25bps": band("bids", 25),
        "ask_depth_25bps": band("asks", 25),
        "distance": math.fsum(q * abs(p - mid) / mid * 1e4 for p, q in best) / _size(best),
        "vwap_depth": centre,
        "vwap_depth_bps": 1e4 * (centre / mid - 1),
    }


def _changes(books: BookTape, moments: list[int]) -> Row:
    added = cancelled = 0.0
    seen = False
    survival = []
    for moment in moments:
        if books.seconds[moment] and books.seconds[moment - SECOND]:
            seen = True
            for side in ("bids", "asks"):
                now, then = dict(books.at(side, moment)[:10]), dict(books.at(side, moment - SECOND)[:10])  # type: ignore[index]
                for price in {*now, *then}:
                    if not (_covers(now, side, price) and _covers(then, side, price)):
                        continue
                    change = now.get(price, 0.0) - then.get(price, 0.0)
                    taken = books.traded.get((side, moment, price), 0.0)
                    added += max(0.0, change)
                    cancelled += max(0.0, -change - taken)
        if books.seconds[moment] and books.seconds[moment - 10 * SECOND]:
            still = stood = 0.0
            for side in ("bids", "asks"):
                now = dict(books.at(side, moment))  # type: ignore[arg-type]
                for price, qty in books.at(side, moment - 10 * SECOND)[:10]:  # type: ignore[index]
                    if _covers(now, side, price):
                        stood += qty
                        still += min(qty, now.get(price, 0.0))
            if stood:
                survival.append(still / stood)
    return {
        "add_cancel_ratio": added / (added + cancelled) if seen and added + cancelled else None,
        "liquidity_persistence_score": mean(survival),
    }


def _walls(books: BookTape, moments: list[int]) -> Row:
    if not any(books.seconds[moment] for moment in moments):
        return dict.fromkeys(("pull_wall_detected", "push_wall_detected", "bid_wall_detected", "ask_wall_detected"))
    sides = ("bids", "asks")
    last = moments[-1]
    known = books.seconds[last] is not None
    return {
        "pull_wall_detected": any(_pulled(books, side, moment) for moment in moments for side in sides),
        "push_wall_detected": any(_pushed(books, side, moment) for moment in moments for side in sides),
        "bid_wall_detected": bool(books.walls["bids", last]) if known else None,
        "ask_wall_detected": bool(books.walls["asks", last]) if known else None,
    }


def _pulled(books: BookTape, side: str, moment: int) -> bool:
    now = books.at(side, moment)
    if now is None:
        return False
    before = moment - SECOND
    for price, qty in books.walls.get((side, before), {}).items():
        stood = all(price in books.walls.get((side, before - k * SECOND), {}) for k in range(1, 6))
        if not stood or not _covers(dict(now[:10]), side, price):
            continue
        loss = qty - dict(now[:10]).get(price, 0.0)
        if loss >= 0.8 * qty and books.traded.get((side, moment, price), 0.0) < 0.2 * loss:
            return True
    return False


def _pushed(books: BookTape, side: str, moment: int) -> bool:
    """Whether a wall of two seconds ago was new then and still stands."""
    then, earlier = moment - 2 * SECOND, moment - 7 * SECOND
    old = books.at(side, earlier)
    if old is None:
        return False
    for price, qty in books.walls.get((side, then), {}).items():
        stands = all(price in books.walls.get((side, then + k * SECOND), {}) for k in (1, 2))
        if not stands or not _covers(dict(old[:10]), side, price):
            continue
        if price not in books.walls[side, earlier] or qty > 3 * dict(old[:10]).get(price, 0.0):
            return True
    return False


def _ofi(books: BookTape, opening: int, closing: int) -> Row:
    flows, depths = [], []
    for index in range(bisect_left(books.times, opening), bisect_left(books.times, closing)):
        book = books.books[index]
        (b, qb), (a, qa) = book.bids[0], book.asks[0]
        if b >= a:
            continue
        depths.append((qb + qa) / 2)
        if not index:
            continue
        was = books.books[index - 1]
        (b0, qb0), (a0, qa0) = was.bids[0], was.asks[0]
        if b0 >= a0 or book.us - was.us > STALE:
            continue
        bid = qb - qb0 if b == b0 else (qb if b > b0 else -qb0)
        ask = qa - qa0 if a == a0 else (qa if a < a0 else -qa0)
        flows.append(bid - ask)
    ofi = math.fsum(flows) if flows else None
    return {
        "ofi_cks": ofi,
        "queue_position_drift": ofi / statistics.fmean(depths) if ofi is not None else None,
    }


def _log_depth(book: Snapshot | None) -> float | None:
    if book is None:
        return None
    mid = (book.bids[0][0] + book.asks[0][0]) / 2
    size = math.fsum(q for p, q in book.bids + book.asks if abs(p - mid) / mid * 1e4 <= 10 * (1 + 1e-9))
    return math.log(size) if size else None


def _resiliency(logs: dict[int, float | None], closing: int) -> Row:
    moments = range(closing - 3600 * SECOND + SECOND, closing + 1, SECOND)
    known = [logs[moment] for moment in moments if logs.get(moment) is not None]
    pairs = [
        (logs[moment - SECOND], logs[moment])
        for moment in moments
        if logs.get(moment) is not None and logs.get(moment - SECOND) is not None
    ]
    if len(pairs) < 60:
        return {"replenishment_speed": None, "replenishment_half_life": None}
    centre = statistics.fmean(known)  # type: ignore[type-var]
    variance = statistics.fmean((x - centre) ** 2 for x in known)  # type: ignore[operator]
    covariance = statistics.fmean((x - centre) * (y - centre) for x, y in pairs)  # type: ignore[operator]
    rho = min(0.9999, max(0.001, covariance / variance))
    return {"replenishment_speed": -math.log(rho), "replenishment_half_life": math.log(2) / -math.log(rho)}


def _absorption(flow: float | None, usual: float | None, before: Row, now: Row) -> Row:
    impact, start, stop = before.get("market_impact_per_volume"), before.get("mid"), now.get("mid")
    nothing: Row = {"absorption_ratio": None, "absorbing_side": None}
    if not flow or usual is None or not impact or impact <= 0 or abs(flow) < usual or not start or not stop:
        return nothing
    moved = abs(1e4 * math.log(stop / start))
    return {
        "absorption_ratio": 1 - min(1.0, moved / (impact * abs(flow) / 1e6)),
        "absorbing_side": -1.0 if flow > 0 else 1.0,
    }
