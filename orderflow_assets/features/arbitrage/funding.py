"""``features.funding_arbitrage``: the funding differential of each symbol, net of what it costs to earn it."""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.consolidated import EVERY_VENUE
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.features.arbitrage.costs import COSTS
from orderflow_assets.features.arbitrage.declarations import FUNDING_ARBITRAGE, FUNDING_HOLDING_H
from orderflow_assets.features.funding.declarations import FUNDING
from orderflow_assets.features.mark_prices.declarations import MARK_PRICES
from orderflow_assets.lineage import columns_of

_WINDOW = "open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP"

_SQL = f"""
WITH pairs AS (
    SELECT symbol, open_time, bar_ts, max(funding_venues)::BIGINT AS n_obs,
           any_value(funding_cross_exchange_spread) AS arbitrage_spread,
           any_value(funding_low_exchange) AS long_exchange,
           any_value(funding_high_exchange) AS short_exchange
    FROM features.funding
    WHERE {_WINDOW}
    GROUP BY ALL
), costs AS ({COSTS}), legs AS (
    SELECT symbol, exchange, bar_ts, fees_bps, spread_bps,
           CASE WHEN basis_mean_reversion_speed IS NOT NULL THEN
                    (basis_ou_mean_bps - premium_bps) * (1 - exp(-basis_mean_reversion_speed * {FUNDING_HOLDING_H}))
                WHEN basis_ou_phi IS NOT NULL THEN 0 END AS premium_change
    FROM costs LEFT JOIN (FROM features.mark_prices WHERE {_WINDOW}) m USING (symbol, exchange, bar_ts)
), trades AS (
    SELECT p.*, 1e4 * arbitrage_spread * {FUNDING_HOLDING_H} / 8 AS funding_collected_bps,
           l.fees_bps + s.fees_bps AS fees_bps,
           l.spread_bps + s.spread_bps AS spreads_bps,
           s.premium_change - l.premium_change AS basis_change_bps,
           funding_collected_bps - (l.fees_bps + s.fees_bps) - (l.spread_bps + s.spread_bps) - basis_change_bps
               AS expected_profit_bps
    FROM pairs p
    LEFT JOIN legs l ON l.symbol = p.symbol AND l.bar_ts = p.bar_ts AND l.exchange = p.long_exchange
    LEFT JOIN legs s ON s.symbol = p.symbol AND s.bar_ts = p.bar_ts AND s.exchange = p.short_exchange
)
SELECT *, '{EVERY_VENUE}' AS exchange, 'futures' AS market_type,
       expected_profit_bps > 0 AS arbitrage_opportunity,
       expected_profit_bps / 1e4 * 8760 / {FUNDING_HOLDING_H} AS expected_profit_per_year
FROM trades
"""

LAYER = selected(
    FUNDING_ARBITRAGE.table,
    _SQL,
    (FUNDING.table, MARK_PRICES.table, BARS_1M),
    timedelta(0),
    group="features",
    lineage=FUNDING_ARBITRAGE.lineage | {"n_obs": columns_of(FUNDING.table.qualified, "funding_venues")},
)
