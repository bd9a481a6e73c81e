"""Trading fees of the markets at the base tier: constants the venues publish, not measurements.

Volume tiers, referral rebates and discounts for paying in a venue's own token are left out: an account that has them
pays less. Whatever is net of fees here is net of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from orderflow_streaming import markets


@dataclass(frozen=True, slots=True)
class Fee:
    """Base-tier fees in bps of the traded value.

    ``stated`` is the last day for which the figures were seen stated; None where the page bears no date.
    """

    taker_bps: float
    maker_bps: float
    tier: str
    source: str
    stated: date | None


FEES: dict[str, Fee] = {
    "binance_futures": Fee(5, 2, "regular user", "https://www.binance.com/en/fee/futureFee", date(2026, 10, 12)),
    "binance_spot": Fee(10, 10, "regular user", "https://www.binance.com/en/fee/trading", None),
    "bybit_futures": Fee(
        5.5, 2, "non-VIP", "https://www.bybit.com/en/help-center/article/Trading-Fee-Structure", date(2026, 10, 16)
    ),
    "bybit_spot": Fee(
        10, 10, "non-VIP", "https://www.bybit.com/en/help-center/article/Trading-Fee-Structure", date(2024, 7, 31)
    ),
    "okx_futures": Fee(5, 2, "regular user level 1", "https://www.okx.com/fees", date(2026, 10, 16)),
    "gateio_futures": Fee(5, 2, "VIP 0", "https://www.gate.com/announcements/article/50390", date(2026, 4, 9)),
    "hyperliquid_futures": Fee(
        4.5, 1.5, "tier 0", "https://hyperliquid.gitbook.io/hyperliquid-docs/trading/fees", date(2026, 9, 26)
    ),
    "kucoin_spot": Fee(10, 10, "level 0, class A coins", "https://www.kucoin.com/vip/privilege", date(2024, 10, 24)),
    "kucoin_futures": Fee(6, 2, "level 0", "https://api-futures.kucoin.com/api/v1/contracts/active", date(2025, 5, 8)),
}
"""By market name. KuCoin charges spot pairs of its classes B and C two and three times the class A fee."""


def fee(exchange: str, market_type: str) -> Fee:
    """The fees of a market; raises :class:`~orderflow_streaming.markets.UnknownNameError` for one not declared."""
    return FEES[markets.market(f"{exchange}_{market_type}").name]


def taker_fee_bps(exchange: str, market_type: str) -> float:
    """What taking liquidity costs, in bps of the traded value, at the base tier: a published constant."""
    return fee(exchange, market_type).taker_bps


def maker_fee_bps(exchange: str, market_type: str) -> float:
    """What providing liquidity costs, in bps of the traded value, at the base tier: a published constant."""
    return fee(exchange, market_type).maker_bps
