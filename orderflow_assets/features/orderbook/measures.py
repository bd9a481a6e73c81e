"""Book minutes of several series from their snapshots."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, Mask, slope
from orderflow_assets.features.orderbook import changes, depth, flow
from orderflow_assets.features.orderbook.changes import Pairs, Traded
from orderflow_assets.features.orderbook.seconds import BPS, Books
from orderflow_assets.features.orderbook.walls import Walls

LEAD_IN_S = 10
"""Seconds of book before the first bar that its first second looks back to."""

_SECONDS = 60
_LEAST_SECONDS = 30
"""Seconds of a bar a slope needs."""


def minutes_of(book: Books, sold: Traded, bought: Traded, bars: int) -> dict[str, Array]:
    """Every measure, (series, bars) each, from books that start ``LEAD_IN_S`` seconds before the first bar."""

    def per_bar(seconds: np.ndarray) -> np.ndarray:
        return seconds[:, seconds.shape[1] - bars * _SECONDS :].reshape(-1, bars, _SECONDS)

    def mean(seconds: Array) -> Array:
        total, count = _summed(per_bar(seconds))
        with np.errstate(invalid="ignore"):
            return total / count

    def total(seconds: Array) -> Array:
        summed, count = _summed(per_bar(seconds))
        return np.where(count > 0, summed, np.nan)

    def closing(seconds: np.ndarray) -> np.ndarray:
        return per_bar(seconds)[:, :, -1]

    known = per_bar(book.standing >= 0)

    def seen(flags: Mask) -> Array:
        return np.where(known.any(axis=2), per_bar(flags).any(axis=2), np.nan)

    step, lagged = changes.pairs(book.standing, 1), changes.pairs(book.standing, LEAD_IN_S)
    sides = {
        name: (side, distance, traded, name == "bid")
        for name, side, distance, traded in zip(("bid", "ask"), book.sides, book.distances, (sold, bought), strict=True)
    }
    taken = {name: changes.taken(side, step, traded) for name, (side, _, traded, _) in sides.items()}
    wall = {name: Walls.of(side, away, book.standing, bid) for name, (side, away, _, bid) in sides.items()}
    moved = [changes.added_and_cancelled(side, step, taken[name], bid) for name, (side, _, _, bid) in sides.items()]
    added, cancelled = (total(step.by_second(bid + ask)) for bid, ask in zip(*moved, strict=True))
    kept = [changes.survived(side, lagged, bid) for side, _, _, bid in sides.values()]
    still, stood = (bid + ask for bid, ask in zip(*kept, strict=True))
    reach, centre = depth.coverage(book), depth.centre(book)
    log_depth = book.by_second(depth.log_depth(book))
    pair_sum, product = log_depth[:, 1:] + log_depth[:, :-1], log_depth[:, 1:] * log_depth[:, :-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        of_snapshots = {
            "depth_imbalance_5": depth.imbalance(book, 5),
            "depth_imbalance_10": depth.imbalance(book, 10),
            "cumulative_depth_imbalance": depth.band_imbalance(book, reach),
            "coverage_bps": reach,
            "liquidity_gradient": depth.gradient(book),
            "liquidity_concentration_idx": depth.concentration(book),
            **{f"{name}_depth_5": depth.notional(side, 5) for name, (side, *_) in sides.items()},
            **{f"{name}_depth_10": depth.notional(side, 10) for name, (side, *_) in sides.items()},
            **{
                f"{name}_depth_25bps": depth.within(side.value, away, depth.NEAR_BPS)
                for name, (side, away, *_) in sides.items()
            },
        }
        return {
            **{name: mean(book.by_second(values)) for name, values in of_snapshots.items()},
            "vwap_depth": closing(book.by_second(centre)),
            "vwap_depth_bps": closing(book.by_second(BPS * (centre / book.mid - 1))),
            "add_cancel_ratio": added / (added + cancelled),
            "liquidity_persistence_score": mean(lagged.by_second(still / stood)),
            "liquidity_migration_velocity": _SECONDS
            * slope(per_bar(book.by_second(depth.mean_distance(book))), _LEAST_SECONDS),
            "pull_wall_detected": seen(wall["bid"].pulled(step, taken["bid"]) | wall["ask"].pulled(step, taken["ask"])),
            "push_wall_detected": seen(wall["bid"].pushed() | wall["ask"].pushed()),
            **{
                f"{name}_wall_detected": np.where(known[:, :, -1], closing(walls.seen), np.nan)
                for name, walls in wall.items()
            },
            **dict(zip(flow.MLOFI, _level_flow(book, step, bars), strict=True)),
            "log_depth_count": np.isfinite(per_bar(log_depth)).sum(axis=2).astype(float),
            "log_depth_sum": total(log_depth),
            "log_depth_square": total(log_depth**2),
            "log_depth_pairs": np.isfinite(per_bar(product)).sum(axis=2).astype(float),
            "log_depth_pair_sum": total(pair_sum),
            "log_depth_product": total(product),
        }


def _summed(seconds: Array) -> tuple[Array, Array]:
    """Sum and number of the known values along the last axis."""
    known = np.isfinite(seconds)
    return np.where(known, seconds, 0.0).sum(axis=-1), np.count_nonzero(known, axis=-1)


def _level_flow(book: Books, step: Pairs, bars: int) -> Array:
    """Flow of each level over the mean size of all ten, (levels, series, bars)."""

    def total(seconds: Array) -> tuple[Array, Array]:
        return _summed(seconds[..., seconds.shape[-1] - bars * _SECONDS :].reshape(*seconds.shape[:-1], bars, _SECONDS))

    moved, seen = total(step.by_second(flow.level_flow(book, step)))
    size, shown = _summed(flow.level_depth(book).T)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_depth = total(book.by_second(size))[0] / total(book.by_second(shown.astype(float)))[0]
        return np.where(seen > 0, moved / mean_depth, np.nan)
