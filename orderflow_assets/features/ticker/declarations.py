"""The features of candles and of the venues' 24 h statistics, declared.

Rolling 24 h statistics overlap almost wholly from one to the next and say nothing statistical: they give levels alone.
All else is of disjoint candles, ``bars.candles_5m`` and ``bars.candles_1h``: of the last ones closed at bar_ts, so that
hourly features stand for an hour and five-minute ones for five minutes. A five-minute candle counts with all its
minutes known, an hour with at least 57 of 60; what is missing is not made up for. Where a baseline has fewer values
than stated the feature is NULL.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, NON_NEGATIVE, SHARE, Feature, Group
from orderflow_assets.lineage import Sources, columns_of

_HOURS, _FIVES, _TICKER = "candles (1 h)", "candles (5 min)", "ticker"
_SAME_HOUR = "1 h against the same hour of the previous 30 d"
_DAY = "24 h of 5 min bars"


def _hourly(*names: str) -> Sources:
    """Columns of the hours that count: those with enough of their minutes known."""
    return columns_of("bars.candles_1h", *names, "minutes")


_RANGES = _hourly("high", "low", "close")
_REACH = columns_of("bars.candles_5m", "high", "low", "volume", "minutes")
_RETURNS = columns_of("bars.candles_5m", "log_return")
_LEVELS = columns_of("bars.ticker_1m", "high_24h", "low_24h")

FEATURES: tuple[Feature, ...] = (
    Feature(
        "volume_acceleration",
        "log points",
        _HOURS,
        "3 h",
        "Second difference of the log of the hour's traded value: ln V(t) - 2 ln V(t-1) + ln V(t-2).",
        "second difference",
        ANY,
        inputs=_hourly("quote_volume"),
    ),
    Feature(
        "relative_volume_percentile",
        "fraction",
        _HOURS,
        _SAME_HOUR,
        "Percent rank of the hour's traded value among the same hours of day, at least 20 of 30.",
        "seasonally adjusted relative volume",
        SHARE,
        inputs=_hourly("quote_volume"),
    ),
    Feature(
        "volume_profile_skew",
        "dimensionless",
        _FIVES,
        _DAY,
        "Third standardised moment of the bars' mean prices under their volumes, at least 60 bars with a trade. "
        "Positive: most volume at low prices, a tail of volume above.",
        "skewness of volume at price",
        ANY,
        inputs=columns_of("bars.candles_5m", "quote_volume", "volume", "minutes"),
    ),
    Feature(
        "range_expansion_ratio",
        "ratio",
        _HOURS,
        "1 h against the 20 h before",
        "True range of the hour over the mean of the 20 before it, at least 15 of them; 1 is neutral.",
        "Wilder 1978",
        NON_NEGATIVE,
        inputs=_RANGES,
    ),
    Feature(
        "high_low_range",
        "quote ccy",
        _TICKER,
        "24 h",
        "The venue's 24 h high less its low; NULL where it publishes none, as Hyperliquid.",
        "definition",
        NON_NEGATIVE,
        inputs=_LEVELS,
    ),
    Feature(
        "high_low_range_pct",
        "percent",
        _TICKER,
        "24 h",
        "100 ln(high / low) of the venue's 24 h.",
        "log range, Parkinson 1980",
        NON_NEGATIVE,
        inputs=_LEVELS,
    ),
    Feature(
        "range_vs_atr",
        "ratio",
        _HOURS,
        "1 h against Wilder's 14 h",
        "True range of the hour over the average true range of the hours before it. Wilder's smoothing begins 250 h "
        "back with the mean of 14; at least 14 hours. 1 is neutral.",
        "Wilder 1978",
        NON_NEGATIVE,
        inputs=_RANGES,
    ),
    Feature(
        "volatility_compression_idx",
        "ratio",
        _FIVES,
        "1 h against 24 h of 5 min bars",
        "max(0, 1 - parkinson_1h / parkinson_24h).",
        "Parkinson 1980",
        SHARE,
        inputs=_REACH,
    ),
    Feature(
        "volatility_expansion_idx",
        "ratio",
        _FIVES,
        "1 h against 24 h of 5 min bars",
        "max(0, parkinson_1h / parkinson_24h - 1).",
        "Parkinson 1980",
        NON_NEGATIVE,
        inputs=_REACH,
    ),
    Feature(
        "realized_volatility",
        "fraction per sqrt year",
        _FIVES,
        _DAY,
        "sqrt(365 x 288 x the mean squared 5 min log return), at least 260 returns; without a hole the root of 365 "
        "times their sum of squares.",
        "Andersen, Bollerslev, Diebold & Labys 2003",
        NON_NEGATIVE,
        inputs=_RETURNS,
    ),
    Feature(
        "price_change_pct",
        "percent",
        _FIVES,
        "24 h",
        "100 ln(P / P 24 h before), P the last traded price of the hour up to the bar's end.",
        "log return",
        ANY,
        inputs=columns_of("bars.candles_5m", "close", "minutes"),
    ),
    Feature(
        "price_change_zscore",
        "sigma",
        "candles (5 min and 1 h)",
        "24 h against the 30 d before them",
        "ln(P / P 24 h before) over the root of the mean daily realised variance of the 30 days before these 24 h, "
        "from at least 20 days' worth of 5 min returns. A large move does not shrink itself.",
        "volatility-scaled return",
        ANY,
        inputs=(
            *columns_of("bars.candles_5m", "close", "minutes"),
            *columns_of("bars.candles_1h", "squares", "returns"),
        ),
    ),
    Feature(
        "trade_count_percentile",
        "fraction",
        _HOURS,
        _SAME_HOUR,
        "Percent rank of the hour's number of trades among the same hours of day, at least 20 of 30.",
        "seasonally adjusted",
        SHARE,
        inputs=_hourly("trade_count"),
    ),
    Feature(
        "institutional_interest_idx",
        "fraction",
        _HOURS,
        "1 h against the previous 30 d",
        "Percent rank of the hour's value per trade, at least 60 hours. A proxy: split orders hide their size.",
        "average trade size, cf. Barclay & Warner 1993",
        SHARE,
        inputs=_hourly("quote_volume", "trade_count"),
    ),
    Feature(
        "market_strength",
        "fraction",
        _HOURS,
        "14 h",
        "Money flow index / 100: share of the flow (typical price x volume) of the hours in which the typical price "
        "rose, of those in which it rose or fell; at least 12 of 14. 0.5 is neutral, NULL without a change.",
        "Quong & Soudack 1989",
        SHARE,
        inputs=(*_RANGES, "bars.candles_1h.volume"),
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature(
        "bipower_variation",
        "log points squared",
        _FIVES,
        _DAY,
        "pi/2 x 288 x the mean |r| |r before|, at least 260 pairs: the variance of 24 h without jumps.",
        "Barndorff-Nielsen & Shephard 2004",
        NON_NEGATIVE,
        inputs=_RETURNS,
    ),
    Feature(
        "jump_share",
        "fraction",
        _FIVES,
        _DAY,
        "max(0, 1 - bipower variation / realised variance); NULL without variance.",
        "Barndorff-Nielsen & Shephard 2004",
        SHARE,
        inputs=_RETURNS,
    ),
    Feature(
        "volume_24h_quote",
        "quote ccy",
        _TICKER,
        "24 h",
        "Traded value of 24 h as the venue publishes it.",
        "definition",
        NON_NEGATIVE,
        inputs=("bars.ticker_1m.quote_volume_24h",),
    ),
    Feature(
        "parkinson_1h",
        "log points per sqrt 5 min",
        _FIVES,
        "1 h of 5 min bars",
        "sqrt(mean ln(high / low)^2 / (4 ln 2)), at least 10 bars.",
        "Parkinson 1980",
        NON_NEGATIVE,
        inputs=_REACH,
    ),
    Feature(
        "parkinson_24h",
        "log points per sqrt 5 min",
        _FIVES,
        _DAY,
        "The same over 24 h, at least 260 bars.",
        "Parkinson 1980",
        NON_NEGATIVE,
        inputs=_REACH,
    ),
)

TICKER = Group(
    "ticker",
    "Hours and days of candles, minute by minute: volume, range, volatility, money flow.",
    "five-minute candles known of the last 24 h",
    FEATURES,
    COMPANIONS,
)
