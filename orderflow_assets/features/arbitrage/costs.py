"""What it costs to take and close a position in each perpetual, minute by minute."""

from __future__ import annotations

from orderflow_assets.analytics.fees import FEES, taker_fee_bps

_TAKERS = ", ".join(
    f"('{exchange}', {2 * taker_fee_bps(exchange, market_type)}::DOUBLE)"
    for exchange, market_type in (name.split("_") for name in FEES)
    if market_type == "futures"
)

COSTS = f"""
    SELECT symbol, exchange, bar_ts, fees_bps, spread_bps
    FROM bars.bars_1m JOIN (VALUES {_TAKERS}) fees(exchange, fees_bps) USING (exchange)
    WHERE market_type = 'futures' AND open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
"""
"""SELECT of ``symbol, exchange, bar_ts, fees_bps`` (taker, in and out) and ``spread_bps`` (quoted, of the bar)."""
