"""The computed columns in plain pandas: what a practitioner writes for one hour of all series.

Each function reads what it needs from the store and gives a frame with the key columns and the columns it covers,
named as ours are. Ticks are those of the hour; what lies before (a day of minute bars, of parents, an hour of seconds)
is read as stored, as ours is.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from orderflow_streaming.store import Store

KEY = ["symbol", "exchange", "market_type"]
MINUTE, STALE = pd.Timedelta("1min"), pd.Timedelta("5s")
DAY, LEAST = 1440, 60
Frame = pd.DataFrame


def read(store: Store, columns: str, table: str, since: datetime, until: datetime, extra: str = "true") -> Frame:
    """Rows with ``since < time <= until`` in order of series and time."""
    time = "bar_ts" if table.startswith(("bars", "features")) and "parent" not in table else "timestamp"
    rows = store.query(
        f"SELECT symbol || '|' || exchange || '|' || market_type AS series, {columns} FROM {table} "
        f"WHERE {time} > ? AND {time} <= ? AND {extra}",
        [since, until],
        timeout_s=600,
    ).to_pandas(categories=["series"])
    order = ["series", time, "id"] if "id" in rows else ["series", time]
    return rows.sort_values(order, ignore_index=True)


def keyed(frame: Frame) -> Frame:
    """With the three names of a series in place of one."""
    frame = frame.reset_index(drop="series" in frame.columns)
    names = frame["series"].astype(str).str.split("|", expand=True)
    return frame.assign(symbol=names[0], exchange=names[1], market_type=names[2]).drop(columns="series")


def wide(frame: Frame, column: str, start: datetime, end: datetime, step: str = "1min") -> Frame:
    """Times by series, from after ``start`` to ``end``."""
    times = pd.date_range(pd.Timestamp(start) + pd.Timedelta(step), end, freq=step)
    return frame.pivot(index="bar_ts", columns="series", values=column).reindex(times).astype(float)


def long(columns: dict[str, Frame], rows: Frame) -> Frame:
    """Wide frames as columns, for the series and minutes of ``rows``."""
    stacked = pd.concat({name: frame.stack(future_stack=True) for name, frame in columns.items()}, axis=1)
    stacked.index.names = ["bar_ts", "series"]
    return rows[["series", "bar_ts"]].astype({"series": str}).merge(stacked.reset_index(), on=["series", "bar_ts"])


def zscore(values: Frame, length: int = DAY) -> Frame:
    past = values.shift(1).rolling(length, min_periods=LEAST)
    return (values - past.mean()) / past.std()


# -- bars ----------------------------------------------------------------------------------------------------


def parents(trades: Frame) -> Frame:
    trades = trades.assign(timestamp=trades["timestamp"].dt.floor("ms"), sign=np.where(trades["side"] == "buy", 1, -1))
    trades["step"] = trades.groupby(["series", "timestamp", "side"], observed=True)["price"].diff() * trades["sign"]
    trades["moves"], trades["against"] = trades["step"].fillna(0) != 0, trades["step"] < 0
    found = trades.groupby(["series", "timestamp", "side"], observed=True, as_index=False).agg(
        prints=("price", "size"),
        quantity=("quantity", "sum"),
        notional=("quote_value", "sum"),
        first_price=("price", "first"),
        last_price=("price", "last"),
        low=("price", "min"),
        high=("price", "max"),
        moves=("moves", "sum"),
        against=("against", "sum"),
        first_id=("id", "min"),
    )
    found["sweep"] = (found["moves"] >= 2) & (found["against"] == 0)
    return found.sort_values(["series", "timestamp", "first_id"], ignore_index=True)


def bars_1m(store: Store, start: datetime, end: datetime) -> Frame:
    trades = read(store, "timestamp, id, price, quantity, quote_value, side", "main.trades", start, end)
    trades = trades[trades["timestamp"] < end]
    orders = parents(trades)
    orders["bar_ts"] = orders["timestamp"].dt.floor("min") + MINUTE
    bought = orders["side"] == "buy"
    orders["taker_buy_volume"] = orders["quantity"].where(bought, 0.0)
    orders["taker_buy_quote"] = orders["notional"].where(bought, 0.0)
    orders["bought"] = bought
    traded = orders.groupby(["series", "bar_ts"], observed=True).agg(
        open=("first_price", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("last_price", "last"),
        volume=("quantity", "sum"),
        quote_volume=("notional", "sum"),
        taker_buy_volume=("taker_buy_volume", "sum"),
        taker_buy_quote=("taker_buy_quote", "sum"),
        trade_count=("prints", "sum"),
        parent_count=("prints", "size"),
        buy_parent_count=("bought", "sum"),
        sweep_count=("sweep", "sum"),
    )
    bars = traded.join(quoted(store, start, end), how="outer").reset_index()
    market = bars["series"].astype(str).str.split("|", n=1).str[1]
    alive = bars["trade_count"].notna().groupby([market, bars["bar_ts"]]).transform("any")
    counted = list(traded.columns[4:])
    bars[counted] = bars[counted].where(bars["trade_count"].notna() | ~alive, 0)
    bars["vwap"] = bars["quote_volume"] / bars["volume"].where(bars["volume"] > 0)
    bars["quote_count"] = bars["quote_count"].fillna(0)
    return bars[(bars["quote_count"] > 0) | (bars["trade_count"] > 0)]


def quoted(store: Store, start: datetime, end: datetime) -> Frame:
    columns = "timestamp, id, bid_price, ask_price, bid_qty, ask_qty"
    quotes = read(store, columns, "main.prices", pd.Timestamp(start) - STALE, end)
    following = quotes.groupby("series", observed=True)["timestamp"].shift(-1)
    quotes["until"] = np.minimum(following.fillna(pd.Timestamp(end)), quotes["timestamp"] + STALE)
    valid = (quotes["bid_price"] > 0) & (quotes["ask_price"] > quotes["bid_price"])
    quotes["spread"] = quotes["ask_price"] - quotes["bid_price"]
    quotes["spread_bps"] = 2e4 * quotes["spread"] / (quotes["ask_price"] + quotes["bid_price"])
    quotes["bid_share"] = quotes["bid_qty"] / (quotes["bid_qty"] + quotes["ask_qty"])
    quotes["log_size_ratio"] = np.log(quotes["bid_qty"] / quotes["ask_qty"])
    means = time_weighted(quotes[valid], ["spread", "spread_bps", "bid_share", "log_size_ratio"], start)
    inside = quotes[quotes["timestamp"] > start]
    minute = inside["timestamp"].dt.ceil("min").rename("bar_ts")
    counts = inside.groupby([inside["series"], minute], observed=True).size().rename("quote_count")
    minutes = pd.date_range(pd.Timestamp(start) + MINUTE, end, freq="1min", unit="us")
    closing = at_times(quotes, minutes, columns.split(", ")[2:], STALE).set_index(["series", "bar_ts"])
    closing = closing[closing["ask_price"] > closing["bid_price"]]
    closing["mid_close"] = (closing["bid_price"] + closing["ask_price"]) / 2
    return means.join(counts, how="outer").join(closing, how="outer")


def time_weighted(rows: Frame, columns: list[str], start: datetime) -> Frame:
    """Means over each minute, weighted by the time from ``timestamp`` to ``until``."""
    edge = rows["timestamp"].dt.floor("min") + MINUTE
    pieces = [
        (edge, np.minimum(rows["until"], edge) - rows["timestamp"]),
        (edge + MINUTE, (rows["until"] - edge).clip(lower=pd.Timedelta(0))),
    ]
    weighted = pd.concat(
        [
            rows[columns]
            .mul(life.dt.total_seconds(), axis=0)
            .assign(seconds=life.dt.total_seconds(), series=rows["series"], bar_ts=bar)
            for bar, life in pieces
        ]
    )
    weighted = weighted[(weighted["seconds"] > 0) & (weighted["bar_ts"] > start)]
    sums = weighted.groupby(["series", "bar_ts"], observed=True).sum()
    return sums[columns].div(sums["seconds"], axis=0)


def at_times(rows: Frame, times: pd.DatetimeIndex, columns: list[str], stands: pd.Timedelta) -> Frame:
    """The last row of each series at or before each of ``times``, not older than ``stands``."""
    series = rows["series"].cat.remove_unused_categories().cat.categories
    grid = pd.DataFrame({"bar_ts": np.repeat(times, len(series)), "series": np.tile(series, len(times))})
    grid["series"] = grid["series"].astype(rows["series"].dtype)
    sources = rows[["series", "timestamp", *columns]].sort_values("timestamp", kind="stable")
    return pd.merge_asof(grid, sources, left_on="bar_ts", right_on="timestamp", by="series", tolerance=stands).drop(
        columns="timestamp"
    )


# -- features of prices and trades ---------------------------------------------------------------------------


def _minutes(store: Store, columns: list[str], start: datetime, end: datetime) -> tuple[Frame, dict[str, Frame]]:
    """Rows of the hour, and the columns of it and the 25 hours before as wide frames."""
    since = pd.Timestamp(start) - pd.Timedelta("25h")
    rows = read(store, ", ".join(["bar_ts", *columns]), "bars.bars_1m", since, end)
    return rows[rows["bar_ts"] > start], {name: wide(rows, name, since, end) for name in columns}


def _seconds(store: Store, start: datetime, end: datetime) -> tuple[Frame, Frame]:
    """Bids and asks second by second, from an hour before the hour on: times by series."""
    since = pd.Timestamp(start) - pd.Timedelta("1h")
    rows = read(store, "bar_ts, bid_price, ask_price", "bars.quotes_1s", since - pd.Timedelta("1s"), end)
    earlier = since - pd.Timedelta("1s")
    return wide(rows, "bid_price", earlier, end, "1s"), wide(rows, "ask_price", earlier, end, "1s")


def prices(store: Store, start: datetime, end: datetime) -> Frame:
    columns = ["mid_close", "bid_price", "ask_price", "bid_qty", "ask_qty", "quote_count", "spread", "spread_bps"]
    rows, bars = _minutes(store, [*columns, "bid_share", "log_size_ratio", "volume", "quote_volume"], start, end)
    bid, ask = _seconds(store, start, end)
    mid, volume = bars["mid_close"], bars["volume"].rolling(60, min_periods=1).sum()
    vwap = bars["quote_volume"].rolling(60, min_periods=1).sum() / volume.where(volume > 0)
    spread_z = zscore(np.log(bars["spread_bps"]))
    ticks = store.query(
        "SELECT symbol || '|' || exchange || '|' || market_type AS series, tick_size FROM ops.instruments"
    )
    tick = ticks.to_pandas().set_index("series")["tick_size"].reindex(bars["spread"].columns)
    known = bars["spread"].shift(1)
    one_tick = (known <= tick * (1 + 1e-6)).where(known.notna()).astype(float)
    spread_z = spread_z.where(~(one_tick.rolling(DAY, min_periods=1).mean() > 0.9))
    qty = bars["bid_qty"] + bars["ask_qty"]
    found = {
        "mid_price": mid,
        "bid_price": bars["bid_price"],
        "ask_price": bars["ask_price"],
        "weighted_mid": (bars["ask_price"] * bars["bid_qty"] + bars["bid_price"] * bars["ask_qty"]) / qty,
        "spread": bars["spread"],
        "spread_bps": bars["spread_bps"],
        "spread_zscore": spread_z,
        "spread_expansion_spike": (spread_z - 2).clip(lower=0),
        "pressure_ratio": np.exp(bars["log_size_ratio"]),
        "bid_pressure": bars["bid_share"],
        "ask_pressure": 1 - bars["bid_share"],
        "price_vs_vwap": 1e4 * (mid / vwap - 1),
        "mid_zscore": zscore(np.log(mid), 240),
        "spread_compression_velocity": _slopes(np.log((ask - bid) / (ask + bid)), start),
        **_variance_ratio(np.log((bid + ask) / 2)),
        **_signs((bid + ask) / 2, start, end),
    }
    returns = np.log((bid + ask) / 2).iloc[::10].diff()
    squares = (returns**2).rolling(360, min_periods=324).sum()
    found["realized_variance_1h"] = squares
    return long({name: frame[frame.index > start] for name, frame in found.items()}, rows)


def _slopes(seconds: Frame, start: datetime) -> Frame:
    """60 times the least-squares slope per second of each minute."""
    values = seconds[seconds.index > start]
    bar = values.index.ceil("min")
    place = pd.Series((values.index - values.index.floor("min")).seconds, values.index).replace(0, 60)
    x = values.notna().mul(place, axis=0).where(values.notna())
    count = values.groupby(bar).count()
    sum_x, sum_y = x.groupby(bar).sum(), values.groupby(bar).sum()
    sum_xy, sum_xx = (x * values).groupby(bar).sum(), (x**2).groupby(bar).sum()
    slope = (count * sum_xy - sum_x * sum_y) / (count * sum_xx - sum_x**2)
    return 60 * slope.where(count >= 30)


def _variance_ratio(log_mid: Frame, q: int = 10, length: int = 900) -> dict[str, Frame]:
    step, jump = log_mid.diff(), log_mid.diff(q)
    past, far = step.rolling(length, min_periods=LEAST), jump.rolling(length - q + 1, min_periods=1)
    drift, steps, jumps = past.mean(), past.count(), far.count()
    squares = (jump**2).rolling(length - q + 1, min_periods=1).sum() - 2 * q * drift * far.sum()
    long_variance = (squares + jumps * (q * drift) ** 2) / (q * jumps * (1 - q / steps))
    ratio = (long_variance / past.var()).where(past.var() > 0)
    ratio = ratio[ratio.index.second == 0]
    return {"variance_ratio": ratio, "price_efficiency": 1 - (ratio - 1).abs().clip(upper=1)}


def _signs(mid: Frame, start: datetime, end: datetime, length: int = 900) -> dict[str, Frame]:
    """Share of reversals and entropy of words of three signs, window by window."""
    minutes = pd.date_range(pd.Timestamp(start) + MINUTE, end, freq="1min")
    reversals = Frame(index=minutes, columns=mid.columns, dtype=float)
    entropies = reversals.copy()
    for series in mid:
        change = mid[series].diff()
        moved = np.sign(change[change.fillna(0) != 0])
        for minute in minutes:
            signs = moved[minute - pd.Timedelta(seconds=length - 1) : minute].to_numpy() > 0
            if len(signs) >= 20:
                reversals.at[minute, series] = (signs[1:] != signs[:-1]).mean()
            if len(signs) - 2 >= LEAST:
                words = signs[:-2] + 2 * signs[1:-1] + 4 * signs[2:]
                share = np.bincount(words, minlength=8) / len(words)
                share = share[share > 0]
                entropies.at[minute, series] = -(share * np.log2(share)).sum() / 3
    return {"tick_reversal_rate": reversals, "mid_price_entropy": entropies}


def trades(store: Store, start: datetime, end: datetime) -> Frame:
    columns = ["volume", "quote_volume", "taker_buy_volume", "taker_buy_quote", "parent_count", "buy_parent_count"]
    rows, bars = _minutes(store, [*columns, "sweep_count", "mid_close"], start, end)
    volume, value, count = bars["volume"], bars["quote_volume"], bars["parent_count"]
    delta, signed = 2 * bars["taker_buy_volume"] - volume, 2 * bars["taker_buy_quote"] - value
    buys = bars["buy_parent_count"] / count.where(count > 0)
    quarter = volume.rolling(15, min_periods=1).sum()
    today = delta[delta.index > pd.Timestamp(start).normalize()]
    found = {
        "cvd": today.fillna(0).cumsum().where(today.notna()),
        "cvd_delta": delta,
        "cvd_slope": delta.rolling(15, min_periods=1).sum() / quarter.where(quarter > 0),
        "cvd_zscore": zscore(delta),
        "cvd_price_divergence": zscore(signed.rolling(15, min_periods=1).sum())
        - zscore(np.log(bars["mid_close"]).diff(15)),
        "aggressive_delta": signed,
        "aggressive_ratio": bars["taker_buy_quote"] / value.where(value > 0),
        "buy_pressure": buys,
        "sell_pressure": 1 - buys,
        "total_volume": volume,
        "buy_volume": bars["taker_buy_volume"],
        "sell_volume": (volume - bars["taker_buy_volume"]).clip(lower=0),
        "avg_trade_size": value / count.where(count > 0),
        "sweep_detected": (bars["sweep_count"] > 0).astype(float).where(bars["sweep_count"].notna()),
        "vwap": value / volume.where(volume > 0),
        **_sizes(store, start, end, volume),
        "market_impact_per_volume": _kyle(store, start, end, volume),
    }
    return long({name: frame[frame.index > start] for name, frame in found.items()}, rows)


def _sizes(store: Store, start: datetime, end: datetime, volume: Frame) -> dict[str, Frame]:
    quarter = pd.Timedelta("15min")
    since = pd.Timestamp(start) - pd.Timedelta("25h")
    orders = read(store, "timestamp, side, notional", "bars.parent_trades", since, end)
    minutes = pd.date_range(pd.Timestamp(start) - quarter + 2 * MINUTE, end, freq="1min")
    limits = Frame(index=minutes, columns=volume.columns, dtype=float)
    sds = limits.copy()
    whales, judged = limits.copy(), limits.copy()
    for series, part in orders.groupby("series", observed=True):
        times, sizes = part["timestamp"].to_numpy(), part["notional"].to_numpy()
        for minute in minutes:
            opened, day, early = np.searchsorted(
                times, np.array([minute - MINUTE, minute - MINUTE - pd.Timedelta("1D"), minute - quarter], times.dtype)
            )
            closed = np.searchsorted(times, np.datetime64(minute))
            if opened - day >= LEAST:
                limits.at[minute, series] = max(np.quantile(sizes[day:opened], 0.995), 10_000.0)
            limit, bar = limits.at[minute, series], sizes[opened:closed]
            whales.at[minute, series] = bar[bar >= limit].sum()
            judged.at[minute, series] = bar.sum() if limit == limit else 0.0
            if closed - early >= 10:
                sds.at[minute, series] = sizes[early:closed].std(ddof=1)
    total = judged.rolling(15, min_periods=1).sum()
    detected = (whales > 0).astype(float).where(limits.notna() & volume.reindex(minutes).notna())
    return {
        "whale_threshold": limits,
        "whale_trade_detected": detected,
        "whale_volume_ratio": whales.rolling(15, min_periods=1).sum() / total.where(total > 0),
        "trade_size_stddev": sds,
    }


def _kyle(store: Store, start: datetime, end: datetime, volume: Frame) -> Frame:
    """Slope of ten-second returns on signed value over the last hour."""
    since = pd.Timestamp(start) - pd.Timedelta("1h")
    orders = read(store, "timestamp, side, notional", "bars.parent_trades", since - pd.Timedelta("1us"), end)
    orders = orders[orders["timestamp"] < end]
    orders["signed"] = orders["notional"].where(orders["side"] == "buy", -orders["notional"]) / 1e6
    orders["bar_ts"] = orders["timestamp"].dt.floor("10s") + pd.Timedelta("10s")
    sums = orders.groupby(["series", "bar_ts"], observed=True)["signed"].sum().reset_index()
    flow = wide(sums, "signed", since, end, "10s").reindex(columns=volume.columns)
    bid, ask = _seconds(store, start, end)
    mid = ((bid + ask) / 2).reindex(columns=volume.columns)
    returns = 1e4 * np.log(mid[mid.index.second % 10 == 0]).diff().reindex(flow.index)
    both = flow.notna() & returns.notna()
    x, y = flow.where(both), returns.where(both)
    slope = x.rolling(360, min_periods=LEAST).cov(y) / x.rolling(360, min_periods=LEAST).var()
    return slope[slope.index.second == 0]


BARS_OF = {"bars.bars_1m": bars_1m, "features.prices": prices, "features.trades": trades}
