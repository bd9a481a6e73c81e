"""The one latent price per symbol that every venue follows, with its volatility and activity.

Returns have a common factor, volatility that comes in regimes and drifts slowly in between, rare jumps, and a
slight drift with the pressure of orders, which venues see in their flow. Draws depend on seed, minute and symbol
alone, so a symbol's path is the same whoever else is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.simulator.symbols import CHARACTERS

Floats = NDArray[np.float64]

SLOT_US = 100_000
"""Grid of the latent price."""
MINUTE_US = 60_000_000
SLOTS = MINUTE_US // SLOT_US
SLOTS_PER_YEAR = 365.25 * 86_400 * 1_000_000 / SLOT_US

REGIMES = np.array([0.65, 1.0, 2.2])
"""Volatility multipliers: calm, normal, storm; one regime for the whole world."""
REGIME_STEP = np.array([[0.988, 0.012, 0.0], [0.006, 0.990, 0.004], [0.0, 0.025, 0.975]])
"""Probabilities of moving between them from one minute to the next."""
LOG_VOLATILITY_SD = 0.45
LOG_VOLATILITY_MEMORY = 0.993
"""Per minute; a half-life of 99 minutes."""
PRESSURE_MEMORY = 0.5 ** (SLOT_US / 1e6 / 120.0)
"""Buying or selling pressure has a half-life of two minutes, and a standard deviation of 1."""
PRESSURE_DRIFT = 0.014
"""Drift per slot and unit of pressure, in standard deviations of a slot: about 8 % of a minute's variance."""
JUMPS_PER_DAY = 3.0
JUMP_SD = 12.0
"""In units of the standard deviation of one second."""
DIURNAL = 0.3
"""Activity is this much above its mean at 15:00 UTC and as much below at 03:00."""

_COMMON = 1_000
_START = 2_000


@dataclass(frozen=True, slots=True)
class LatentMinute:
    """One symbol during one minute."""

    log_price: Floats
    """At the end of each of the 600 slots."""
    pressure: Floats
    """Excess of buyers, per slot; positive moves the price up."""
    sigma: float
    """Standard deviation of the log return of one second."""
    activity: float
    """Arrival rates relative to normal."""


class Latent:
    """The latent prices of all symbols, advanced minute by minute."""

    def __init__(self, seed: int, start_us: int) -> None:
        self._seed = seed
        self._minute = start_us // MINUTE_US
        self._pressure = dict.fromkeys(SYMBOLS, 0.0)
        self._log_price = {symbol: float(np.log(CHARACTERS[symbol].price)) for symbol in SYMBOLS}
        world = np.random.default_rng([seed, self._minute, _START])
        self._regime = int(world.choice(3, p=[0.3, 0.6, 0.1]))
        self._log_volatility = dict(
            zip(SYMBOLS, (LOG_VOLATILITY_SD * world.standard_normal(len(SYMBOLS))).tolist(), strict=True)
        )

    def minute(self) -> dict[str, LatentMinute]:
        """The next minute of every symbol."""
        common = np.random.default_rng([self._seed, self._minute, _COMMON])
        factor = common.standard_normal(SLOTS)
        self._regime = int(common.choice(3, p=REGIME_STEP[self._regime]))
        hour = self._minute / 60 % 24
        diurnal = 1.0 + DIURNAL * float(np.cos(2 * np.pi * (hour - 15.0) / 24.0))
        minutes = {
            symbol: self._symbol(index, symbol, factor, float(REGIMES[self._regime]), diurnal)
            for index, symbol in enumerate(SYMBOLS)
        }
        self._minute += 1
        return minutes

    def _symbol(self, index: int, symbol: str, factor: Floats, regime: float, diurnal: float) -> LatentMinute:
        character = CHARACTERS[symbol]
        random = np.random.default_rng([self._seed, self._minute, index])
        slow = LOG_VOLATILITY_MEMORY * self._log_volatility[symbol]
        slow += LOG_VOLATILITY_SD * float(np.sqrt(1 - LOG_VOLATILITY_MEMORY**2) * random.standard_normal())
        self._log_volatility[symbol] = slow
        multiplier = regime * float(np.exp(slow))
        slot_sigma = character.volatility * multiplier / SLOTS_PER_YEAR**0.5

        shocks = (1 - PRESSURE_MEMORY**2) ** 0.5 * random.standard_normal(SLOTS)
        pressure = autoregression(self._pressure[symbol], PRESSURE_MEMORY, shocks)
        self._pressure[symbol] = float(pressure[-1])

        own = random.standard_normal(SLOTS)
        share = character.market_share
        steps = slot_sigma * (share**0.5 * factor + (1 - share) ** 0.5 * own)
        steps += PRESSURE_DRIFT * slot_sigma * pressure
        jumps = random.random(SLOTS) < JUMPS_PER_DAY / (1_440 * SLOTS)
        if jumps.any():
            steps[jumps] += JUMP_SD * slot_sigma * 10**0.5 * random.standard_normal(int(jumps.sum()))
        path = self._log_price[symbol] + np.cumsum(steps)
        self._log_price[symbol] = float(path[-1])
        return LatentMinute(path, pressure, slot_sigma * 10**0.5, multiplier * diurnal)


def autoregression(start: float, memory: float, shocks: Floats) -> Floats:
    """``x[i] = memory * x[i - 1] + shocks[i]`` as one weighted cumulative sum, for ``memory`` near 1."""
    powers = memory ** np.arange(1, shocks.size + 1)
    return powers * (start + np.cumsum(shocks / powers))
