"""The mark price features, declared.

K is the mark price, X the index price, (K - X) / X the premium: positive where the perpetual trades above its index.
Each price stands 60 s at most. Without an index every feature of basis is NULL. h is the hours between settlements.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, NON_NEGATIVE, POSITIVE, SHARE, Feature, Group
from orderflow_assets.features.funding.terms import TERMS

CONTANGO_BPS, RELEASE_BPS = 5.0, 3.0
DISLOCATED_SIGMA, DISLOCATED_BPS, DISLOCATED_S = 3.5, 20.0, 10
LEAST_SPOT_VENUES = 3
COVERED = 0.5
"""Share of an hour or of a funding interval for which there must be a premium, or its mean is NULL."""

_MARKS, _BAR, _CLOSE = "mark_prices", "bar", "bar close"
_DAY, _WEEK = "bar against the previous 24 h", "bar against the previous 7 d"
_FIT = "24 h of 1 min, fitted every 15 min"
_INTERVAL = "current funding interval"
_WIDEST = max(terms.cap for terms in TERMS.values())

_MARK, _INDEX = "bars.marks_1m.mark_close", "bars.marks_1m.index_close"
_PREMIUM, _PREMIUM_S = "bars.marks_1m.premium", "bars.marks_1m.premium_s"
_IMPACT = "bars.marks_1m.impact_premium"
_SPOT = ("bars.marks_1m.spot_mid", "bars.marks_1m.spot_venues")
_DUE = ("bars.funding_1m.next_funding_time", "bars.funding_1m.interval_hours")

FEATURES: tuple[Feature, ...] = (
    Feature(
        "mark_spot_basis",
        "quote ccy",
        _MARKS,
        _BAR,
        "K - X, time-weighted over the bar.",
        "basis",
        ANY,
        inputs=("bars.marks_1m.basis",),
    ),
    Feature(
        "mark_spot_basis_pct",
        "percent",
        _MARKS,
        _BAR,
        "100 (K - X) / X, time-weighted over the bar.",
        "relative basis (premium)",
        ANY,
        inputs=(_PREMIUM,),
    ),
    Feature(
        "basis_zscore",
        "sigma",
        _MARKS,
        _DAY,
        "mark_spot_basis_pct against its own 24 h before the bar.",
        "z-score",
        ANY,
        inputs=(_PREMIUM,),
    ),
    Feature(
        "basis_percentile",
        "fraction",
        _MARKS,
        _WEEK,
        "Percent rank of mark_spot_basis_pct among its own 7 d before the bar.",
        "percent rank",
        SHARE,
        inputs=(_PREMIUM,),
    ),
    Feature(
        "annualized_basis",
        "fraction per year",
        _MARKS,
        _INTERVAL,
        "Mean premium of the funding interval so far x 8760 / h; NULL where less than half of it is covered.",
        "He, Manela, Ross & von Wachter 2022",
        ANY,
        inputs=(_PREMIUM, _PREMIUM_S, *_DUE),
    ),
    Feature(
        "basis_regime",
        "label",
        _MARKS,
        "1 h, memory of 24 h",
        f"By the mean premium of 1 h (premium_1h_bps): contango above {CONTANGO_BPS:g}, backwardation below "
        f"-{CONTANGO_BPS:g}, neutral within {RELEASE_BPS:g} bps. In between it is as at the last bar of the previous "
        "24 h that was not; neutral where there was none.",
        "sign of basis, with hysteresis",
        "{contango, backwardation, neutral}",
        "label",
        inputs=(_PREMIUM, _PREMIUM_S),
    ),
    Feature(
        "index_divergence",
        "bps",
        "mark_prices and quotes",
        _CLOSE,
        f"10,000 (X / S - 1), S the median mid of the spot venues that quoted within 10 s, at least "
        f"{LEAST_SPOT_VENUES}. Far from zero the index is stale or off its market.",
        "index integrity check",
        ANY,
        inputs=(_INDEX, *_SPOT),
    ),
    Feature(
        "index_divergence_risk",
        "fraction",
        "mark_prices and quotes",
        _WEEK,
        "Percent rank of |index_divergence| among its own 7 d before the bar.",
        "percent rank",
        SHARE,
        inputs=(_INDEX, *_SPOT),
    ),
    Feature(
        "mark_price_velocity",
        "bps per min",
        _MARKS,
        "60 s",
        "10,000 ln(K / K 60 s before).",
        "log return",
        ANY,
        inputs=(_MARK,),
    ),
    Feature(
        "mark_price_vs_mid",
        "bps",
        "mark_prices and quotes",
        _CLOSE,
        "10,000 (K / M - 1), M the perpetual's mid.",
        "relative difference",
        ANY,
        inputs=(_MARK, "bars.bars_1m.mid_close"),
    ),
    Feature(
        "basis_mean_reversion_speed",
        "1/h",
        _MARKS,
        _FIT,
        "kappa = -60 ln(phi), phi of the premium b at the minutes' closes from the regression of its change on its "
        "level: b_t - b_(t-1) = a + (phi - 1) b_(t-1) + e. NULL unless 0 < phi < 1 or under 60 pairs.",
        "Uhlenbeck & Ornstein 1930, discretised as AR(1)",
        POSITIVE,
        inputs=(_MARK, _INDEX),
    ),
    Feature(
        "funding_pressure",
        "fraction per interval",
        "mark_prices, orderbook and funding",
        _INTERVAL,
        "(P + clamp(i - P, -d, d)) h / 8 within the venue's widest cap: the rate that the mean premium P of the "
        "interval so far implies, with the venue's interest leg i and clamp d (features/funding/terms.py). P is of "
        "impact prices or of mark prices, as premium_form says.",
        "perpetual funding formula of the venues",
        f"[-{_WIDEST:g}, {_WIDEST:g}]",
        inputs=(_PREMIUM, _PREMIUM_S, _IMPACT, *_DUE),
    ),
    Feature(
        "dislocation_detected",
        "flag",
        _MARKS,
        _DAY,
        f"In the bar the premium stood at least {DISLOCATED_S} s with a robust z against the bars of the previous 24 h "
        f"beyond {DISLOCATED_SIGMA:g} and itself beyond {DISLOCATED_BPS:g} bps, seen once a second.",
        "modified z, Iglewicz & Hoaglin 1993",
        dtype="flag",
        inputs=(
            _PREMIUM,
            "main.mark_prices.mark_price",
            "main.mark_prices.index_price",
            "main.index_prices.index_price",
        ),
    ),
    Feature("mark_price", "quote ccy", _MARKS, _CLOSE, "K.", "venue", POSITIVE, inputs=(_MARK,)),
    Feature(
        "index_price",
        "quote ccy",
        _MARKS,
        _CLOSE,
        "X, from the mark price's message or, where the venue sends it apart (OKX), from its index stream; NULL where "
        "neither has it.",
        "venue",
        POSITIVE,
        inputs=(_INDEX,),
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature("premium_bps", "bps", _MARKS, _CLOSE, "10,000 (K / X - 1).", "premium", ANY, inputs=(_MARK, _INDEX)),
    Feature(
        "premium_1h_bps",
        "bps",
        _MARKS,
        "1 h",
        "Premium, time-weighted over 1 h; NULL where less than half of it is covered.",
        "premium",
        ANY,
        inputs=(_PREMIUM, _PREMIUM_S),
    ),
    Feature(
        "basis_robust_z",
        "sigma",
        _MARKS,
        _DAY,
        "(premium - median) / (1.4826 MAD) of the bar against its own 24 h before.",
        "modified z, Iglewicz & Hoaglin 1993",
        ANY,
        inputs=(_PREMIUM,),
    ),
    Feature(
        "basis_half_life_h",
        "h",
        _MARKS,
        _FIT,
        "ln 2 / basis_mean_reversion_speed.",
        "Uhlenbeck & Ornstein 1930",
        POSITIVE,
        inputs=(_MARK, _INDEX),
    ),
    Feature(
        "basis_ou_phi",
        "ratio",
        _MARKS,
        _FIT,
        "phi of the fit behind basis_mean_reversion_speed: 1 and more is no pull back.",
        "AR(1)",
        ANY,
        inputs=(_MARK, _INDEX),
    ),
    Feature(
        "basis_ou_mean_bps",
        "bps",
        _MARKS,
        _FIT,
        "Level that the fit pulls to, a / (1 - phi); NULL where it does not pull.",
        "AR(1)",
        ANY,
        inputs=(_MARK, _INDEX),
    ),
    Feature(
        "basis_adf_pvalue",
        "probability",
        _MARKS,
        _FIT,
        "p-value of the augmented Dickey-Fuller test with a constant and 11 lags against a unit root in the premium.",
        "Said & Dickey 1984; MacKinnon 2010",
        SHARE,
        inputs=(_MARK, _INDEX),
    ),
    Feature(
        "interval_premium",
        "fraction",
        "mark_prices and orderbook",
        _INTERVAL,
        "P of funding_pressure.",
        "perpetual funding formula of the venues",
        ANY,
        inputs=(_PREMIUM, _PREMIUM_S, _IMPACT, *_DUE),
    ),
    Feature(
        "premium_form",
        "label",
        "mark_prices and orderbook",
        _INTERVAL,
        "impact: P is the mean over the minutes' closes of the impact price premium, which at least half of the "
        "interval so far has; mark: it is the time-weighted (K - X) / X.",
        "perpetual funding formula of the venues",
        "{impact, mark}",
        "label",
        inputs=(_PREMIUM, _PREMIUM_S, _IMPACT, *_DUE),
    ),
    Feature(
        "spot_venues",
        "count",
        "quotes",
        _CLOSE,
        "Spot venues that quoted the symbol within 10 s.",
        "count",
        NON_NEGATIVE,
        inputs=("bars.marks_1m.spot_venues",),
    ),
)

MARK_PRICES = Group(
    "mark_prices",
    "Features of mark and index prices, one row per perpetual and minute.",
    "mark prices published in the bar",
    FEATURES,
    COMPANIONS,
)
