"""Order flow imbalance of every level, from one second of the book to the next.

What a level gained on the bid less what it gained on the ask (Cont, Cucuringu & Zhang 2023, Quantitative Finance
23:10): a better price counts its whole size as gained, a worse one the size that stood before as lost.
"""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.features.orderbook.changes import lagged
from orderflow_assets.features.orderbook.seconds import Book, Side

LEVELS = 10
MLOFI: tuple[str, ...] = tuple(f"mlofi_{level}" for level in range(1, LEVELS + 1))


def level_flow(book: Book) -> Array:
    """Net flow of each level in each second but the first, (seconds - 1, levels); NaN where a side lacks the level."""
    bid, ask = (lagged(side, 1, LEVELS) for side in book.sides)
    return _gained(*bid, outward=1) - _gained(*ask, outward=-1)


def level_depth(book: Book) -> Array:
    """Mean size of both sides at each level, (seconds, levels)."""
    bid, ask = (side.qty[:, :LEVELS] for side in book.sides)
    return (bid + ask) / 2


def _gained(now: Side, then: Side, outward: int) -> Array:
    """Size a side gained per level; ``outward`` is the sign of a price that is better for it."""
    step = outward * (now.price - then.price)
    gained = np.where(step >= 0, now.qty, 0.0) - np.where(step <= 0, then.qty, 0.0)
    return np.where(np.isfinite(step), gained, np.nan)


def first_component(flows: Array) -> tuple[Array, float] | None:
    """Loadings (levels,) of the first principal component of ``flows`` (minutes, levels), and the variance it explains.

    The sizes of the loadings add up to 1 and their sum is positive; None where the flows do not vary.
    """
    variances, vectors = np.linalg.eigh(np.cov(flows, rowvar=False))
    total = variances.sum()
    if not total > 0:
        return None
    loadings = vectors[:, -1] / np.abs(vectors[:, -1]).sum()
    return loadings * (np.sign(loadings.sum()) or 1.0), float(variances[-1] / total)
