"""What nobody publishes and the map of liquidation levels therefore assumes, in one place."""

from __future__ import annotations

LEVERAGE: tuple[tuple[int, float], ...] = ((5, 0.30), (10, 0.30), (25, 0.25), (50, 0.10), (100, 0.05))
"""Leverage at which positions are opened, and the share of what is opened at it."""

MAINTENANCE_RATE = 0.005
"""Maintenance margin over notional: the lowest tier of large contracts, the same for all."""

LONG_SHARE = 0.5
"""Of an increase of the open interest, the part mapped to longs; the rest is mapped to shorts."""

LEVEL_SHARE = 0.10
"""Of a side's map, what has to be liquidated by a price for that price to be its trigger."""

LEAST_COVERED = 0.5
"""Share of the distance the stored book must reach out to, for its depth to be compared with liquidations."""
