"""Every computed table of bars, features and signals, each after what it reads."""

from __future__ import annotations

from orderflow_assets.analytics import (
    alpha,
    cross_exchange,
    event_risk,
    information_share,
    lead_lag,
    leverage,
    moves,
    order_flow,
    regimes,
    volatility,
    zones,
)
from orderflow_assets.bars import activity, coarser, consolidated, daily_sizes, minutes, parents, quotes
from orderflow_assets.features.arbitrage import basis as basis_arbitrage
from orderflow_assets.features.arbitrage import funding as funding_arbitrage
from orderflow_assets.features.arbitrage import spreads
from orderflow_assets.features.funding import layer as funding
from orderflow_assets.features.funding import live, settlements
from orderflow_assets.features.liquidations import clusters
from orderflow_assets.features.liquidations import layer as liquidations
from orderflow_assets.features.liquidations import minutes as liquidation_minutes
from orderflow_assets.features.mark_prices import layer as mark_prices
from orderflow_assets.features.mark_prices import marks
from orderflow_assets.features.oi import depth as oi_depth
from orderflow_assets.features.oi import layer as oi
from orderflow_assets.features.oi import minutes as oi_minutes
from orderflow_assets.features.oi import steps as oi_steps
from orderflow_assets.features.orderbook import layer as orderbook
from orderflow_assets.features.orderbook import loadings
from orderflow_assets.features.orderbook import minutes as book_minutes
from orderflow_assets.features.prices import layer as prices
from orderflow_assets.features.prices import microprice
from orderflow_assets.features.ticker import candles, levels
from orderflow_assets.features.ticker import layer as ticker
from orderflow_assets.features.trades import buckets, costs, executions
from orderflow_assets.features.trades import layer as trades
from orderflow_assets.layer import Layer
from orderflow_assets.signals import (
    aggregate_layer,
    calibration,
    fills,
    forward,
    labels,
    probabilities,
)
from orderflow_assets.signals import layer as signals

LAYERS: tuple[Layer, ...] = (
    quotes.LAYER,
    parents.LAYER,
    minutes.LAYER,
    *coarser.LAYERS,
    *consolidated.LAYERS,
    daily_sizes.LAYER,
    *activity.LAYERS,
    *moves.LAYERS,
    *regimes.LAYERS,
    volatility.LAYER,
    book_minutes.LAYER,
    loadings.LAYER,
    marks.LAYER,
    live.LAYER,
    settlements.LAYER,
    spreads.LAYER,
    executions.LAYER,
    costs.LAYER,
    microprice.LAYER,
    buckets.LAYER,
    *candles.LAYERS,
    levels.LAYER,
    prices.LAYER,
    trades.LAYER,
    orderbook.LAYER,
    oi_minutes.LAYER,
    oi_steps.LAYER,
    oi_depth.LAYER,
    oi.LAYER,
    *clusters.LAYERS,
    *liquidation_minutes.LAYERS,
    liquidations.LAYER,
    mark_prices.LAYER,
    funding.LAYER,
    funding_arbitrage.LAYER,
    basis_arbitrage.LAYER,
    ticker.LAYER,
    *event_risk.LAYERS,
    fills.LAYER,
    signals.LAYER,
    aggregate_layer.LAYER,
    forward.LAYER,
    labels.LAYER,
    calibration.LAYER,
    probabilities.LAYER,
    cross_exchange.LAYER,
    order_flow.LAYER,
    leverage.LAYER,
    alpha.LAYER,
    zones.LAYER,
    lead_lag.LAYER,
    information_share.LAYER,
)
