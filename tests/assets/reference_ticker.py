"""The features of candles once more, slowly: lists, loops and the standard library, one bar at a time.

A candle is a dict of its columns under its closing edge in minutes; what is not there has no candle.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

Candle = dict[str, float | None]
Candles = dict[int, Candle]
Row = dict[str, float | None]

DAY = 1440


def _full_hour(hours: Candles, edge: int) -> Candle | None:
    candle = hours.get(edge)
    return candle if candle and (candle["minutes"] or 0) >= 57 else None


def _full_five(fives: Candles, edge: int) -> Candle | None:
    candle = fives.get(edge)
    return candle if candle and candle["minutes"] == 5 else None


def rank(value: float | None, baseline: Sequence[float | None], least: int) -> float | None:
    known = [x for x in baseline if x is not None]
    if value is None or len(known) < least:
        return None
    return (sum(x < value for x in known) + sum(x == value for x in known) / 2) / len(known)


def true_range(hours: Candles, edge: int) -> float | None:
    now, last = _full_hour(hours, edge), _full_hour(hours, edge - 60)
    if now is None or last is None or now["high"] is None or now["low"] is None or last["close"] is None:
        return None
    return max(now["high"] - now["low"], abs(now["high"] - last["close"]), abs(now["low"] - last["close"]))


def atr(hours: Candles, edge: int) -> float | None:
    """Wilder's average of the true ranges of the 250 hours that end with ``edge``."""
    ranges = [true_range(hours, edge - 60 * back) for back in range(249, -1, -1)]
    known = [x for x in ranges if x is not None]
    if len(known) < 14:
        return None
    average = sum(known[:14]) / 14
    for value in known[14:]:
        average = (average * 13 + value) / 14
    return average


def money_flow_index(hours: Candles, edge: int) -> float | None:
    def typical(at: int) -> float | None:
        candle = _full_hour(hours, at)
        if candle is None or candle["high"] is None or candle["low"] is None or candle["close"] is None:
            return None
        return (candle["high"] + candle["low"] + candle["close"]) / 3

    positive = negative = 0.0
    known = 0
    for back in range(14):
        now, last = typical(edge - 60 * back), typical(edge - 60 * back - 60)
        if now is None or last is None:
            continue
        known += 1
        volume = hours[edge - 60 * back]["volume"]
        assert volume is not None
        if now > last:
            positive += now * volume
        elif now < last:
            negative += now * volume
    if known < 12 or positive + negative == 0:
        return None
    return 1.0 if negative == 0 else 1 - 1 / (1 + positive / negative)


def parkinson(fives: Candles, edge: int, bars: int, least: int) -> float | None:
    squares = []
    for back in range(bars):
        candle = _full_five(fives, edge - 5 * back)
        if candle is None:
            continue
        if not candle["volume"]:
            squares.append(0.0)
        elif candle["high"] and candle["low"]:
            squares.append(math.log(candle["high"] / candle["low"]) ** 2)
    return math.sqrt(statistics.fmean(squares) / (4 * math.log(2))) if len(squares) >= least else None


def _returns(fives: Candles, edge: int) -> list[float | None]:
    return [fives.get(edge - 5 * back, {}).get("log_return") for back in range(287, -1, -1)]


def _price(fives: Candles, edge: int) -> float | None:
    if _full_five(fives, edge) is None:
        return None
    closes = [fives.get(edge - 5 * back, {}).get("close") for back in range(12)]
    return next((close for close in closes if close is not None), None)


def _skew(fives: Candles, edge: int) -> float | None:
    weighed = []
    for back in range(288):
        candle = _full_five(fives, edge - 5 * back)
        if candle and candle["volume"] and candle["quote_volume"] is not None:
            weighed.append((candle["quote_volume"] / candle["volume"], candle["volume"]))
    if len(weighed) < 60:
        return None
    total = math.fsum(v for _, v in weighed)
    mean = math.fsum(p * v for p, v in weighed) / total
    variance = math.fsum(v * (p - mean) ** 2 for p, v in weighed) / total
    return math.fsum(v * (p - mean) ** 3 for p, v in weighed) / total / variance**1.5 if variance > 0 else None


def _over(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def row(fives: Candles, hours: Candles, minute: int) -> Row:
    """Every feature of the bar that closes at ``minute``, but those of the venue's own statistics."""
    five, hour = minute // 5 * 5, minute // 60 * 60

    def of_hour(name: str, back: int) -> float | None:
        candle = _full_hour(hours, hour - 60 * back)
        return candle[name] if candle else None

    def size(back: int) -> float | None:
        return _over(of_hour("quote_volume", back), of_hour("trade_count", back))

    found: Row = {"n_obs": float(sum(_full_five(fives, five - 5 * back) is not None for back in range(288)))}
    values = [of_hour("quote_volume", back) for back in range(3)]
    found["volume_acceleration"] = None
    if all(values):
        last, middle, first = (math.log(value or 1) for value in values)
        found["volume_acceleration"] = last - 2 * middle + first
    for name, column in (("relative_volume_percentile", "quote_volume"), ("trade_count_percentile", "trade_count")):
        found[name] = rank(of_hour(column, 0), [of_hour(column, 24 * day) for day in range(1, 31)], 20)
    found["institutional_interest_idx"] = rank(size(0), [size(back) for back in range(1, 721)], 60)
    now = true_range(hours, hour)
    usual = [x for back in range(1, 21) if (x := true_range(hours, hour - 60 * back)) is not None]
    found["range_expansion_ratio"] = _over(now, statistics.fmean(usual) if len(usual) >= 15 else None)
    found["range_vs_atr"] = _over(now, atr(hours, hour - 60))
    found["market_strength"] = money_flow_index(hours, hour)

    short, long = parkinson(fives, five, 12, 10), parkinson(fives, five, 288, 260)
    ratio = _over(short, long)
    found |= {"parkinson_1h": short, "parkinson_24h": long}
    found["volatility_compression_idx"] = max(0, 1 - ratio) if ratio is not None else None
    found["volatility_expansion_idx"] = max(0, ratio - 1) if ratio is not None else None

    returns = _returns(fives, five)
    squares = [r * r for r in returns if r is not None]
    variance = 288 * statistics.fmean(squares) if len(squares) >= 260 else None
    pairs = [abs(a * b) for a, b in itertools.pairwise(returns) if a is not None and b is not None]
    bipower = math.pi / 2 * 288 * statistics.fmean(pairs) if len(pairs) >= 260 else None
    found["realized_volatility"] = math.sqrt(365 * variance) if variance is not None else None
    found["bipower_variation"] = bipower
    share = _over(bipower, variance)
    found["jump_share"] = max(0, 1 - share) if share is not None else None
    found["volume_profile_skew"] = _skew(fives, five)

    price, before = _price(fives, five), _price(fives, five - DAY)
    change = math.log(price / before) if price and before else None
    found["price_change_pct"] = 100 * change if change is not None else None
    past = [hours[at] for back in range(24, 744) if (at := hour - 60 * back) in hours]
    count = sum(candle["returns"] or 0 for candle in past)
    daily = 288 * sum(candle["squares"] or 0 for candle in past) / count if count >= 5760 else None
    found["price_change_zscore"] = change / math.sqrt(daily) if change is not None and daily else None
    return found
