"""What trading on forecasts would have brought after costs, bar by bar.

A forecast is known at a closing edge and acted on at the next traded price. A position is opened where the forecast
exceeds what getting in and out costs. It is held for the bars that the forecast is about, anew whenever a later
forecast exceeds the costs again, and given up sooner where a forecast turns against it. It is always of the same value:
P&L is in basis points of that value and adds up. Fee and half spread are paid on every change, funding at the
settlements that fall into the time held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import sqrt
from typing import Any

import numpy as np

from orderflow_assets.forecasting.backtest.overfitting import sharpe
from orderflow_assets.forecasting.frame import STEP

BARS_PER_DAY = timedelta(days=1) / STEP
BARS_PER_YEAR = 365 * BARS_PER_DAY
_BPS = 1e4


@dataclass(frozen=True, slots=True)
class Market:
    """What an order meets after each closing edge; arrays have one entry per edge."""

    fills: np.ndarray
    """First price traded after the edge and before the next, NaN where nothing was."""
    half_spread_bps: np.ndarray
    funding: np.ndarray
    """Rates settled after the edge up to and including the next; longs pay when positive."""
    fee_bps: float
    can_short: bool
    sources: Mapping[str, Any] = field(default_factory=dict)
    """Where each cost comes from."""

    def part(self, edges: slice) -> Market:
        return Market(
            self.fills[edges],
            self.half_spread_bps[edges],
            self.funding[edges],
            self.fee_bps,
            self.can_short,
            self.sources,
        )

    @property
    def cost_bps(self) -> np.ndarray:
        """What it costs to trade once the value at stake."""
        return self.fee_bps + self.half_spread_bps


@dataclass(frozen=True, slots=True)
class Curve:
    """One entry per edge: the position taken there and what it brought until the next; bps of the value at stake."""

    position: np.ndarray
    gross: np.ndarray
    fees: np.ndarray
    spread: np.ndarray
    funding: np.ndarray

    @property
    def net(self) -> np.ndarray:
        return self.gross - self.fees - self.spread - self.funding

    @property
    def equity(self) -> np.ndarray:
        return np.cumsum(self.net)


def simulate(expected: np.ndarray, market: Market, step: int, hurdle: float = 1.0) -> Curve:
    """Trade on the log change expected over the next ``step`` bars at each edge, NaN where there is no forecast.

    ``hurdle`` is how many times the cost of getting in and out a forecast must exceed. The position is closed at the
    last edge.
    """
    asked = 2 * hurdle * market.cost_bps / _BPS
    position = _positions(expected, asked, ~np.isnan(market.fills), step, market.can_short)
    position[-1:] = 0
    change = np.abs(np.diff(position, prepend=0))
    return Curve(
        position,
        position * _moves(market.fills) * _BPS,
        change * market.fee_bps,
        change * market.half_spread_bps,
        position * market.funding * _BPS,
    )


def _positions(expected: np.ndarray, asked: np.ndarray, open_: np.ndarray, step: int, can_short: bool) -> np.ndarray:
    """-1, 0 or 1 at each edge; where nothing was traded the position cannot change."""
    held, until, out = 0, 0, np.zeros(len(expected))
    rows = zip(expected.tolist(), asked.tolist(), open_.tolist(), strict=True)
    for edge, (change, hurdle, tradable) in enumerate(rows):
        if tradable:
            if abs(change) > hurdle:
                held, until = (1 if change > 0 else -1 if can_short else 0), edge + step
            elif edge >= until or not change * held > 0:
                held = 0
        out[edge] = held
    return out


def _moves(fills: np.ndarray) -> np.ndarray:
    """Change of the price from each edge's fill to the next; an edge without one has the price before."""
    last = np.maximum.accumulate(np.where(np.isnan(fills), -1, np.arange(len(fills))))
    price = np.where(last >= 0, fills[last], np.nan)
    return np.nan_to_num(np.append(price[1:] / price[:-1] - 1, 0.0))


def figures(curve: Curve) -> dict[str, float]:
    """The figures of a curve; hit rate, profit factor and Sharpe ratio only where there is something to divide by."""
    net, won = curve.net, trades(curve)
    found: dict[str, float] = {
        "trades": len(won),
        "exposure": float(np.abs(curve.position).mean()),
        "turnover": float(np.abs(np.diff(curve.position, prepend=0)).mean() * BARS_PER_DAY),
        "gross_bps": float(curve.gross.sum()),
        "fees_bps": float(curve.fees.sum()),
        "spread_bps": float(curve.spread.sum()),
        "funding_bps": float(curve.funding.sum()),
        "net_bps": float(net.sum()),
        "max_drawdown_bps": float(drawdowns(curve.equity).max(initial=0.0)),
    }
    if len(won):
        lost = -float(won[won < 0].sum())
        found |= {"hit_rate": float((won > 0).mean()), "sharpe": sharpe(net) * sqrt(BARS_PER_YEAR)}
        found |= {"profit_factor": float(won[won > 0].sum()) / lost} if lost > 0 else {}
    return found


def trades(curve: Curve) -> np.ndarray:
    """Net P&L of each position from opening to closing, both paid for."""
    before = np.concatenate(([0], curve.position[:-1]))
    changed = curve.position != before
    number = np.cumsum(changed & (curve.position != 0))
    once = np.divide(
        curve.fees + curve.spread, np.abs(curve.position - before), out=np.zeros(len(before)), where=changed
    )
    count = int(number[-1]) if len(number) else 0
    brought = np.bincount(number, (curve.gross - curve.funding) * (curve.position != 0), count + 1)
    opened = np.bincount(number, once * (changed & (curve.position != 0)), count + 1)
    closing = changed & (before != 0)
    closed_number = number - (curve.position != 0)
    closed = np.bincount(closed_number[closing], once[closing], count + 1)
    return (brought - opened - closed)[1:]


def drawdowns(equity: np.ndarray) -> np.ndarray:
    """How far each value lies below the highest so far, the start included."""
    return np.maximum.accumulate(np.concatenate(([0.0], equity)))[1:] - equity
