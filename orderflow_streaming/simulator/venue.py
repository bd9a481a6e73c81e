"""What a simulated venue is, apart from its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listing:
    """One contract. Prices are whole ticks and sizes whole lots everywhere in the simulator."""

    symbol: str
    venue_symbol: str
    price_places: int
    """Decimals in which the venue writes prices."""
    tick_units: int
    """One tick in units of the last written decimal."""
    lot_places: int
    """Decimals in which the venue writes sizes; one lot is a unit of the last one."""
    contract_size: float = 1.0
    """Base coin per unit of size."""
    funding_hours: int = 8

    @property
    def tick(self) -> float:
        return float(self.tick_units / 10**self.price_places)

    @property
    def lot(self) -> float:
        return float(10**-self.lot_places)


@dataclass(frozen=True, slots=True)
class Venue:
    """A market and how it follows the latent price."""

    name: str
    """``binance_futures``."""
    listings: Mapping[str, Listing]
    """By exchange-neutral symbol."""
    lag_slots: int
    """Tenths of a second by which it lags the latent price; at most 600."""
    activity: float
    """Order rates relative to a large venue."""
    premium_bps: float
    """Mean premium over the index."""
    premium_sd_bps: float
    """Standard deviation of the premium."""
    noise_bps: float = 0.2
    """Standard deviation of its own noise around the fair price."""
    perpetual: bool = True
    """False for spot: no index, funding, open interest or liquidations."""
