"""``analytics.cross_exchange``: executable spreads, dispersion and common flow of a symbol's venues, every minute."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.analytics.cross_declarations import CROSS_EXCHANGE, SIZE_QUOTE
from orderflow_assets.analytics.fees import taker_fee_bps
from orderflow_assets.analytics.spreads import (
    BPS,
    best_pair,
    executable,
    mean_pairwise_correlation,
    run_lengths,
    walked_price,
)
from orderflow_assets.analytics.symbols import Venues, minutes_between, rows
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.series import HOUR, MINUTE, SERIES, STALE, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, Mask, current, windows
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.store import Store, Window

_HOUR, _MINUTE_S = 60, 60
_LEAST_MINUTES = 30
_SECOND = timedelta(seconds=1)
_BAR_COLUMNS = ("bid_price", "ask_price", "quote_volume", "taker_buy_quote")
_STALE_US = round(STALE / timedelta(microseconds=1))

_LEVELS = tuple(
    f"{side}_{level}_{what}" for side in ("bid", "ask") for what in ("price", "qty") for level in range(1, LEVELS + 1)
)
_BOOKS_SQL = f"""
SELECT {SERIES}, make_timestamp((epoch_us(timestamp) + 59999999) // 60000000 * 60000000) AS bar_ts, {", ".join(_LEVELS)}
FROM main.orderbooks
WHERE timestamp > $start::TIMESTAMP AND timestamp <= $end::TIMESTAMP
  AND epoch_us(bar_ts) - epoch_us(timestamp) <= {_STALE_US}
QUALIFY row_number() OVER (PARTITION BY {SERIES}, bar_ts ORDER BY timestamp DESC, id DESC) = 1
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, QUOTES_1S, STREAMS["orderbooks"].table, CROSS_EXCHANGE.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = minutes_between(start, end)
    bars = Grid.read(store, BARS_1M, _BAR_COLUMNS, start + MINUTE - HOUR, end, MINUTE)
    venues = Venues(bars.series)
    quotes = Grid.read(store, QUOTES_1S, ("bid_price", "ask_price"), start - HOUR, end, _SECOND, bars.series)
    levels = store.query(_BOOKS_SQL, {"start": start, "end": end}, timeout_s=600)
    books = Grid.of(levels, start + MINUTE, end, MINUTE, bars.series)
    walked = {side: _walked(books, side) for side in ("bid", "ask")}
    measured = []
    for symbol in venues.symbols:
        own = venues.of(symbol)
        fee = np.array([taker_fee_bps(*bars.series[place][1:]) for place in own])
        names = np.array(["_".join(bars.series[place][1:]) for place in own], dtype=object)
        measured.append(
            _touch({name: current(bars[name][own], outputs) for name in ("bid_price", "ask_price")}, fee, names)
            | _sized(walked["ask"][own], walked["bid"][own], fee, names)
            | _windows({name: quotes[name][own] for name in ("bid_price", "ask_price")}, fee, outputs)
            | _common_flow(2 * bars["taker_buy_quote"][own] - bars["quote_volume"][own], outputs)
        )
    present = venues.count(bars.present[:, -outputs:])
    if not (present > 0).any():
        return store.write(CROSS_EXCHANGE.table, CROSS_EXCHANGE.table.arrow_schema.empty_table(), Window(start, end))
    values = {name: np.stack([one[name] for one in measured]) for name in measured[0]}
    data = rows(CROSS_EXCHANGE.table, venues.symbols, start, present > 0, values | {"n_obs": present})
    return store.write(CROSS_EXCHANGE.table, data, Window(start, end))


def _named(names: npt.NDArray[np.object_], place: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    named = names[place]
    named[place < 0] = None
    return named


def _touch(quotes: dict[str, Array], fee: Array, names: npt.NDArray[np.object_]) -> dict[str, npt.NDArray[Any]]:
    bid, ask = quotes["bid_price"], quotes["ask_price"]
    best = best_pair(ask, bid, fee)
    mid = (bid + ask) / 2
    quoting = np.isfinite(mid).sum(axis=0).astype(float)
    ordered = np.sort(mid, axis=0)
    several = quoting > 1
    spread = np.full(len(quoting), np.nan)
    for count in np.unique(quoting[several]).astype(int):
        at = quoting == count
        known = ordered[:count, at]
        spread[at] = BPS * (known[-1] - known[0]) / np.median(known, axis=0)
    return {
        "quoting_venues": quoting,
        "price_dispersion_bps": spread,
        "buy_market": _named(names, best.buy),
        "sell_market": _named(names, best.sell),
        "gross_spread_bps": best.gross_bps,
        "net_spread_bps": best.net_bps,
    }


def _walked(books: Grid, side: str) -> Array:
    """Mean price of taking the stated size from a side at each closing edge, NaN where the book is crossed."""
    price, qty = (
        np.stack([books[f"{side}_{level}_{what}"] for level in range(1, LEVELS + 1)], axis=-1)
        for what in ("price", "qty")
    )
    sound = books["bid_1_price"] < books["ask_1_price"]
    return np.where(sound, walked_price(price, qty, SIZE_QUOTE), np.nan)


def _sized(ask: Array, bid: Array, fee: Array, names: npt.NDArray[np.object_]) -> dict[str, npt.NDArray[Any]]:
    best = best_pair(ask, bid, fee)
    return {
        "sized_buy_market": _named(names, best.buy),
        "sized_sell_market": _named(names, best.sell),
        "sized_net_spread_bps": best.net_bps,
    }


def _windows(quotes: dict[str, Array], fee: Array, outputs: int) -> dict[str, Array]:
    """Seconds in which a trade across venues pays, per bar and as the run up to its closing edge."""
    bid, ask = quotes["bid_price"], quotes["ask_price"]
    pays = executable(ask, bid, fee)
    several: Mask = np.isfinite(bid).sum(axis=0) > 1
    per_bar = pays[-outputs * _MINUTE_S :].reshape(outputs, _MINUTE_S)
    known = several[-outputs * _MINUTE_S :].reshape(outputs, _MINUTE_S).any(axis=1)
    runs = windows(pays[None].astype(float), HOUR // _SECOND, outputs * _MINUTE_S)[0, _MINUTE_S - 1 :: _MINUTE_S]
    return {
        "executable_s": np.where(known, per_bar.sum(axis=1), np.nan),
        "executable_window_s": np.where(known, run_lengths(runs > 0)[:, -1], np.nan),
    }


def _common_flow(flow: Array, outputs: int) -> dict[str, Array]:
    correlation, pairs = mean_pairwise_correlation(windows(flow, _HOUR, outputs), _LEAST_MINUTES)
    return {"flow_synchronization": correlation, "flow_pairs": pairs}


LAYER = Layer(
    CROSS_EXCHANGE.table,
    _compute,
    (BARS_1M.qualified, QUOTES_1S.qualified, STREAMS["orderbooks"].table.qualified),
    HOUR + _SECOND,
    "analytics",
    ("duckdb", "python"),
    backs={BARS_1M.qualified: HOUR, STREAMS["orderbooks"].table.qualified: timedelta(0)},
    lineage=CROSS_EXCHANGE.lineage | {"n_obs": columns_of(BARS_1M.qualified, "bar_ts")},
)
