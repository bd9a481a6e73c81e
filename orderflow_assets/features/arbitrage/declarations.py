"""The two trades between perpetuals of one symbol, declared: what they earn and what they cost.

Both buy on one venue and sell on another, with takers' orders, and close both legs again: fees are the base tier of
``analytics/fees.py`` twice per leg, the spread is each leg's quoted one of the bar once (half on entry, half on exit).
Slippage beyond the touch, margin and transfers are not in it. Rows are per symbol and minute, under the exchange
``all``.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, NON_NEGATIVE, SHARE, Feature, Group
from orderflow_assets.features.funding.declarations import VENUES
from orderflow_assets.lineage import Sources, columns_of

FUNDING_HOLDING_H, BASIS_HOLDING_H = 24, 8
"""Planned holding times: assumptions."""
MEMORY_DAYS, LEAST_EPISODES = 30, 20

_FUNDING, _MARKS, _CLOSE = "funding, all venues", "mark_prices, all venues", "bar close"
_COSTS = ("bars.bars_1m.spread_bps",)
_SPREAD = ("features.funding.funding_cross_exchange_spread",)
_PULL = tuple(
    f"features.mark_prices.{name}"
    for name in ("premium_bps", "basis_ou_mean_bps", "basis_ou_phi", "basis_mean_reversion_speed")
)
_FUNDING_LEGS = columns_of("features.funding", "funding_low_exchange", "funding_high_exchange")
_EDGE = (*_SPREAD, *_FUNDING_LEGS, *_COSTS, *_PULL)
_APART = ("bars.premium_spreads_1m.basis_spread",)
_BASIS_LEGS = columns_of("bars.premium_spreads_1m", "high_exchange", "low_exchange")


def _cost_columns(legs: Sources) -> tuple[Feature, ...]:
    """What the legs cost; ``legs`` are the columns that say which venues they are on."""
    return (
        Feature("fees_bps", "bps", "constants", _CLOSE, "Taker fees of both legs, in and out.", "analytics/fees.py",
                NON_NEGATIVE, inputs=legs),
        Feature("spreads_bps", "bps", "quotes", "bar", "Quoted spreads of both legs, time-weighted.", "quoted spread",
                NON_NEGATIVE, inputs=(*legs, *_COSTS)),
    )  # fmt: skip


FUNDING_ARBITRAGE = Group(
    "funding_arbitrage",
    "Collecting funding on one perpetual and paying it on another, one row per symbol and minute.",
    "venues whose rate is known",
    (
        Feature(
            "arbitrage_spread",
            "fraction per 8 h",
            _FUNDING,
            _CLOSE,
            "funding.funding_cross_exchange_spread: highest less lowest f8.",
            "funding differential on one interval",
            NON_NEGATIVE,
            inputs=_SPREAD,
        ),
        Feature(
            "arbitrage_opportunity",
            "flag",
            "funding, mark_prices and quotes, all venues",
            _CLOSE,
            "expected_profit_bps exceeds 0.",
            "net edge",
            dtype="flag",
            inputs=_EDGE,
        ),
        Feature(
            "long_exchange",
            "label",
            _FUNDING,
            _CLOSE,
            "Venue with the lowest f8: buy there.",
            "argmin",
            VENUES,
            "label",
            inputs=("features.funding.funding_low_exchange",),
        ),
        Feature(
            "short_exchange",
            "label",
            _FUNDING,
            _CLOSE,
            "Venue with the highest f8: sell there.",
            "argmax",
            VENUES,
            "label",
            inputs=("features.funding.funding_high_exchange",),
        ),
        Feature(
            "expected_profit_bps",
            "bps",
            "funding, mark_prices and quotes, all venues",
            _CLOSE,
            f"Over a holding time of {FUNDING_HOLDING_H} h: funding_collected_bps - fees_bps - spreads_bps - "
            "basis_change_bps. Assumes that the rates stay what they are.",
            "net edge",
            ANY,
            inputs=_EDGE,
        ),
    ),
    (
        Feature(
            "expected_profit_per_year",
            "fraction per year",
            "funding, mark_prices and quotes, all venues",
            _CLOSE,
            f"expected_profit_bps / 10,000 x 8760 / {FUNDING_HOLDING_H}: as if one could trade it again and again.",
            "simple annualisation",
            ANY,
            inputs=_EDGE,
        ),
        Feature(
            "funding_collected_bps",
            "bps",
            _FUNDING,
            _CLOSE,
            f"10,000 x arbitrage_spread x {FUNDING_HOLDING_H} / 8.",
            "funding differential",
            NON_NEGATIVE,
            inputs=_SPREAD,
        ),
        Feature(
            "basis_change_bps",
            "bps",
            _MARKS,
            "24 h of 1 min",
            "Expected change over the holding time of the short leg's premium less the long leg's, each on its way to "
            "the mean of its fit (mark_prices.basis_mean_reversion_speed); none where a fit does not pull.",
            "Uhlenbeck & Ornstein 1930",
            ANY,
            inputs=(*_FUNDING_LEGS, *_PULL),
        ),
        *_cost_columns(_FUNDING_LEGS),
    ),
)

BASIS_ARBITRAGE = Group(
    "basis_arbitrage",
    "Selling the dearer of two perpetuals against their indices and buying the cheaper, one row per symbol and minute.",
    "venues whose premium is known",
    (
        Feature(
            "basis_spread",
            "fraction",
            _MARKS,
            _CLOSE,
            "Highest less lowest premium (mark / index - 1) over the venues; NULL under two.",
            "premium differential",
            NON_NEGATIVE,
            inputs=_APART,
        ),
        Feature(
            "arbitrage_opportunity",
            "flag",
            "mark_prices and quotes, all venues",
            _CLOSE,
            "expected_profit_bps exceeds 0.",
            "net edge",
            dtype="flag",
            inputs=(*_APART, *_BASIS_LEGS, *_COSTS),
        ),
        Feature(
            "long_basis_exchange",
            "label",
            _MARKS,
            _CLOSE,
            "Venue with the highest premium, which is long the basis: sell the perpetual there.",
            "argmax",
            VENUES,
            "label",
            inputs=("bars.premium_spreads_1m.high_exchange",),
        ),
        Feature(
            "short_basis_exchange",
            "label",
            _MARKS,
            _CLOSE,
            "Venue with the lowest premium: buy the perpetual there.",
            "argmin",
            VENUES,
            "label",
            inputs=("bars.premium_spreads_1m.low_exchange",),
        ),
        Feature(
            "expected_profit_bps",
            "bps",
            "mark_prices and quotes, all venues",
            "24 h of 1 min",
            f"Over a holding time of {BASIS_HOLDING_H} h: 10,000 x basis_spread x (1 - exp(-kappa x "
            f"{BASIS_HOLDING_H})) - fees_bps - spreads_bps, kappa the pull of basis_spread (spread_reversion_speed). "
            "Funding paid meanwhile is not in it.",
            "Uhlenbeck & Ornstein 1930",
            ANY,
            inputs=(*_APART, *_BASIS_LEGS, *_COSTS),
        ),
        Feature(
            "convergence_probability",
            "fraction",
            _MARKS,
            f"{MEMORY_DAYS} d",
            f"Share of the episodes of the last {MEMORY_DAYS} d in which basis_spread rose to its present level or "
            f"above and fell to half of where it rose to within {BASIS_HOLDING_H} h; NULL under {LEAST_EPISODES} "
            "episodes that are that long over.",
            "empirical frequency",
            SHARE,
            inputs=_APART,
        ),
    ),
    (
        Feature(
            "expected_profit_per_year",
            "fraction per year",
            "mark_prices and quotes, all venues",
            "24 h of 1 min",
            f"expected_profit_bps / 10,000 x 8760 / {BASIS_HOLDING_H}: as if one could trade it again and again.",
            "simple annualisation",
            ANY,
            inputs=(*_APART, *_BASIS_LEGS, *_COSTS),
        ),
        Feature(
            "spread_reversion_speed",
            "1/h",
            _MARKS,
            "24 h of 1 min, fitted every 15 min",
            "kappa of basis_spread, fitted as mark_prices.basis_mean_reversion_speed.",
            "Uhlenbeck & Ornstein 1930, discretised as AR(1)",
            "(0, inf)",
            inputs=_APART,
        ),
        Feature(
            "convergence_episodes",
            "count",
            _MARKS,
            f"{MEMORY_DAYS} d",
            "Episodes behind convergence_probability.",
            "count",
            NON_NEGATIVE,
            inputs=_APART,
        ),
        *_cost_columns(_BASIS_LEGS),
    ),
)
