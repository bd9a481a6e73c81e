"""Order flow imbalance of every level, from one book to the next.

What a level gained on the bid less what it gained on the ask (Cont, Cucuringu & Zhang 2023, Quantitative Finance
23:10): a better price counts its whole size as gained, a worse one the size that stood before as lost.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import MINUTE, STALE
from orderflow_assets.features.grid import Array, Mask
from orderflow_assets.features.orderbook.changes import Pairs
from orderflow_assets.features.orderbook.seconds import Books, Places, Side

LEVELS = 10
MLOFI: tuple[str, ...] = tuple(f"mlofi_{level}" for level in range(1, LEVELS + 1))

_STALE_US, _MINUTE_US = (round(span / timedelta(microseconds=1)) for span in (STALE, MINUTE))


def level_flow(book: Books, step: Pairs) -> Array:
    """Net flow of each level from the earlier to the later book of each pair, (levels, pairs).

    NaN where a side lacks the level.
    """
    bid, ask = ((side.best(LEVELS, step.now), side.best(LEVELS, step.then)) for side in book.sides)
    return _gained(*bid, outward=1) - _gained(*ask, outward=-1)


def level_depth(book: Books) -> Array:
    """Mean size of both sides at each level, (levels, snapshots)."""
    bid, ask = (side.qty[:LEVELS] for side in book.sides)
    return (bid + ask) / 2


def touch_minutes(rows: pa.Table, numbers: Places, start_us: int, bars: int) -> dict[str, Array]:
    """Flow of the best level from snapshot to snapshot, minute by minute: (series, bars) each.

    ``rows`` are the snapshots of the series ``numbers``, in order of series and time, from ``STALE`` before the first
    minute on. A snapshot is compared with the one before it if that is fresh and neither is crossed or without sizes.
    """
    number, us = rows["series"].to_numpy(), rows["us"].to_numpy()
    bid, ask = (Side(rows[f"{side}_1_price"].to_numpy(), rows[f"{side}_1_qty"].to_numpy()) for side in ("bid", "ask"))
    size = (bid.qty + ask.qty) / 2
    valid = (bid.price < ask.price) & np.isfinite(size)
    follows = (number[1:] == number[:-1]) & (us[1:] - us[:-1] <= _STALE_US) & valid[1:] & valid[:-1]
    bought, sold = (
        _gained(Side(side.price[1:], side.qty[1:]), Side(side.price[:-1], side.qty[:-1]), outward)
        for side, outward in ((bid, 1), (ask, -1))
    )
    flow = np.concatenate([[np.nan], np.where(follows, bought - sold, np.nan)])[: len(us)]
    place = np.searchsorted(numbers, number) * bars + (us - start_us) // _MINUTE_US

    def total(values: Array, counted: Mask) -> tuple[Array, Places]:
        counted = counted & (us >= start_us)
        at, cells = place[counted], len(numbers) * bars
        summed, count = np.bincount(at, values[counted], cells).astype(float), np.bincount(at, minlength=cells)
        return summed.reshape(-1, bars), count.reshape(-1, bars)

    moved, compared = total(flow, np.isfinite(flow))
    shown, seen = total(size, valid)
    with np.errstate(invalid="ignore", divide="ignore"):
        flow_of = np.where(compared > 0, moved, np.nan)
        return {
            "n_obs": total(size, np.ones(len(us), bool))[1].astype(float),
            "ofi_cks": flow_of,
            "queue_position_drift": np.where(shown > 0, flow_of / (shown / seen), np.nan),
        }


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
