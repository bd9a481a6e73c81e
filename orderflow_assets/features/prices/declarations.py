"""The price features, declared. M is the mid, B and A the best bid and ask, Qb and Qa the sizes there."""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, NON_NEGATIVE, POSITIVE, SHARE, Feature, Group

_QUOTES, _TOUCH = "quotes", "quotes with sizes at the touch"
_CLOSE, _BAR, _DAY, _QUARTER = "bar close", "bar", "previous 24 h", "15 min at 1 s"

FEATURES: tuple[Feature, ...] = (
    Feature(
        "mid_price",
        "quote ccy",
        _QUOTES,
        _CLOSE,
        "M = (B + A) / 2 of the quote that stands when the bar closes; NULL when that quote is crossed, has one side "
        "only, or is more than 5 s old.",
        "midpoint",
        POSITIVE,
    ),
    Feature("bid_price", "quote ccy", _QUOTES, _CLOSE, "Best bid B of the same quote.", "best quote", POSITIVE),
    Feature("ask_price", "quote ccy", _QUOTES, _CLOSE, "Best ask A of the same quote.", "best quote", POSITIVE),
    Feature(
        "microprice",
        "quote ccy",
        _TOUCH,
        _CLOSE,
        "M + g(I, S): the mid plus the shift expected from the queue imbalance I = Qb / (Qb + Qa) in ten buckets and "
        "the spread S in ticks (four and wider together). g is estimated at 00:00 UTC on the 1 s quotes of the 24 h "
        "before; NULL until there is one, weighted_mid stands beside it.",
        "Stoikov 2018",
        POSITIVE,
    ),
    Feature(
        "microprice_deviation",
        "bps",
        _TOUCH,
        _CLOSE,
        "10,000 (microprice - M) / M. Positive: the next mid is expected higher.",
        "Stoikov 2018",
    ),
    Feature(
        "microprice_zscore",
        "sigma",
        _TOUCH,
        _DAY,
        "microprice_deviation less its mean, over its standard deviation, both of the 24 h before the bar.",
        "z-score",
        ANY,
    ),
    Feature(
        "spread",
        "quote ccy",
        _QUOTES,
        _BAR,
        "A - B, each quote weighted by the time it stood inside the bar, 5 s at most.",
        "Huang & Stoll 1996",
        POSITIVE,
    ),
    Feature(
        "spread_bps",
        "bps",
        _QUOTES,
        _BAR,
        "10,000 (A - B) / M, time-weighted in the same way.",
        "Huang & Stoll 1996",
        POSITIVE,
    ),
    Feature(
        "spread_zscore",
        "sigma",
        _QUOTES,
        _DAY,
        "ln spread_bps against its own 24 h before the bar; NULL when more than 90 % of those bars had a spread of one "
        "tick throughout.",
        "z-score of a log",
        ANY,
    ),
    Feature(
        "spread_compression_velocity",
        "log points per min",
        _QUOTES,
        "60 s at 1 s",
        "60 times the least-squares slope per second of ln spread_bps over the bar. Negative: the spread tightens.",
        "least squares",
        ANY,
    ),
    Feature(
        "spread_expansion_spike",
        "sigma",
        _QUOTES,
        _DAY,
        "How far spread_zscore exceeds 2; zero below.",
        "exceedance over a threshold",
        NON_NEGATIVE,
    ),
    Feature(
        "pressure_ratio",
        "ratio",
        _TOUCH,
        _BAR,
        "exp of the time-weighted mean of ln(Qb / Qa). Above 1: more size rests on the bid.",
        "Gould & Bonart 2016",
        POSITIVE,
    ),
    Feature(
        "bid_pressure",
        "fraction",
        _TOUCH,
        _BAR,
        "Time-weighted mean of Qb / (Qb + Qa); 0.5 is neutral.",
        "Gould & Bonart 2016; Cartea, Donnelly & Jaimungal 2018",
        SHARE,
    ),
    Feature("ask_pressure", "fraction", _TOUCH, _BAR, "1 - bid_pressure.", "Gould & Bonart 2016", SHARE),
    Feature(
        "price_efficiency",
        "1",
        _QUOTES,
        _QUARTER,
        "1 - min(1, |VR(10) - 1|) with the variance ratio of 10 s to 1 s log mid returns. 1 is a random walk; read "
        "variance_ratio to tell trending (above 1) from reverting (below 1).",
        "Lo & MacKinlay 1988",
        SHARE,
    ),
    Feature(
        "tick_reversal_rate",
        "fraction",
        _QUOTES,
        _QUARTER,
        "Share of non-zero 1 s mid changes that go against the non-zero change before; NULL under 20 changes. 0.5 "
        "has no memory, above bounces, below trends.",
        "sign-reversal frequency; Roll 1984",
        SHARE,
    ),
    Feature(
        "price_vs_vwap",
        "bps",
        "quotes and trades",
        "1 h",
        "10,000 (M / VWAP - 1) with the volume-weighted mean price of the last 60 bars.",
        "VWAP deviation",
        ANY,
    ),
    Feature(
        "mid_price_entropy",
        "1",
        _QUOTES,
        _QUARTER,
        "Shannon entropy, in bits over 3, of overlapping words of three signs of non-zero 1 s mid changes; NULL under "
        "60 words. 1: the next direction cannot be guessed from the last two.",
        "Shannon 1948; Bandt & Pompe 2002",
        SHARE,
    ),
    Feature(
        "hurst_exponent",
        "exponent",
        _QUOTES,
        "24 h of 1 min log returns",
        "Slope of ln F(s) on ln s from first-order detrended fluctuation analysis, at least 8 log-spaced scales from "
        "10 to n/4; needs n >= 720; renewed every 15 min and standing in between. 0.5: no memory.",
        "Peng et al. 1994; Weron 2002",
        ANY,
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature(
        "weighted_mid",
        "quote ccy",
        _TOUCH,
        _CLOSE,
        "(A Qb + B Qa) / (Qb + Qa), the microprice that needs no estimation.",
        "Gatheral & Oomen 2010",
        POSITIVE,
    ),
    Feature(
        "variance_ratio",
        "ratio",
        _QUOTES,
        _QUARTER,
        "VR(10), overlapping, bias-corrected.",
        "Lo & MacKinlay 1988",
        "[0, inf)",
    ),
    Feature(
        "variance_ratio_z",
        "sigma",
        _QUOTES,
        _QUARTER,
        "Heteroskedasticity-robust z* of VR(10) - 1.",
        "Lo & MacKinlay 1988",
        ANY,
    ),
    Feature(
        "hurst_stderr",
        "exponent",
        _QUOTES,
        "24 h of 1 min log returns",
        "Standard error of that slope.",
        "least squares",
        NON_NEGATIVE,
    ),
    Feature(
        "vwap_1h",
        "quote ccy",
        "trades",
        "1 h",
        "Traded value over traded volume of the last 60 bars.",
        "VWAP",
        POSITIVE,
    ),
    Feature(
        "vwap_deviation",
        "bps",
        "quotes and trades",
        "1 h",
        "price_vs_vwap, under the name its readers use.",
        "VWAP deviation",
        ANY,
    ),
    Feature(
        "mid_zscore", "sigma", _QUOTES, "previous 4 h", "ln M against the bar closes of the 4 h before.", "z-score", ANY
    ),
    Feature(
        "realized_variance_1h",
        "1",
        _QUOTES,
        "1 h",
        "Sum of squared 10 s log mid returns; NULL when more than one in ten is missing.",
        "Andersen et al. 2003",
        NON_NEGATIVE,
    ),
)

PRICES = Group(
    "prices",
    "Best bid and ask, minute by minute: level, spread, queue imbalance, efficiency.",
    "quotes published in the bar",
    FEATURES,
    COMPANIONS,
)
