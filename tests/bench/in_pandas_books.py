"""Books, marks, open interest, liquidations and tickers in plain pandas; see :mod:`tests.bench.in_pandas`."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from orderflow_streaming.store import Store
from tests.bench.in_pandas import DAY, LEAST, MINUTE, STALE, Frame, at_times, long, read, time_weighted, wide

SIDES = ("bid", "ask")
_TOP = [f"{side}_{level}_{what}" for side in SIDES for what in ("price", "qty") for level in range(1, 11)]
_TAIL = [
    f"{side}_tail[{level - 10}][{part}] AS {side}_{level}_{what}"
    for side in SIDES
    for part, what in ((1, "price"), (2, "qty"))
    for level in range(11, 21)
]


def orderbook(store: Store, start: datetime, end: datetime) -> Frame:
    books = read(
        store, ", ".join(["timestamp", "id", *_TOP, *_TAIL]), "main.orderbooks", pd.Timestamp(start) - STALE, end
    )
    rows = books[books["timestamp"] < end].copy()
    rows["bar_ts"] = rows["timestamp"].dt.floor("min") + MINUTE
    flow = _flow(rows, start)
    seconds = pd.date_range(start, end, freq="1s", unit="us")
    names = [f"{side}_{level}_{what}" for side in SIDES for what in ("price", "qty") for level in range(1, 21)]
    book = at_times(books, seconds, names, STALE)
    book = book[book["bid_1_price"] < book["ask_1_price"]].reset_index(drop=True)
    book["second"], book["bar_ts"] = book["bar_ts"], book["bar_ts"].dt.ceil("min")
    levels = _level_flow(book, start)
    book = book[book["second"] > start].reset_index(drop=True)
    measured = _by_second(book)
    minutes = measured.groupby([book["series"], book["bar_ts"]], observed=True).mean()
    last = book["second"] == book["bar_ts"]
    at_the_end = ["vwap_depth", "vwap_depth_bps", "bid_wall_detected", "ask_wall_detected"]
    closing = measured.loc[last, at_the_end].set_index(pd.MultiIndex.from_frame(book.loc[last, ["series", "bar_ts"]]))
    minutes = minutes.drop(columns=[*at_the_end, "distance"]).join(closing).join(levels)
    minutes["liquidity_migration_velocity"] = _velocity(book, measured["distance"])
    found = flow.join(minutes, how="left").reset_index()
    since = pd.Timestamp(start) - pd.Timedelta("25h")
    for name, side in (("support_strength", "bid"), ("resistance_strength", "ask")):
        column = f"{side}_depth_25bps"
        past = read(store, f"bar_ts, {column}", "bars.books_1m", since, start)
        depth = wide(pd.concat([past, found[["series", "bar_ts", column]]]), column, since, end)
        usual = depth.shift(1).rolling(DAY, min_periods=LEAST).median()
        strength = long({name: (depth / usual.where(usual > 0)).loc[lambda frame: frame.index > start]}, found)
        found = found.astype({"series": str}).merge(strength, on=["series", "bar_ts"])
    return found


def _flow(rows: Frame, start: datetime) -> Frame:
    """Order flow at the touch, snapshot by snapshot (Cont, Kukanov & Stoikov 2014)."""
    touch = rows[["series", "timestamp", "bar_ts"]].assign(
        b=rows["bid_1_price"], qb=rows["bid_1_qty"], a=rows["ask_1_price"], qa=rows["ask_1_qty"]
    )
    was = touch.groupby("series", observed=True)[["timestamp", "b", "qb", "a", "qa"]].shift(1)
    bought = touch["qb"].where(touch["b"] >= was["b"], 0) - was["qb"].where(touch["b"] <= was["b"], 0)
    sold = touch["qa"].where(touch["a"] <= was["a"], 0) - was["qa"].where(touch["a"] >= was["a"], 0)
    fresh = touch["timestamp"] - was["timestamp"] <= STALE
    touch["ofi_cks"], touch["size"] = (bought - sold).where(fresh), (touch["qb"] + touch["qa"]) / 2
    touch = touch[touch["timestamp"] >= start]
    found = touch.groupby(["series", "bar_ts"], observed=True).agg(
        n_obs=("b", "size"), ofi_cks=("ofi_cks", lambda flow: flow.sum(min_count=1)), size=("size", "mean")
    )
    found["queue_position_drift"] = found["ofi_cks"] / found["size"]
    return found.drop(columns="size")


def _by_second(book: Frame) -> Frame:
    """What one book says, a row per series and second."""
    price = {side: book[[f"{side}_{level}_price" for level in range(1, 21)]].to_numpy() for side in SIDES}
    qty = {side: book[[f"{side}_{level}_qty" for level in range(1, 21)]].to_numpy() for side in SIDES}
    mid = (price["bid"][:, 0] + price["ask"][:, 0]) / 2
    value = {side: price[side] * qty[side] for side in SIDES}
    distance = {side: 1e4 * np.abs(price[side] - mid[:, None]) / mid[:, None] for side in SIDES}
    reach = np.minimum(50.0, np.minimum(*(np.nanmax(distance[side], axis=1) for side in SIDES)))

    def share(bid: np.ndarray, ask: np.ndarray) -> np.ndarray:
        return (bid - ask) / (bid + ask)

    def within(side: str, limit: np.ndarray | float) -> np.ndarray:
        limits = np.broadcast_to(limit, mid.shape)[:, None] * (1 + 1e-9)
        return np.nansum(np.where(distance[side] <= limits, value[side], 0.0), axis=1)

    def walls(side: str) -> np.ndarray:
        top = qty[side][:, :10]
        middle = np.median(top, axis=1, keepdims=True)
        mad = np.median(np.abs(top - middle), axis=1, keepdims=True)
        near = distance[side][:, :10] <= 25 * (1 + 1e-9)
        return ((top > middle + 6 * 1.4826 * mad) & (mad > 0) & near).any(axis=1).astype(float)

    top_price = np.hstack([price[side][:, :10] for side in SIDES])
    top_qty = np.hstack([qty[side][:, :10] for side in SIDES])
    total = top_qty.sum(axis=1)
    centre = (top_price * top_qty).sum(axis=1) / total
    product = sum(np.nansum(distance[side] * np.cumsum(value[side], axis=1), axis=1) for side in SIDES)
    square = sum(np.nansum(distance[side] ** 2, axis=1) for side in SIDES)
    return Frame(
        {
            "depth_imbalance_5": share(*(qty[side][:, :5].sum(axis=1) for side in SIDES)),
            "depth_imbalance_10": share(*(qty[side][:, :10].sum(axis=1) for side in SIDES)),
            "cumulative_depth_imbalance": share(*(within(side, reach) for side in SIDES)),
            "coverage_bps": reach,
            "liquidity_gradient": product / square,
            "liquidity_concentration_idx": (((top_qty / total[:, None]) ** 2).sum(axis=1) - 1 / 20) / (1 - 1 / 20),
            "vwap_depth": centre,
            "vwap_depth_bps": 1e4 * (centre / mid - 1),
            **{f"{side}_depth_{levels}": value[side][:, :levels].sum(axis=1) for side in SIDES for levels in (5, 10)},
            **{f"{side}_depth_25bps": within(side, 25.0) for side in SIDES},
            **{f"{side}_wall_detected": walls(side) for side in SIDES},
            "distance": (top_qty * 1e4 * np.abs(top_price - mid[:, None]) / mid[:, None]).sum(axis=1) / total,
        },
        index=book.index,
    )


def _level_flow(book: Frame, start: datetime) -> Frame:
    """Flow of each of ten levels from second to second over the mean size of them all, minute by minute."""
    book = book.sort_values(["series", "second"])
    was = book.groupby("series", observed=True).shift(1)
    follows = (book["second"] - was["second"] == pd.Timedelta("1s")).to_numpy()
    keys = [book["series"], book["bar_ts"]]
    flows, sizes = {}, []
    for level in range(1, 11):
        gained = []
        for side, outward in zip(SIDES, (1, -1), strict=True):
            step = outward * (book[f"{side}_{level}_price"] - was[f"{side}_{level}_price"])
            now, then = book[f"{side}_{level}_qty"], was[f"{side}_{level}_qty"]
            gained.append(now.where(step >= 0, 0) - then.where(step <= 0, 0))
            sizes.append(now / 2)
        flows[f"mlofi_{level}"] = (gained[0] - gained[1]).where(follows)
    inside = (book["second"] > start).to_numpy()
    moved = Frame(flows)[inside].groupby([key[inside] for key in keys], observed=True).sum(min_count=1)
    shown = (pd.concat(sizes, axis=1).sum(axis=1) / 10)[inside].groupby([key[inside] for key in keys], observed=True)
    return moved.div(shown.mean(), axis=0)


def _velocity(book: Frame, distance: pd.Series) -> pd.Series:
    """60 times the slope per second of the distance, minute by minute."""
    x = (book["second"] - book["bar_ts"]).dt.total_seconds()
    parts = Frame({"x": x, "y": distance, "xy": x * distance, "xx": x * x})
    sums = parts.groupby([book["series"], book["bar_ts"]], observed=True).agg(["sum", "size"])
    n = sums["x", "size"]
    top = n * sums["xy", "sum"] - sums["x", "sum"] * sums["y", "sum"]
    return (60 * top / (n * sums["xx", "sum"] - sums["x", "sum"] ** 2)).where(n >= 30)


def marks_1m(store: Store, start: datetime, end: datetime) -> Frame:
    stands = pd.Timedelta("60s")
    columns = "timestamp, id, mark_price, index_price"
    marks = read(store, columns, "main.mark_prices", pd.Timestamp(start) - stands, end)
    following = marks.groupby("series", observed=True)["timestamp"].shift(-1)
    marks["until"] = np.minimum(following.fillna(pd.Timestamp(end)), marks["timestamp"] + stands)
    marks["basis"] = marks["mark_price"] - marks["index_price"]
    marks["premium"] = marks["basis"] / marks["index_price"]
    means = time_weighted(marks, ["basis", "premium"], start)
    inside = marks[marks["timestamp"] > start]
    bar = inside["timestamp"].dt.ceil("min").rename("bar_ts")
    means["n_obs"] = inside.groupby([inside["series"], bar], observed=True).size()
    minutes = pd.date_range(pd.Timestamp(start) + MINUTE, end, freq="1min", unit="us")
    closing = at_times(marks, minutes, ["mark_price", "index_price"], stands).set_index(["series", "bar_ts"])
    closing.columns = ["mark_close", "index_close"]
    return means.join(closing).reset_index()


def ticker_1m(store: Store, start: datetime, end: datetime) -> Frame:
    stands = pd.Timedelta("5min")
    columns = ["high_24h", "low_24h", "quote_volume_24h"]
    told = read(store, ", ".join(["timestamp", "id", *columns]), "main.ticker_24h", pd.Timestamp(start) - stands, end)
    minutes = pd.date_range(pd.Timestamp(start) + MINUTE, end, freq="1min", unit="us")
    standing = at_times(told, minutes, columns, stands).dropna(how="all", subset=columns)
    bars = read(store, "bar_ts", "bars.bars_1m", start, end).astype({"series": str})
    return bars.merge(standing.astype({"series": str}), on=["series", "bar_ts"])


def oi_1m(store: Store, start: datetime, end: datetime) -> Frame:
    since, futures = pd.Timestamp(start), "market_type = 'futures'"
    held = read(store, "timestamp, id, open_interest", "main.open_interest", since - pd.Timedelta("15min"), end)
    gap = held.groupby("series", observed=True)["timestamp"].diff()
    held["stands"] = np.minimum(2 * gap.fillna(pd.Timedelta("5min")), pd.Timedelta("10min"))
    marks = read(store, "timestamp, id, mark_price", "main.mark_prices", since - pd.Timedelta("60s"), end)
    volume = "coalesce(quote_volume_24h, volume_24h * last_price) AS volume_24h_quote"
    told = read(store, f"timestamp, id, {volume}", "main.ticker_24h", since - pd.Timedelta("5min"), end, futures)
    columns = "timestamp, id, long_short_ratio"
    ratios = read(store, columns, "main.positioning", since - pd.Timedelta("20min"), end, "kind = 'accounts'")
    bars = read(store, "bar_ts", "bars.bars_1m", start, end, futures).astype({"series": str})
    minutes = pd.date_range(since + MINUTE, end, freq="1min", unit="us")
    for rows, column, stands in (
        (held, "open_interest", "10min"),
        (marks, "mark_price", "60s"),
        (told, "volume_24h_quote", "5min"),
        (ratios, "long_short_ratio", "20min"),
    ):
        standing = at_times(rows, minutes, [column], pd.Timedelta(stands)).astype({"series": str})
        bars = bars.merge(standing, on=["series", "bar_ts"], how="left")
    inside = marks[marks["timestamp"] > start]
    bar = inside["timestamp"].dt.ceil("min").rename("bar_ts")
    range_ = inside.groupby([inside["series"].astype(str), bar])["mark_price"].agg(mark_low="min", mark_high="max")
    bars = bars.merge(range_.reset_index(), on=["series", "bar_ts"], how="left")
    return bars.rename(columns={"open_interest": "oi", "mark_price": "mark"})


def liquidations_1m(store: Store, start: datetime, end: datetime) -> Frame:
    since = pd.Timestamp(start) - pd.Timedelta("1us")
    closed = read(store, "timestamp, id, side, value_usd", "main.liquidations", since, end)
    closed = closed[closed["timestamp"] < end]
    closed["bar_ts"] = closed["timestamp"].dt.floor("min") + MINUTE
    late = closed["timestamp"] >= closed["bar_ts"] - pd.Timedelta("30s")
    keys = [closed["series"].astype(str), closed["bar_ts"]]
    found = pd.concat(
        {
            **{f"{side}_count": (closed["side"] == side).groupby(keys).sum() for side in ("long", "short")},
            **{
                f"{side}_value": closed["value_usd"].where(closed["side"] == side, 0).groupby(keys).sum()
                for side in ("long", "short")
            },
            "late_value": closed["value_usd"].where(late, 0).groupby(keys).sum(),
        },
        axis=1,
    ).reset_index()
    heard = [f"'{exchange}'" for exchange in ("binance", "bybit", "okx", "gateio")]
    read_in = f"exchange IN ({', '.join(heard)}) AND market_type = 'futures'"
    bars = read(store, "bar_ts", "bars.bars_1m", start, end, read_in).astype({"series": str})
    return bars.merge(found, on=["series", "bar_ts"], how="left").fillna(0)
