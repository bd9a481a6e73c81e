"""What buying on one venue and selling on another brings, after taker fees: pure functions of quotes and books.

Both legs trade at once out of balances that lie on both venues; moving them between venues is not in the price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import Array, Mask

BPS = 1e4


@dataclass(frozen=True, slots=True)
class BestPair:
    """The pair of venues with the largest net spread, (times,) each: places of the buying and the selling venue, -1
    where no two venues are known; spreads in bps, NaN there."""

    buy: npt.NDArray[np.int64]
    sell: npt.NDArray[np.int64]
    gross_bps: Array
    net_bps: Array


def best_pair(buy_price: Array, sell_price: Array, fee_bps: Array) -> BestPair:
    """Of the prices at which each venue sells to us and buys from us, (venues, times), NaN where unknown.

    Net is what remains of the value bought after both takers' fees (venues,); positive is a profit.
    """
    fee = fee_bps[:, None] / BPS
    with np.errstate(invalid="ignore"):
        net = (sell_price * (1 - fee))[None, :, :] / (buy_price * (1 + fee))[:, None, :] - 1
    venues, times = buy_price.shape
    net[np.arange(venues), np.arange(venues)] = np.nan
    flat = np.where(np.isfinite(net), net, -np.inf).reshape(venues * venues, times)
    best = flat.argmax(axis=0)
    when = np.arange(times)
    found = np.isfinite(flat[best, when])
    buy, sell = np.divmod(best, venues)
    gross = sell_price[sell, when] / buy_price[buy, when] - 1
    return BestPair(
        np.where(found, buy, -1),
        np.where(found, sell, -1),
        np.where(found, BPS * gross, np.nan),
        np.where(found, BPS * flat[best, when], np.nan),
    )


def executable(ask: Array, bid: Array, fee_bps: Array) -> Mask:
    """Times at which some pair nets more than zero at the touch; (venues, times) to (times,)."""
    fee = fee_bps[:, None] / BPS
    cheapest = np.where(np.isfinite(ask), ask * (1 + fee), np.inf).min(axis=0)
    dearest = np.where(np.isfinite(bid), bid * (1 - fee), -np.inf).max(axis=0)
    return dearest > cheapest


def run_lengths(flags: Mask) -> npt.NDArray[np.int64]:
    """Length of the unbroken run of true values that ends at each place, (…, times)."""
    index = np.arange(flags.shape[-1])
    broken = np.maximum.accumulate(np.where(flags, -1, index), axis=-1)
    return np.where(flags, index - broken, 0)


def walked_price(price: Array, qty: Array, value: float) -> Array:
    """Mean price of taking ``value`` of quote currency from a side, levels last and best first; NaN where the levels
    that are shown hold less."""
    notional = np.where(np.isfinite(price * qty), price * qty, 0.0)
    before = np.cumsum(notional, axis=-1) - notional
    taken = np.clip(value - before, 0, notional)
    with np.errstate(invalid="ignore", divide="ignore"):
        base = np.where(taken > 0, taken / price, 0.0).sum(axis=-1)
        return np.where(notional.sum(axis=-1) >= value, value / base, np.nan)


def mean_pairwise_correlation(values: Array, least: int) -> tuple[Array, Array]:
    """Mean correlation over the pairs of venues and the number of pairs; ``values`` are (venues, windows, times).

    A pair needs ``least`` times at which both are known and neither constant; NaN without any pair.
    """
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    centred = np.where(known, values - centre[..., None], 0.0).transpose(1, 0, 2)
    mask = known.transpose(1, 0, 2).astype(float)
    other = mask.transpose(0, 2, 1)
    count = mask @ other
    total = centred @ other
    square = centred**2 @ other
    product = centred @ centred.transpose(0, 2, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = count * square - total**2
        correlation = (count * product - total * total.transpose(0, 2, 1)) / np.sqrt(spread * spread.transpose(0, 2, 1))
        varied = spread > 1e-12 * count * square
    usable = (count >= least) & varied & varied.transpose(0, 2, 1) & np.triu(np.ones(count.shape[1:], bool), 1)
    pairs = usable.sum(axis=(1, 2)).astype(float)
    summed = np.where(usable, correlation, 0.0).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return summed / pairs, pairs
