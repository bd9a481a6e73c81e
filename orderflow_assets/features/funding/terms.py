"""What the venues publish about their funding formulas: constants of their documentation, not measurements.

All of them charge, per interval of h hours, (P + clamp(i - P, -d, d)) h/8 for an average premium P, within a cap.
Contracts under other terms (an interest leg of zero, a narrower cap, another impact value) are not told apart: where a
source below says "assumed", the venue publishes the figure per contract or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass

MAJORS: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")


@dataclass(frozen=True, slots=True)
class FundingTerms:
    """``interest`` and ``clamp`` are fractions per 8 h, ``cap`` is the widest rate per interval.

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
        "binance.com, Introduction to Binance Futures Funding Rates: 0.03 % a day; widest cap of fundingInfo; impact "
        "margin notional 200 USDT / initial margin rate at the highest leverage, assumed 50x, majors 100x",
    ),
    "bybit": FundingTerms(
        0.0001, 0.0005, 0.04, 10_000, 20_000,
        "bybit.com, announcement Funding Rate: 0.03 % a day; widest upperFundingRate of instruments-info; impact "
        "margin notional 200 USDT / initial margin rate at the highest leverage, assumed 50x, majors 100x",
    ),
    "okx": FundingTerms(
        0.0001, 0.0005, 0.015, 10_000, 20_000,
        "okx.com/docs-v5, Get funding rate: interestRate, widest maxFundingRate, impactValue (BTC 20,000, LTC 10,000)",
    ),
    "gateio": FundingTerms(
        0.0001, 0.0005, 0.03, 5_000, 60_000,
        "gate.com/docs/developers/apiv4, Futures contracts: interest_rate 0.0003 a day, funding_impact_value (60,000 "
        "and 5,000); cap assumed",
    ),
    "hyperliquid": FundingTerms(
        0.0001, 0.0005, 0.04, 6_000, 20_000,
        "hyperliquid.gitbook.io/hyperliquid-docs/trading/funding: 0.01 % per 8 h, 4 % an hour at most; impact "
        "notionals of contract specifications",
    ),
    "kucoin": FundingTerms(
        0.0001, 0.0005, 0.03, None, None,
        "kucoin.com/support/26686295987353, Funding Fees: same formula; interest leg and cap assumed, no impact value",
    ),
}  # fmt: skip
"""By exchange."""

YEAR_8H = 3 * 365
"""Settlements of 8 h in a year."""
