"""The features of open interest and positioning, declared. Futures only.

oi is base coin, P the mark price at most 60 s old; dln over a span is the change of the logarithm. A sample of the
open interest stands for twice the pace it came at, 10 min at most. Baselines of days are 5 min steps that end before
the bar closes, 60 at least.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, BALANCE, NON_NEGATIVE, POSITIVE, SHARE, Feature, Group
from orderflow_assets.features.oi.assumptions import (
    LEAST_COVERED,
    LEVEL_SHARE,
    LEVERAGE,
    LONG_SHARE,
    MAINTENANCE_RATE,
)
from orderflow_assets.features.oi.minutes import RATIO_KIND

INTENTS: dict[str, float] = {
    "long_build": 1.0,
    "short_build": -1.0,
    "long_unwind": -0.5,
    "short_cover": 0.5,
    "neutral": 0.0,
}
"""What a change of open interest and price is read as, and the score of it at full strength."""

_OI, _PRICED, _ALL = "open_interest", "open_interest and mark_prices", "open_interest, mark_prices and orderbooks"
_CLOSE, _BAR, _HOUR, _MONTH = "bar close", "bar", "1 h", "previous 30 d"
_WEEK = "15 min against the previous 7 d"
_VENUE = "positioning"
_MAP = "30 d of 5 min steps"
_MAP_SOURCE = "margin arithmetic of linear contracts"
_SHARES = ", ".join(f"{share:.0%} at {leverage}x" for leverage, share in LEVERAGE)

FEATURES: tuple[Feature, ...] = (
    Feature("oi", "base units", _OI, _CLOSE, "Open interest.", "definition", NON_NEGATIVE),
    Feature("oi_value", "quote ccy", _PRICED, _CLOSE, "oi x P.", "definition", NON_NEGATIVE),
    Feature("oi_delta", "base units", _OI, _BAR, "oi less oi one bar before.", "definition", ANY),
    Feature("oi_delta_pct", "percent", _OI, _HOUR, "100 dln oi over 1 h.", "log change", ANY),
    Feature("oi_zscore", "sigma", _OI, _MONTH, "ln oi against its own 30 d before.", "z-score of a log level", ANY),
    Feature("oi_momentum", "log points", _OI, _HOUR, "dln oi over 1 h.", "log momentum", ANY),
    Feature(
        "oi_acceleration", "log points", _OI, "2 h", "oi_momentum less that of 1 h before.", "second difference", ANY
    ),
    Feature(
        "oi_price_delta_product",
        "sigma^2",
        _PRICED,
        _WEEK,
        "z of dln oi over 15 min times z of dln P over 15 min. Positive: they move together.",
        "co-movement of price and open interest, cf. Bessembinder & Seguin 1993",
        ANY,
    ),
    Feature(
        "oi_price_divergence",
        "correlation",
        _PRICED,
        "4 h",
        "Minus the correlation of dln oi and dln P over the 48 steps of 5 min that end with the bar; NULL under 30.",
        "correlation of changes",
        BALANCE,
    ),
    Feature(
        "leverage_index",
        "ratio",
        "open_interest, mark_prices and ticker_24h",
        "24 h",
        "oi_value over the quote volume of 24 h that the venue's ticker tells (base volume x last price where it tells "
        "no value). How crowded a market is; nobody publishes leverage itself.",
        "turnover of open interest",
        NON_NEGATIVE,
    ),
    Feature(
        "leverage_zscore",
        "sigma",
        "open_interest, mark_prices and ticker_24h",
        _MONTH,
        "ln leverage_index against its own 30 d before.",
        "z-score",
        ANY,
    ),
    Feature(
        "position_intent",
        "label",
        _PRICED,
        _WEEK,
        "By the z of dln oi and of dln P over 15 min, beyond 0.5 each: both up long_build, oi up and P down "
        "short_build, both down long_unwind, oi down and P up short_cover, else neutral. A reading of two changes, "
        "not an observation of who traded.",
        "quadrants of price and open interest, Murphy 1999",
        f"{{{', '.join(INTENTS)}}}",
        dtype="label",
    ),
    Feature(
        "position_intent_score",
        "score",
        _PRICED,
        _WEEK,
        f"{', '.join(f'{score:+g} {label}' for label, score in INTENTS.items())}, times min(1, (|z oi| + |z P|) / 4).",
        "graded encoding",
        BALANCE,
    ),
    Feature(
        "long_short_ratio",
        "ratio",
        _VENUE,
        _CLOSE,
        f"Long over short {RATIO_KIND} as the venue published it last, 20 min old at most; 1 is even, NULL where it "
        "publishes none.",
        "venue statistic",
        POSITIVE,
    ),
    Feature(
        "position_crowding_score",
        "score",
        _VENUE,
        _MONTH,
        "2 |percent rank of ln long_short_ratio in its 30 d before - 0.5|; the side is crowded_side.",
        "extremity of a percentile",
        SHARE,
    ),
    Feature(
        "liquidation_cascade_risk",
        "score",
        _ALL,
        f"{_MAP}, sigma of 1 h",
        "x / (1 + x), x the larger of long_liquidation_notional over bid_depth_sigma and short_liquidation_notional "
        f"over ask_depth_sigma. NULL where the stored book reaches less than {LEAST_COVERED:.0%} of sigma_1h; between "
        "that and 1 the depth is a lower bound and this an upper one. A model on stored assumptions, no probability.",
        "forced sales over depth",
        "[0, 1)",
    ),
    Feature(
        "oi_concentration",
        "index",
        f"{_PRICED}, all venues",
        _CLOSE,
        "Herfindahl index of the venues' shares of oi_value of the symbol, (HHI - 1/n) / (1 - 1/n), for the "
        "n = oi_venues that have one, 2 at least.",
        "Hirschman 1945, Herfindahl 1950",
        SHARE,
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature("oi_delta_pct_5m", "percent", _OI, "5 min", "100 dln oi over 5 min.", "log change", ANY),
    Feature(
        "oi_price_correlation",
        "correlation",
        _PRICED,
        "4 h",
        "-oi_price_divergence.",
        "correlation of changes",
        BALANCE,
    ),
    Feature(
        "long_short_kind",
        "label",
        _VENUE,
        _CLOSE,
        "What long_short_ratio counts.",
        "venue statistic",
        f"{{{RATIO_KIND}}}",
        dtype="label",
    ),
    Feature(
        "crowded_side",
        "sign",
        _VENUE,
        _MONTH,
        "1 where ln long_short_ratio is above its median of the 30 d before (longs crowd), -1 below, 0 at it.",
        "sign of the deviation",
        BALANCE,
    ),
    Feature(
        "long_liquidation_notional",
        "quote ccy",
        _ALL,
        f"{_MAP}, sigma of 1 h",
        "Value at P of the mapped longs whose liquidation price lies between P and P (1 - sigma_1h). Each rise of oi "
        f"in a step opened it at P, {LONG_SHARE:.0%} as longs: {_SHARES}. Liquidation prices: P (1 - 1/L) / (1 - m) of "
        f"longs, P (1 + 1/L) / (1 + m) of shorts, m = {MAINTENANCE_RATE:g}. A fall unwinds all in proportion; what the "
        "mark has reached since is gone. The map is that of the last step before the close.",
        _MAP_SOURCE,
        NON_NEGATIVE,
    ),
    Feature(
        "short_liquidation_notional",
        "quote ccy",
        _ALL,
        f"{_MAP}, sigma of 1 h",
        "The same of mapped shorts between P and P (1 + sigma_1h).",
        _MAP_SOURCE,
        NON_NEGATIVE,
    ),
    Feature(
        "long_trigger_pct",
        "percent",
        _PRICED,
        _MAP,
        f"Distance from P down to the first price by which {LEVEL_SHARE:.0%} of the longs mapped below P are "
        "liquidated.",
        _MAP_SOURCE,
        NON_NEGATIVE,
    ),
    Feature(
        "short_trigger_pct",
        "percent",
        _PRICED,
        _MAP,
        f"Distance from P up to the first price by which {LEVEL_SHARE:.0%} of the shorts mapped above P are "
        "liquidated.",
        _MAP_SOURCE,
        NON_NEGATIVE,
    ),
    Feature(
        "liquidation_map_share",
        "fraction",
        _PRICED,
        _MAP,
        "Part of oi whose opening the map saw and that is not unwound since. Low after a short history: the map then "
        "says less than there is.",
        "coverage of the model",
        SHARE,
    ),
    Feature(
        "sigma_1h",
        "log points",
        "mark_prices",
        _HOUR,
        "sqrt(60 x mean squared one-minute log return of P) over the hour; NULL under 45 returns.",
        "realized volatility, Andersen et al. 2003",
        NON_NEGATIVE,
    ),
    Feature(
        "bid_depth_sigma",
        "quote ccy",
        "orderbooks",
        _CLOSE,
        "Bid notional within sigma_1h below the mid, of the stored levels: all there is where bid_depth_covered is 1, "
        "else a lower bound.",
        "depth in a price band",
        NON_NEGATIVE,
    ),
    Feature(
        "ask_depth_sigma", "quote ccy", "orderbooks", _CLOSE, "The same of asks.", "depth in a price band", NON_NEGATIVE
    ),
    Feature(
        "bid_depth_covered",
        "fraction",
        "orderbooks",
        _CLOSE,
        "Share of sigma_1h that the stored bids reach out to, 1 at most.",
        "coverage of the depth",
        SHARE,
    ),
    Feature("ask_depth_covered", "fraction", "orderbooks", _CLOSE, "The same of asks.", "coverage of the depth", SHARE),
    Feature("oi_venues", "count", f"{_PRICED}, all venues", _CLOSE, "Venues with an oi_value of the symbol.", "count"),
    Feature(
        "assumed_long_share",
        "fraction",
        "none",
        "none",
        "The part of a rise of oi that the map took as longs; an assumption, stored with what rests on it.",
        "assumption",
        SHARE,
    ),
    Feature(
        "assumed_maintenance_rate",
        "fraction",
        "none",
        "none",
        "The maintenance rate the map took for every venue and size; an assumption, stored with what rests on it.",
        "assumption",
        SHARE,
    ),
)

OI = Group(
    "oi",
    "Open interest and positioning, minute by minute; futures only.",
    "open interest samples of the bar",
    FEATURES,
    COMPANIONS,
)
