"""Figures of one instrument set against each other, each with its formula and without a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mcp_server.venues.parts import Portrait

DAYS_A_YEAR = 365


@dataclass(frozen=True, slots=True)
class Comparison:
    """``of`` makes the value, None where a figure is not told; ``parts`` are those it is made of."""

    formula: str
    unit: str
    parts: tuple[str, ...]
    of: Callable[[Portrait], float | None]


def _range_position(seen: Portrait) -> float | None:
    last, high, low = (seen.figure("ticker", name) for name in ("last", "high_24h", "low_24h"))
    return (last - low) / (high - low) if None not in (last, high, low) and high != low else None  # type: ignore[operator]


def _premium(seen: Portrait) -> float | None:
    return _over(seen.figure("ticker", "mark_price"), seen.figure("ticker", "index_price"))


def _spot_basis(seen: Portrait) -> float | None:
    return _over(seen.figure("book", "mid_price"), seen.figure("spot", "mid_price"))


def _annualized_basis(seen: Portrait) -> float | None:
    basis, expiry = _premium(seen), seen.instrument.get("expiry")
    if basis is None or not expiry:
        return None
    days = (expiry / 1_000 - datetime.now(UTC).timestamp()) / 86_400
    return basis * DAYS_A_YEAR / days if days > 0 else None


def _interest_turnover(seen: Portrait) -> float | None:
    for interest, volume in (("open_interest", "base"), ("open_interest_usd", "quote")):
        held = seen.figure("open_interest", interest)
        traded = seen.figure("ticker", f"volume_24h_{volume}")
        if held is not None and traded:
            return held / traded
    return None


def _volatility_premium(seen: Portrait) -> float | None:
    implied, realized = (seen.figure("volatility", name) for name in ("implied_pct", "realized_pct"))
    return None if implied is None or realized is None else implied - realized


def _over(first: float | None, second: float | None) -> float | None:
    return None if first is None or not second else (first / second - 1) * 100


COMPARISONS: Mapping[str, Comparison] = {
    "range_position_24h": Comparison("(last - low_24h) / (high_24h - low_24h)", "0 to 1", ("ticker",), _range_position),
    "change_24h_pct": Comparison(
        "last over the price of 24 hours ago", "%", ("ticker",), lambda seen: seen.figure("ticker", "change_24h_pct")
    ),
    "spread_bps": Comparison(
        "(ask / bid - 1) * 10000", "bps", ("book",), lambda seen: seen.figure("book", "spread_bps")
    ),
    "depth_imbalance": Comparison(
        "(bids - asks) / (bids + asks) over at most 20 levels",
        "-1 to 1",
        ("book",),
        lambda seen: seen.figure("book", "depth_imbalance"),
    ),
    "taker_buy_share": Comparison(
        "bought / (bought + sold) of the latest trades, at most 100",
        "0 to 1",
        ("trades",),
        lambda seen: seen.figure("trades", "buy_share"),
    ),
    "mark_over_index_pct": Comparison("(mark_price / index_price - 1) * 100", "%", ("ticker",), _premium),
    "basis_annualized_pct": Comparison(
        "mark_over_index_pct * 365 / days to expiry", "% a year", ("ticker",), _annualized_basis
    ),
    "mid_over_spot_pct": Comparison("(mid / mid of the spot pair - 1) * 100", "%", ("book", "spot"), _spot_basis),
    "funding_annualized_pct": Comparison(
        "funding_rate * 8760 / interval_h * 100",
        "% a year",
        ("funding",),
        lambda seen: seen.figure("funding", "annualized_pct"),
    ),
    "implied_minus_realized_pct": Comparison(
        "implied - realized volatility", "% a year", ("volatility",), _volatility_premium
    ),
    "open_interest_over_volume_24h": Comparison(
        "open interest / volume of 24 hours, in base coin or else in quote currency",
        "ratio",
        ("open_interest", "ticker"),
        _interest_turnover,
    ),
}


def time_of(comparison: Comparison, seen: Portrait) -> datetime | None:
    """The oldest of the times that its parts tell."""
    times = [seen.parts[name].time for name in comparison.parts if name in seen.parts]
    return min((time for time in times if time is not None), default=None)
