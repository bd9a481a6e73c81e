"""The funding features, declared.

f is the rate per funding interval of h hours, a fraction; longs pay shorts when it is positive. f8 = 8 f / h makes
intervals comparable. A settled rate is what was charged, a live one the venue's estimate of the next: two series,
never mixed in one baseline. A bar knows the settlements before its closing edge, and the last one for as long as its
own interval lasts: after that a settlement was missed and what is settled is NULL.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, NON_NEGATIVE, POSITIVE, SHARE, Feature, Group
from orderflow_assets.features.funding.live import LIVE_STALE_MIN
from orderflow_assets.features.funding.terms import TERMS, YEAR_8H

BASELINE, LEAST_SETTLEMENTS, TREND = 90, 21, 9
LEAST_PEERS = 4
EXTREME, NOTABLE = 0.40, 0.10
"""Fractions per year of the excess over the interest leg."""

REGIMES: dict[str, int] = {
    "positive_extreme": 2,
    "positive": 1,
    "neutral": 0,
    "negative": -1,
    "negative_extreme": -2,
}
VENUES = "{" + ", ".join(TERMS) + "}"

_FUNDING, _ALL = "funding", "funding, all venues"
_CLOSE, _LAST = "bar close", "last settlement"
_90 = f"the {BASELINE} settlements before the last"
_RATE = "[-0.1, 0.1]"
"""Wider than any cap a venue has set: beyond it the unit is wrong."""
_SETTLED = ("bars.funding_settlements.rate", "bars.funding_settlements.interval_hours")
_LIVE = ("bars.funding_1m.live_rate", "bars.funding_1m.interval_hours")
_PREDICTED = (*_LIVE, "features.mark_prices.funding_pressure")

FEATURES: tuple[Feature, ...] = (
    Feature(
        "funding_rate",
        "fraction per interval",
        _FUNDING,
        _LAST,
        "The last settled f.",
        "venue",
        _RATE,
        inputs=_SETTLED,
    ),
    Feature(
        "predicted_funding_rate",
        "fraction per interval",
        "funding and mark_prices",
        _CLOSE,
        f"The venue's live estimate for the next settlement, {LIVE_STALE_MIN} min old at most; where there is none, "
        "mark_prices.funding_pressure (predicted_source says which).",
        "venue",
        _RATE,
        inputs=_PREDICTED,
    ),
    Feature(
        "funding_zscore",
        "sigma",
        _FUNDING,
        _90,
        f"The last settled f8 against {_90} (sample sd); NULL under {LEAST_SETTLEMENTS}.",
        "z-score",
        ANY,
        inputs=_SETTLED,
    ),
    Feature(
        "funding_percentile",
        "fraction",
        _FUNDING,
        _90,
        f"Percent rank of the last settled f8 among {_90}; NULL under {LEAST_SETTLEMENTS}.",
        "percent rank",
        SHARE,
        inputs=_SETTLED,
    ),
    Feature(
        "funding_momentum",
        "fraction per 8 h per day",
        _FUNDING,
        f"last {TREND} settlements",
        f"Least squares slope of f8 over the times of the last {TREND} settlements, per day: three times the slope per "
        "settlement where they are 8 h apart.",
        "OLS slope",
        ANY,
        inputs=_SETTLED,
    ),
    Feature(
        "funding_acceleration",
        "fraction per 8 h",
        _FUNDING,
        f"last {TREND} settlements",
        "m1 - 2 m2 + m3, the means of f8 over three settlements each, m1 of the newest.",
        "second difference of a smoothed series",
        ANY,
        inputs=_SETTLED,
    ),
    Feature(
        "funding_skew_index",
        "fraction per 8 h",
        "funding and mark_prices",
        _CLOSE,
        "Predicted f8 less the last settled f8. Positive: positions are becoming more long.",
        "forward minus realised",
        ANY,
        inputs=(*_PREDICTED, *_SETTLED),
    ),
    Feature(
        "funding_regime",
        "label",
        _FUNDING,
        _LAST,
        f"By the excess a year {YEAR_8H} f8 - {YEAR_8H} i of the last settled f8 over the venue's interest leg i "
        f"(features/funding/terms.py): beyond {EXTREME:g} extreme, beyond {NOTABLE:g} positive or negative, else "
        "neutral.",
        "level of funding; interest leg of the perpetual funding formula",
        "{" + ", ".join(REGIMES) + "}",
        "label",
        inputs=_SETTLED,
    ),
    Feature(
        "funding_regime_score",
        "score",
        _FUNDING,
        _LAST,
        "funding_regime as a number: 2, 1, 0, -1, -2.",
        "encoding",
        "[-2, 2]",
        inputs=_SETTLED,
    ),
    Feature(
        "funding_cross_exchange_spread",
        "fraction per 8 h",
        _ALL,
        _CLOSE,
        "Highest less lowest f8 of the venues that list the symbol: of each the live estimate or, without one, the "
        "last settled rate within its interval. NULL under two venues.",
        "funding differential on one interval",
        NON_NEGATIVE,
        inputs=(*_LIVE, *_SETTLED),
    ),
    Feature(
        "funding_carry_yield",
        "fraction per year",
        _FUNDING,
        _LAST,
        "Last settled f x 8760 / h, not compounded: what a short perpetual collects when positive.",
        "annualised funding",
        ANY,
        inputs=_SETTLED,
    ),
    Feature(
        "funding_carry_zscore",
        "sigma",
        _ALL,
        _CLOSE,
        f"(carry - median) / (1.4826 MAD) of funding_carry_yield across the venues that list the symbol where at least "
        f"{LEAST_PEERS} are known, else across the symbols of the venue where at least {LEAST_PEERS} are.",
        "cross-sectional robust z",
        ANY,
        inputs=_SETTLED,
    ),
    Feature(
        "funding_volatility",
        "fraction per 8 h",
        _FUNDING,
        f"last {BASELINE} settlements",
        f"Sample sd of f8 over the last {BASELINE} settlements; NULL under {LEAST_SETTLEMENTS}.",
        "standard deviation",
        NON_NEGATIVE,
        inputs=_SETTLED,
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature(
        "funding_interval_hours",
        "h",
        _FUNDING,
        _CLOSE,
        "h: hours between settlements, as the venue states; of the last settlement where no live rate is known.",
        "venue",
        POSITIVE,
        inputs=(_LIVE[1], _SETTLED[1]),
    ),
    Feature(
        "funding_age_s",
        "s",
        _FUNDING,
        _LAST,
        "Time since the last settlement.",
        "age",
        POSITIVE,
        inputs=("bars.funding_settlements.settled_at", "bars.funding_settlements.interval_hours"),
    ),
    Feature(
        "funding_source",
        "label",
        _FUNDING,
        _LAST,
        "venue: funding_rate is the venue's history; estimate: it is the last live estimate before the settlement.",
        "provenance",
        "{venue, estimate}",
        "label",
        inputs=("bars.funding_settlements.source", "bars.funding_settlements.interval_hours"),
    ),
    Feature("funding_f8", "fraction per 8 h", _FUNDING, _LAST, "Last settled f8.", "f x 8 / h", ANY, inputs=_SETTLED),
    Feature(
        "funding_f8_live",
        "fraction per 8 h",
        _FUNDING,
        _CLOSE,
        f"Live f8, the venue's estimate for the next settlement, {LIVE_STALE_MIN} min old at most.",
        "f x 8 / h",
        ANY,
        inputs=_LIVE,
    ),
    Feature(
        "funding_live_age_s",
        "s",
        _FUNDING,
        _CLOSE,
        "Time since the live estimate was last heard to hold.",
        "age",
        NON_NEGATIVE,
        inputs=("bars.funding_1m.heard_at", "bars.funding_1m.live_rate"),
    ),
    Feature(
        "predicted_source",
        "label",
        "funding and mark_prices",
        _CLOSE,
        "venue: predicted_funding_rate is the venue's estimate; premium: it is mark_prices.funding_pressure.",
        "provenance",
        "{venue, premium}",
        "label",
        inputs=_PREDICTED,
    ),
    Feature(
        "funding_high_exchange",
        "label",
        _ALL,
        _CLOSE,
        "Venue with the highest f8 in funding_cross_exchange_spread: the short leg.",
        "argmax",
        VENUES,
        "label",
        inputs=(*_LIVE, *_SETTLED),
    ),
    Feature(
        "funding_low_exchange",
        "label",
        _ALL,
        _CLOSE,
        "Venue with the lowest f8: the long leg.",
        "argmin",
        VENUES,
        "label",
        inputs=(*_LIVE, *_SETTLED),
    ),
    Feature(
        "funding_venues",
        "count",
        _ALL,
        _CLOSE,
        "Venues whose f8 is known.",
        "count",
        NON_NEGATIVE,
        inputs=(*_LIVE, *_SETTLED),
    ),
)

FUNDING = Group(
    "funding",
    "Features of funding rates, one row per perpetual and minute.",
    "settlements known of the 90 before the last",
    FEATURES,
    COMPANIONS,
)
