"""One series' book minutes from its book seconds."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array, Mask, slope
from orderflow_assets.features.orderbook import changes, depth, flow, walls
from orderflow_assets.features.orderbook.changes import Traded
from orderflow_assets.features.orderbook.seconds import BPS, Book

LEAD_IN_S = 10
"""Seconds of book before the first bar that its first second looks back to."""

_SECONDS = 60
_LEAST_SECONDS = 30
"""Seconds of a bar a slope needs."""


def minutes_of(book: Book, sold: Traded, bought: Traded, bars: int) -> dict[str, Array]:
    """Every measure of one series, (bars,) each, from a book that starts ``LEAD_IN_S`` seconds before the first bar."""

    def per_bar(values: np.ndarray) -> np.ndarray:
        return values[len(values) - bars * _SECONDS :].reshape(bars, _SECONDS)

    def mean(values: Array) -> Array:
        seconds = per_bar(values)
        with np.errstate(invalid="ignore"):
            return np.nansum(seconds, axis=1) / np.isfinite(seconds).sum(axis=1)

    def total(values: Array) -> Array:
        seconds = per_bar(values)
        return np.where(np.isfinite(seconds).any(axis=1), np.nansum(seconds, axis=1), np.nan)

    def seen(*flags: Mask) -> Array:
        known = np.isfinite(per_bar(book.mid)).any(axis=1)
        return np.where(known, per_bar(np.logical_or.reduce(flags)).any(axis=1), np.nan)

    sides = {"bid": (book.bid, sold, True), "ask": (book.ask, bought, False)}
    near = {
        name: depth.within(side.price * side.qty, book.distance(side), depth.NEAR_BPS)
        for name, (side, _, _) in sides.items()
    }
    wall = {name: walls.walls(book, side) for name, (side, _, _) in sides.items()}
    moved = [changes.added_and_cancelled(*side) for side in sides.values()]
    added, cancelled = (total(bid + ask) for bid, ask in zip(*moved, strict=True))
    kept = [changes.survived(side, bid) for side, _, bid in sides.values()]
    still, stood = (bid + ask for bid, ask in zip(*kept, strict=True))
    reach = depth.coverage(book)
    centre = depth.centre(book)
    log_depth = depth.log_depth(book)
    before = np.concatenate([[np.nan], log_depth[:-1]])
    now = np.where(np.isfinite(before), log_depth, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "depth_imbalance_5": mean(depth.imbalance(book, 5)),
            "depth_imbalance_10": mean(depth.imbalance(book, 10)),
            "cumulative_depth_imbalance": mean(depth.band_imbalance(book, reach)),
            "coverage_bps": mean(reach),
            "liquidity_gradient": mean(depth.gradient(book)),
            "liquidity_concentration_idx": mean(depth.concentration(book)),
            "vwap_depth": per_bar(centre)[:, -1],
            "vwap_depth_bps": per_bar(BPS * (centre / book.mid - 1))[:, -1],
            "bid_depth_5": mean(depth.notional(book.bid, 5)),
            "ask_depth_5": mean(depth.notional(book.ask, 5)),
            "bid_depth_10": mean(depth.notional(book.bid, 10)),
            "ask_depth_10": mean(depth.notional(book.ask, 10)),
            "add_cancel_ratio": added / (added + cancelled),
            "liquidity_persistence_score": mean(still / stood),
            "liquidity_migration_velocity": _SECONDS * slope(per_bar(depth.mean_distance(book)), _LEAST_SECONDS),
            "pull_wall_detected": seen(
                walls.pulled(book.bid, wall["bid"], sold, True), walls.pulled(book.ask, wall["ask"], bought, False)
            ),
            "push_wall_detected": seen(
                walls.pushed(book.bid, wall["bid"], True), walls.pushed(book.ask, wall["ask"], False)
            ),
            **{f"{name}_depth_25bps": mean(values) for name, values in near.items()},
            **{
                f"{name}_wall_detected": np.where(
                    np.isfinite(per_bar(book.mid)[:, -1]), per_bar(np.logical_or.reduce(levels, axis=1))[:, -1], np.nan
                )
                for name, levels in wall.items()
            },
            **dict(zip(flow.MLOFI, _level_flow(book, bars), strict=True)),
            "log_depth_count": per_bar(np.isfinite(log_depth)).sum(axis=1).astype(float),
            "log_depth_sum": total(log_depth),
            "log_depth_square": total(log_depth**2),
            "log_depth_pairs": per_bar(np.isfinite(now * before)).sum(axis=1).astype(float),
            "log_depth_pair_sum": total(now + before),
            "log_depth_product": total(now * before),
        }


def _level_flow(book: Book, bars: int) -> Array:
    """Flow of each level over the mean size of all ten, (levels, bars)."""

    def total(values: Array) -> tuple[Array, Array]:
        seconds = values[len(values) - bars * _SECONDS :].reshape(bars, _SECONDS, flow.LEVELS)
        known = np.isfinite(seconds)
        return np.where(known, seconds, 0.0).sum(axis=1), known.sum(axis=1)

    (moved, seen), (size, shown) = total(flow.level_flow(book)), total(flow.level_depth(book))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_depth = size.sum(axis=1) / shown.sum(axis=1)
        return np.where(seen > 0, moved / mean_depth[:, None], np.nan).T
