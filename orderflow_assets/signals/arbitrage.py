"""Arbitrage: what a carry trade earns a year after fees, spreads and borrowing, at a stated size and horizon.

Two trades are looked at. Perpetual against spot earns the funding of the series; of the spot markets of the same
symbol the cheapest to trade is taken. Across venues the perpetual with the lowest funding is bought and the one with
the highest sold. All markets here are perpetuals or spot: basis and funding are the same cash flow and are not added,
and there is no dated future whose basis could be earned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orderflow_assets.analytics.fees import taker_fee_bps
from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.signals.inputs import DAY, NOW, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip, flag, words

HOLDING_DAYS = 7.0
BORROW_YEARLY = 0.10
"""Yearly rate for borrowing the coin that is sold spot where funding is negative. Assumed: no feed publishes it."""

FULL_EDGE, FULL_SIZE, LEAST_SIZE = 0.20, 1e5, 1e4
FAR_BASIS = 3.0

_BPS, _YEAR_DAYS, _EIGHT_HOURS_PER_YEAR = 1e4, 365.0, 1095.0
_SETTLEMENTS = 3
_CARRY, _SPREAD = "funding.funding_carry_yield", "funding.funding_cross_exchange_spread"


@dataclass(frozen=True, slots=True)
class Trade:
    """Yearly yield and cost (fractions), what both legs hold within 25 bps (quote), and whether the sign is stable."""

    gross: Array
    cost: Array
    size: Array
    stable: Mask

    @property
    def net(self) -> Array:
        return self.gross - self.cost


def _round_trip(inputs: Inputs) -> Array:
    """Fees and spread of getting in and out of each series, as a fraction of its value."""
    fees = np.array([2 * taker_fee_bps(exchange, market_type) for _, exchange, market_type in inputs.series])
    effective = inputs.now["trades.effective_spread_bps"]
    spread = np.where(np.isfinite(effective), effective, inputs.now["prices.spread_bps"])
    return (fees[:, None] + np.maximum(spread, 0)) / _BPS


def _depth(inputs: Inputs) -> Array:
    return np.minimum(inputs.now["orderbook.bid_depth_25bps"], inputs.now["orderbook.ask_depth_25bps"])


def _by_symbol(inputs: Inputs, market_type: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of all futures of each symbol, and its rows of ``market_type``."""
    for symbol in sorted({identity[0] for identity in inputs.series}):
        futures, partners = (
            np.array([row for row, (name, _, has) in enumerate(inputs.series) if name == symbol and has == kind], int)
            for kind in ("futures", market_type)
        )
        if len(futures) and len(partners):
            yield futures, partners


def _earlier(rate: Array, inputs: Inputs, back: int) -> Array:
    """``rate`` (series, day) as of ``back`` settlements before each bar; NaN where the interval is unknown."""
    interval = inputs.now["funding.funding_interval_hours"]
    bars = np.arange(rate.shape[1] - inputs.outputs, rate.shape[1])
    place = bars - np.where(np.isfinite(interval), 60 * back * interval, 0).astype(np.int64)
    return np.where(
        np.isfinite(interval) & (place >= 0), np.take_along_axis(rate, np.maximum(place, 0), axis=1), np.nan
    )


def against_spot(inputs: Inputs) -> Trade:
    """Funding of the series, hedged on the cheapest spot market of its symbol."""
    rate, trip, depth = inputs.now[_CARRY], _round_trip(inputs), _depth(inputs)
    cost, size = np.full((2, *inputs.shape), np.nan)
    for futures, spots in _by_symbol(inputs, "spot"):
        cheapest = np.where(np.isfinite(trip[spots]), trip[spots], np.inf).argmin(axis=0)
        hedge = spots[cheapest], np.arange(inputs.outputs)
        cost[futures] = trip[futures] + trip[hedge]
        size[futures] = np.minimum(depth[futures], depth[hedge])
    stable = np.isfinite(rate) & (rate != 0)
    for back in range(1, _SETTLEMENTS):
        stable &= np.sign(_earlier(inputs.day[_CARRY], inputs, back)) == np.sign(rate)
    yearly = cost * _YEAR_DAYS / HOLDING_DAYS + np.where(rate < 0, BORROW_YEARLY, 0.0)
    return Trade(np.abs(rate), yearly, size, stable)


def across_venues(inputs: Inputs) -> Trade:
    """The widest funding differential of the symbol, whichever series the row is of."""
    rate, trip, depth = inputs.now[_CARRY], _round_trip(inputs), _depth(inputs)
    past = [_earlier(inputs.day[_CARRY], inputs, back) for back in range(1, _SETTLEMENTS)]
    cost, size = np.full((2, *inputs.shape), np.nan)
    stable = np.zeros(inputs.shape, dtype=bool)
    bars = np.arange(inputs.outputs)
    for futures, _ in _by_symbol(inputs, "futures"):
        offered = rate[futures]
        low = futures[np.where(np.isfinite(offered), offered, np.inf).argmin(axis=0)], bars
        high = futures[np.where(np.isfinite(offered), offered, -np.inf).argmax(axis=0)], bars
        cost[futures] = trip[low] + trip[high]
        size[futures] = np.minimum(depth[low], depth[high])
        stable[futures] = np.logical_and.reduce([before[high] > before[low] for before in past])
    return Trade(_EIGHT_HOURS_PER_YEAR * inputs.now[_SPREAD], cost * _YEAR_DAYS / HOLDING_DAYS, size, stable)


def _better(inputs: Inputs) -> tuple[Trade, Mask]:
    """The trade with the larger net edge, and where that is the one across venues."""
    spot, venues = against_spot(inputs), across_venues(inputs)
    first, second = (np.where(np.isfinite(trade.net), trade.net, -np.inf) for trade in (spot, venues))
    wins = second > first
    parts = (np.where(wins, getattr(venues, name), getattr(spot, name)) for name in ("gross", "cost", "size", "stable"))
    return Trade(*parts), wins


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    trade, across = _better(inputs)
    net, basis = trade.net, inputs.now["mark_prices.basis_zscore"]
    value = clip(net / FULL_EDGE, 0, 1) * np.minimum(1, trade.size / FULL_SIZE)
    known = np.isfinite(net)
    opens = (net > 0) & trade.stable
    far, thin = np.abs(basis), trade.size
    risky = (far > FAR_BASIS) | (thin < LEAST_SIZE)
    middling = (far > FAR_BASIS / 2) | (thin < 2 * LEAST_SIZE)
    told = [np.isfinite(part) for part in (trade.gross, trade.cost, trade.size, basis)]
    return Conclusion(
        {
            "opportunity": flag(known, opens),
            "type": words(known, "none", cross_venue=opens & across, funding=opens),
            "expected_return_pct_annual": 100 * net,
            "executable_quote": trade.size,
            "risk_level": words(known & np.isfinite(thin), "LOW", HIGH=risky, MEDIUM=middling),
        },
        value=value,
        confidence=np.mean(told, axis=0),
    )


ARBITRAGE_OPPORTUNITY = Signal(
    name="arbitrage_opportunity",
    title="Arbitrage",
    kind="net edge",
    interpretation=(
        "0 nothing to 1 a carry of 20 % a year or more after costs at 100,000 quote currency or more. Read "
        "opportunity: the value counts a net edge whose sign has not lasted three settlements too."
    ),
    interval="[0, 1]",
    inputs={
        _CARRY: DAY,
        _SPREAD: NOW,
        "funding.funding_interval_hours": NOW,
        "mark_prices.basis_zscore": NOW,
        "trades.effective_spread_bps": NOW,
        "prices.spread_bps": NOW,
        "orderbook.bid_depth_25bps": NOW,
        "orderbook.ask_depth_25bps": NOW,
    },
    components=(
        Component(
            "spot_gross",
            0.0,
            "|funding_carry_yield|: perpetual against spot, fraction a year",
            lambda inputs: against_spot(inputs).gross,
        ),
        Component(
            "spot_cost",
            0.0,
            "taker fees and spreads of both round trips over the holding time, and borrowing where funding is "
            "negative, fraction a year",
            lambda inputs: against_spot(inputs).cost,
        ),
        Component(
            "venues_gross",
            0.0,
            "1,095 funding_cross_exchange_spread: perpetual against perpetual, fraction a year",
            lambda inputs: across_venues(inputs).gross,
        ),
        Component(
            "venues_cost",
            0.0,
            "taker fees and spreads of both round trips over the holding time, fraction a year",
            lambda inputs: across_venues(inputs).cost,
        ),
    ),
    event=Event(1440, "a day later an opportunity is there still"),
    combine="own",
    weights="none",
    fields=(
        Field(
            "opportunity",
            "flag",
            "the better trade's yield exceeds its cost, with one sign at the last three settlements",
        ),
        Field("type", "kind", "the better trade", ("funding", "cross_venue", "none")),
        Field("expected_return_pct_annual", "percent a year", "yield less cost of the better trade; may be negative"),
        Field("executable_quote", "quote ccy", "what the thinner side of both legs holds within 25 bps"),
        Field(
            "risk_level",
            "label",
            "HIGH where |basis_zscore| > 3 or less than 10,000 can be traded, MEDIUM from 1.5 or under 20,000, "
            "else LOW",
            ("LOW", "MEDIUM", "HIGH"),
        ),
    ),
    label="type",
    conclude=_conclude,
    assumptions=(
        f"held for {HOLDING_DAYS:g} days",
        f"borrowing a coin costs {BORROW_YEARLY:.0%} a year",
        "taker fees of the base tier",
        "the spread paid is effective_spread_bps, where that is unknown the quoted one",
    ),
)
