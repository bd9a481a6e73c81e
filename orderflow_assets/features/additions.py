"""Measures beside the features of the groups that other things read by these names, and the column that holds each."""

from __future__ import annotations

ADDITIONS: dict[str, str] = {
    "ofi_cks": "features.orderbook.ofi_cks",
    "mlofi": "features.orderbook.mlofi",
    "effective_spread_bps": "features.trades.effective_spread_bps",
    "realized_spread_bps_60s": "features.trades.realized_spread_bps_60s",
    "price_impact_bps_60s": "features.trades.price_impact_bps_60s",
    "amihud_illiq": "features.trades.amihud_illiq",
    "roll_spread": "features.trades.roll_spread",
    "realized_variance_1h": "features.prices.realized_variance_1h",
    "jump_share": "features.ticker.jump_share",
    "mid_zscore": "features.prices.mid_zscore",
    "vwap_deviation": "features.prices.vwap_deviation",
    "trade_clustering_index": "features.trades.trade_clustering_index",
    "oi_price_correlation": "features.oi.oi_price_correlation",
    "bid_wall_detected": "features.orderbook.bid_wall_detected",
    "ask_wall_detected": "features.orderbook.ask_wall_detected",
    "iceberg_detected": "features.trades.iceberg_detected",
    "volume_24h_quote": "features.ticker.volume_24h_quote",
    "lead_lag_seconds": "analytics.lead_lag.lead_lag_seconds",
    "information_share": "analytics.information_share.information_share",
}
