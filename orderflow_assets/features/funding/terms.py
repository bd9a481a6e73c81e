"""What the venues publish about their funding formulas: constants of their documentation, not measurements.

All of them charge, per interval of h hours, (P + clamp(i - P, -d, d)) h/8 for an average premium P, within a cap.
Contracts that a venue lists under other terms (an interest leg of zero, a cap of their own) are not told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

MAJORS: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")


@dataclass(frozen=True, slots=True)
class FundingTerms:
    """``interest`` and ``clamp`` are fractions per 8 h, ``cap`` is the widest fraction per interval the venue lists.

    ``impact_value`` is the value in quote currency for which impact prices are taken, ``major_impact_value`` the one
    of :data:`MAJORS`; None where the venue states none.
    """

    interest: float
    clamp: float
    cap: float
    impact_value: float | None
    major_impact_value: float | None
    source: str


TERMS: dict[str, FundingTerms] = {
    "binance": FundingTerms(
        0.0001, 0.0005, 0.03, 10_000, 20_000,
        "binance.com, Introduction to Binance Futures Funding Rates: 0.03 % a day, impact margin notional "
        "200 USDT / initial margin rate at the highest leverage (here 50x, majors 100x)",
    ),
    "bybit": FundingTerms(
        0.0001, 0.0005, 0.04, 10_000, 20_000,
        "bybit.com, Introduction to Funding Rate: 0.03 % a day, impact margin notional 200 USDT / initial margin rate "
        "at the highest leverage (here 50x, majors 100x); caps of instruments-info",
    ),
    "okx": FundingTerms(
        0.0001, 0.0005, 0.015, 10_000, 20_000,
        "okx.com/docs-v5, Get funding rate: interestRate, maxFundingRate and impactValue as published per contract",
    ),
    "gateio": FundingTerms(
        0.0001, 0.0005, 0.03, 5_000, 60_000,
        "gate.com/docs/developers/apiv4, Futures contracts: interest_rate 0.0003 a day, funding_impact_value",
    ),
    "hyperliquid": FundingTerms(
        0.0001, 0.0005, 0.04, 6_000, 20_000,
        "hyperliquid.gitbook.io/hyperliquid-docs/trading/funding: 0.01 % per 8 h, 4 % an hour at most; "
        "impact notionals of Robust price indices",
    ),
    "kucoin": FundingTerms(
        0.0001, 0.0005, 0.03, None, None,
        "kucoin.com, Funding fees: 0.03 % a day against the base coin's zero; no impact value stated",
    ),
}  # fmt: skip
"""By exchange."""

YEAR_8H = 3 * 365
"""Settlements of 8 h in a year."""


def terms(exchange: str) -> FundingTerms:
    """The terms of an exchange; KeyError that names the declared ones for any other."""
    if exchange not in TERMS:
        raise KeyError(f"no funding terms of {exchange!r}. Declared: {', '.join(TERMS)}. Add them to TERMS.")
    return TERMS[exchange]
