"""What trading a series costs: next prices, half spreads and funding as stored, fees as published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.analytics.fees import fee
from orderflow_assets.features.funding.settlements import SETTLEMENTS
from orderflow_assets.forecasting.backtest.trading import Market
from orderflow_assets.forecasting.frame import BARS, STEP, Frame, on_grid
from orderflow_streaming.store import Store

HALF_SPREAD_BPS = 1.0
"""Taken where no spread is stored, unless the run says otherwise."""

_MINUTES_SQL = f"""
SELECT time_bucket(INTERVAL 5 MINUTE, open_time) AS opened, opened + INTERVAL 5 MINUTE AS closed,
       arg_min(open, open_time) FILTER (open IS NOT NULL) AS fill, avg(spread_bps) AS spread_bps
FROM {BARS}
WHERE symbol = ? AND exchange = ? AND market_type = ? AND open_time >= ?::TIMESTAMP AND open_time < ?::TIMESTAMP
GROUP BY opened ORDER BY opened
"""

_FUNDING_SQL = f"""
SELECT settled_at, rate FROM {SETTLEMENTS.qualified}
WHERE symbol = ? AND exchange = ? AND market_type = ? AND settled_at > ?::TIMESTAMP AND settled_at <= ?::TIMESTAMP
"""


def read_market(store: Store, frame: Frame, half_spread_bps: float = HALF_SPREAD_BPS) -> Market:
    """Costs at every edge of ``frame``. ``half_spread_bps`` is taken where no spread is stored.

    The half spread at an edge is the mean of the bar that closed there, so it is known when an order is decided.
    """
    identity = [frame.series.symbol, frame.series.exchange, frame.series.market_type]
    first, last = frame.times[0].item(), frame.times[-1].item()
    minutes = store.query(_MINUTES_SQL, [*identity, first - STEP, last + STEP])
    fills = _column(minutes, "opened", "fill", frame.times)
    half_spread = _column(minutes, "closed", "spread_bps", frame.times) / 2
    funding, settlements = np.zeros(len(frame)), None
    if frame.series.market_type == "futures" and store.exists(SETTLEMENTS):
        settled = store.query(_FUNDING_SQL, [*identity, first, last])
        funding, settlements = _between_edges(settled, frame.times), settled.num_rows
    charged = fee(frame.series.exchange, frame.series.market_type)
    stored = float(np.mean(~np.isnan(half_spread)))
    half_spread = np.where(np.isnan(half_spread), half_spread_bps, half_spread)
    sources: dict[str, Any] = {
        "fee_bps": charged.taker_bps,
        "fee": f"taker, {charged.tier}, {charged.source}",
        "half_spread_bps": float(half_spread.mean()),
        "spread_stored": stored,
        "half_spread_where_not_stored_bps": half_spread_bps,
        "funding": _said(frame.series.market_type, settlements),
    }
    return Market(fills, half_spread, funding, charged.taker_bps, frame.series.market_type == "futures", sources)


def _column(minutes: pa.Table, edge: str, name: str, times: np.ndarray) -> np.ndarray:
    placed = on_grid(pa.table({"bar_ts": minutes[edge], name: minutes[name]}), times)
    return placed.get(name, np.full(len(times), np.nan))


def _between_edges(settled: pa.Table, times: np.ndarray) -> np.ndarray:
    """Sum of the rates settled after each edge, up to and including the next."""
    moments = settled["settled_at"].to_numpy().astype("datetime64[us]")
    return np.bincount(np.searchsorted(times, moments) - 1, settled["rate"].to_numpy(), len(times))


def _said(market_type: str, settlements: int | None) -> str:
    if market_type != "futures":
        return "spot pays none; nothing is sold short"
    return f"{settlements} stored settlements" if settlements else "no settlement is stored, so none is charged"
