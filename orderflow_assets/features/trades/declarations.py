"""The trade features, declared.

The sign of a trade is the taker's: + buy, - sell. A parent is all prints of one side with the same exchange time, as
one market order leaves them. q is base coin, v = price x q. A bar holds the trades from its opening edge up to, and
without, its closing edge, as the venues' candles do. With a live feed and no trade, counts and sums are zero; without
a feed they are NULL.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, BALANCE, NON_NEGATIVE, POSITIVE, SHARE, Feature, Group
from orderflow_assets.lineage import columns_of

WHALE_FLOOR = 10_000.0
"""Quote currency; a parent below it is no whale on any market."""

_TRADES, _BAR, _QUARTER = "trades", "bar", "15 min"

_BARS, _PARENTS = "bars.bars_1m", "bars.parent_trades"
_FLOW = columns_of(_BARS, "volume", "taker_buy_volume")
_VALUE_FLOW = columns_of(_BARS, "quote_volume", "taker_buy_quote")
_LARGE = (f"{_PARENTS}.notional", f"{_BARS}.parent_count")
_IMPACT = (*columns_of(_PARENTS, "notional", "side"), *columns_of("bars.quotes_1s", "bid_price", "ask_price"))
_EXECUTED = columns_of("bars.executions_1m", "parents", "unseen_parents", "executed", "hidden")

FEATURES: tuple[Feature, ...] = (
    Feature(
        "cvd",
        "base units",
        _TRADES,
        "since 00:00 UTC",
        "Cumulative volume delta: recorded buys less sells since midnight. A random walk: use its changes.",
        "signed volume, Lee & Ready 1991",
        ANY,
        inputs=_FLOW,
    ),
    Feature(
        "cvd_delta",
        "base units",
        _TRADES,
        _BAR,
        "Volume bought by takers less volume sold.",
        "signed volume",
        ANY,
        inputs=_FLOW,
    ),
    Feature(
        "cvd_slope",
        "ratio",
        _TRADES,
        _QUARTER,
        "Signed volume over volume of the last 15 bars.",
        "normalised order flow",
        BALANCE,
        inputs=_FLOW,
    ),
    Feature(
        "cvd_zscore",
        "sigma",
        _TRADES,
        "previous 24 h",
        "cvd_delta against its own 24 h before the bar.",
        "z-score",
        ANY,
        inputs=_FLOW,
    ),
    Feature(
        "cvd_price_divergence",
        "sigma",
        "trades and quotes",
        "15 min against the previous 24 h",
        "z of the 15 min signed notional less z of the 15 min log mid return. Positive: takers bought more than the "
        "price rose, somebody sold into them; negative: the mirror.",
        "signed impact residual, cf. Cont et al. 2014",
        ANY,
        inputs=(*_VALUE_FLOW, f"{_BARS}.mid_close"),
    ),
    Feature(
        "aggressive_delta",
        "quote ccy",
        _TRADES,
        _BAR,
        "Value bought by takers less value sold.",
        "signed notional",
        ANY,
        inputs=_VALUE_FLOW,
    ),
    Feature(
        "aggressive_ratio",
        "fraction",
        _TRADES,
        _BAR,
        "Value bought by takers over value traded; 0.5 is neutral, NULL without a trade.",
        "taker buy share",
        SHARE,
        inputs=_VALUE_FLOW,
    ),
    Feature(
        "buy_pressure",
        "fraction",
        _TRADES,
        _BAR,
        "Share of buying parents; NULL without one.",
        "trade-sign frequency",
        SHARE,
        inputs=columns_of(_BARS, "buy_parent_count", "parent_count"),
    ),
    Feature(
        "sell_pressure",
        "fraction",
        _TRADES,
        _BAR,
        "1 - buy_pressure.",
        "trade-sign frequency",
        SHARE,
        inputs=columns_of(_BARS, "buy_parent_count", "parent_count"),
    ),
    Feature(
        "total_volume",
        "base units",
        _TRADES,
        _BAR,
        "Volume traded.",
        "volume",
        NON_NEGATIVE,
        inputs=(f"{_BARS}.volume",),
    ),
    Feature(
        "buy_volume",
        "base units",
        _TRADES,
        _BAR,
        "Volume bought by takers.",
        "volume",
        NON_NEGATIVE,
        inputs=(f"{_BARS}.taker_buy_volume",),
    ),
    Feature("sell_volume", "base units", _TRADES, _BAR, "Volume sold by takers.", "volume", NON_NEGATIVE, inputs=_FLOW),
    Feature(
        "avg_trade_size",
        "quote ccy",
        _TRADES,
        _BAR,
        "Value traded per parent; NULL without one.",
        "mean size",
        NON_NEGATIVE,
        inputs=columns_of(_BARS, "quote_volume", "parent_count"),
    ),
    Feature(
        "trade_size_stddev",
        "quote ccy",
        _TRADES,
        _QUARTER,
        "Sample standard deviation of the value of parents; NULL under 10. Heavy-tailed: trade_size_log_stddev is the "
        "steadier one.",
        "standard deviation",
        NON_NEGATIVE,
        inputs=(f"{_PARENTS}.notional",),
    ),
    Feature(
        "flow_intensity",
        "fraction",
        _TRADES,
        "bar against 20 days",
        "Percent rank of the bar's parents among the bars of the previous 20 days within 15 min of the same time of "
        "day.",
        "intraday-adjusted intensity, Engle & Russell 1998",
        SHARE,
        inputs=(f"{_BARS}.parent_count",),
    ),
    Feature(
        "flow_toxicity",
        "fraction",
        _TRADES,
        "50 volume buckets",
        "VPIN: mean of |bought - sold| / size over the last 50 full buckets. A bucket is a fiftieth of the mean daily "
        "volume of the 7 days before its day; buckets start afresh at 00:00 UTC.",
        "Easley, Lopez de Prado & O'Hara 2012; Andersen & Bondarenko 2014",
        SHARE,
        inputs=columns_of("bars.volume_buckets", "size", "bought"),
    ),
    Feature(
        "whale_trade_detected",
        "flag",
        _TRADES,
        "bar against the previous 24 h",
        f"A parent of the bar reached whale_threshold: the 99.5th percentile of the 24 h before, and {WHALE_FLOOR:,.0f}"
        " at least.",
        "cf. Barclay & Warner 1993",
        dtype="flag",
        inputs=(*_LARGE, f"{_BARS}.volume"),
    ),
    Feature(
        "whale_volume_ratio",
        "fraction",
        _TRADES,
        _QUARTER,
        "Value of whale parents over value traded.",
        "large-trade share",
        SHARE,
        inputs=_LARGE,
    ),
    Feature(
        "iceberg_probability",
        "fraction",
        "trades and orderbook",
        _QUARTER,
        "Share of executed size that was not displayed: per parent and price, what was executed beyond the size shown "
        "250 ms before at the earliest, counted where that price still is the best afterwards, when it is reported. "
        "NULL when more than 20 % of parents find no book that young.",
        "Christensen & Woodmansey 2013; Hautsch & Huang 2012",
        SHARE,
        inputs=_EXECUTED,
    ),
    Feature(
        "sweep_detected",
        "flag",
        _TRADES,
        _BAR,
        "A parent took three or more prices, each worse than the one before for the taker.",
        "cf. Chakravarty et al. 2012",
        dtype="flag",
        inputs=(f"{_BARS}.sweep_count",),
    ),
    Feature(
        "market_impact_per_volume",
        "bps per USD mn",
        "trades and quotes",
        "1 h of 10 s bars",
        "Kyle's lambda: slope of the 10 s mid return in bps on the signed notional in USD mn, with intercept, over "
        "10 s bars that had trades; needs 60. Expected above zero.",
        "Kyle 1985; Hasbrouck 2009",
        ANY,
        inputs=_IMPACT,
    ),
    Feature(
        "vwap",
        "quote ccy",
        _TRADES,
        _BAR,
        "Value traded over volume traded; NULL without a trade.",
        "VWAP",
        POSITIVE,
        inputs=columns_of(_BARS, "volume", "quote_volume"),
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature(
        "parent_count",
        "count",
        _TRADES,
        _BAR,
        "Number of parents.",
        "count",
        NON_NEGATIVE,
        inputs=(f"{_BARS}.parent_count",),
    ),
    Feature(
        "trade_size_log_stddev",
        "log points",
        _TRADES,
        _QUARTER,
        "Sample standard deviation of ln value of parents.",
        "standard deviation",
        NON_NEGATIVE,
        inputs=(f"{_PARENTS}.notional",),
    ),
    Feature(
        "whale_threshold",
        "quote ccy",
        _TRADES,
        "previous 24 h",
        "Value from which a parent is a whale.",
        "percentile",
        POSITIVE,
        inputs=_LARGE,
    ),
    Feature(
        "signed_whale_ratio",
        "fraction",
        _TRADES,
        _QUARTER,
        "Value bought less sold by whales over value traded.",
        "large-trade share",
        BALANCE,
        inputs=(*_LARGE, f"{_PARENTS}.side"),
    ),
    Feature(
        "market_impact_tstat",
        "1",
        "trades and quotes",
        "1 h of 10 s bars",
        "t-statistic of that slope.",
        "least squares",
        ANY,
        inputs=_IMPACT,
    ),
    Feature(
        "market_impact_r2",
        "fraction",
        "trades and quotes",
        "1 h of 10 s bars",
        "Share of variance explained.",
        "least squares",
        SHARE,
        inputs=_IMPACT,
    ),
    Feature(
        "amihud_illiq",
        "1/USD mn",
        _TRADES,
        "24 h of 5 min bars",
        "Mean of |5 min log return| / USD mn traded.",
        "Amihud 2002",
        NON_NEGATIVE,
        inputs=columns_of(_BARS, "close", "quote_volume"),
    ),
    Feature(
        "roll_spread",
        "quote ccy",
        _TRADES,
        _QUARTER,
        "2 sqrt(-cov) of successive changes of the parents' last prices; NULL where the covariance is not negative.",
        "Roll 1984",
        POSITIVE,
        inputs=columns_of(_PARENTS, "last_price", "first_id"),
    ),
    Feature(
        "trade_clustering_index",
        "fraction",
        _TRADES,
        "1 h of 10 s bars",
        "1 - sqrt(mean / variance) of the number of parents, held inside [0, 1]. 0: Poisson.",
        "Hardiman & Bouchaud 2014",
        SHARE,
        inputs=(f"{_PARENTS}.timestamp", f"{_BARS}.volume"),
    ),
    Feature(
        "iceberg_detected",
        "flag",
        "trades and orderbook",
        "15 min against the previous 7 d",
        "iceberg_probability reached the 95th percentile of its own 7 days before.",
        "threshold",
        dtype="flag",
        inputs=_EXECUTED,
    ),
    Feature(
        "effective_spread_bps",
        "bps",
        "trades and quotes",
        _BAR,
        "2 eps (p - M) / M x 10,000, weighted by value: eps the sign of a parent, p its value over its volume, M the "
        "mid before it.",
        "Huang & Stoll 1996",
        ANY,
        inputs=("bars.spreads_1m.effective_spread_bps",),
    ),
    Feature(
        "realized_spread_bps_60s",
        "bps",
        "trades and quotes",
        "bar before",
        "2 eps (p - M60) / M x 10,000 of the parents of a minute earlier, M60 the mid 60 s after each: what the maker "
        "kept. Known, and stamped, 60 s late.",
        "Huang & Stoll 1996",
        ANY,
        inputs=("bars.spreads_1m.realized_spread_bps_60s",),
    ),
    Feature(
        "price_impact_bps_60s",
        "bps",
        "trades and quotes",
        "bar before",
        "Effective less realized spread of the same parents: what the maker lost to the move. Stamped 60 s late.",
        "Huang & Stoll 1996",
        ANY,
        inputs=("bars.spreads_1m.price_impact_bps_60s",),
    ),
)

TRADES = Group(
    "trades",
    "The trades, minute by minute: signed flow, sizes, whales, toxicity, impact.",
    "prints in the bar",
    FEATURES,
    COMPANIONS,
)
