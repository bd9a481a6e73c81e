"""What the simulated world takes each symbol to be: a plausible starting point, not a quotation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Character:
    """One symbol, the same on every venue. Money is USD, rates are events per second on a large venue."""

    price: float
    """Price at which the simulation starts."""
    volatility: float
    """Annualised standard deviation of log returns in the normal regime, as a fraction."""
    market_share: float
    """Share of the variance that comes from the factor common to all symbols."""
    trade_rate: float
    """Taker orders per second."""
    quote_rate: float
    """Changes of resting orders per second, on top of those that follow a trade."""
    order_usd: float
    """Median taker order."""
    open_interest_usd: float
    """Open interest around which the simulated one moves."""


CHARACTERS: dict[str, Character] = {
    "BTCUSDT": Character(96_000.0, 0.50, 0.55, 6.0, 34.0, 900.0, 8.0e9),
    "ETHUSDT": Character(3_300.0, 0.65, 0.50, 5.0, 30.0, 700.0, 5.0e9),
    "SOLUSDT": Character(190.0, 0.85, 0.45, 3.0, 20.0, 450.0, 1.2e9),
    "XRPUSDT": Character(2.4, 0.85, 0.40, 2.4, 16.0, 400.0, 9.0e8),
    "ARUSDT": Character(9.5, 1.05, 0.35, 0.35, 5.0, 120.0, 1.4e7),
    "BRETTUSDT": Character(0.055, 1.40, 0.25, 0.30, 4.0, 90.0, 8.0e6),
    "POPCATUSDT": Character(0.28, 1.40, 0.25, 0.35, 4.5, 100.0, 1.5e7),
    "WIFUSDT": Character(0.75, 1.25, 0.30, 0.80, 7.0, 160.0, 7.0e7),
    "PNUTUSDT": Character(0.22, 1.40, 0.25, 0.55, 5.5, 110.0, 3.0e7),
}
