"""Bars for the tests of forecasting: recorded candles, and planted series whose predictability is known."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.forecasting.frame import Frame, Series, build_frame
from orderflow_streaming.store import Store

BTC = Series("BTCUSDT", "binance", "futures")
ETH = Series("ETHUSDT", "binance", "futures")
START = datetime(2026, 3, 2)  # noqa: DTZ001 - times in tables are naive UTC
STEP_MS = 300_000


def recorded(market_data: Path, name: str) -> Frame:
    """The frame of a recorded file of five-minute candles."""
    candles = csv.read_csv(market_data / f"{name}.csv.gz")
    closes_at = (candles["ts_ms"].to_numpy() + STEP_MS).astype("datetime64[ms]").astype("datetime64[us]")
    columns = {column: candles[column] for column in ("close", "high", "low", "volume")}
    return build_frame(BTC, pa.table({"bar_ts": closes_at, **columns}), closes_at[-1].item())


def frame_of(returns: np.ndarray, series: Series = BTC) -> Frame:
    """The frame of five-minute log returns; NaN is a bar that was not recorded."""
    price = 100 * np.exp(np.cumsum(np.nan_to_num(returns)))
    closes_at = np.datetime64(START, "us") + np.arange(1, len(returns) + 1) * np.timedelta64(5, "m")
    bars = pa.table(
        {"bar_ts": closes_at, "close": pa.array(price, from_pandas=True, mask=np.isnan(returns)), "volume": price}
    )
    return build_frame(series, bars, closes_at[-1].item())


def random_walk(bars: int, seed: int) -> np.ndarray:
    """Returns nobody can predict, with fat tails and clustered volatility."""
    draws = np.random.default_rng(seed)
    volatility = 0.001 * np.exp(0.5 * np.sin(np.arange(bars) / 150))
    return volatility * draws.standard_t(5, bars)


def momentum(bars: int, seed: int, strength: float = 0.6) -> np.ndarray:
    """Returns of which each is ``strength`` of the one before plus noise."""
    noise = 0.001 * np.random.default_rng(seed).standard_normal(bars)
    for index in range(1, bars):
        noise[index] += strength * noise[index - 1]
    return noise


def plant(store: Store, series: Series, returns: np.ndarray, start: datetime = START) -> datetime:
    """Store one-minute bars that follow five-minute ``returns``; the last minute of each bar makes the move.

    Returns the closing edge of the last bar. A NaN return leaves its five minutes out.
    """
    price = 100 * np.exp(np.cumsum(np.nan_to_num(returns)))
    rows = []
    for index, (close, move) in enumerate(zip(price, returns, strict=True)):
        if np.isnan(move):
            continue
        before = price[index - 1] if index else 100.0
        for minute in range(5):
            open_time = start + timedelta(minutes=5 * index + minute)
            last = close if minute == 4 else before
            rows.append(
                {
                    "symbol": series.symbol,
                    "exchange": series.exchange,
                    "market_type": series.market_type,
                    "open_time": open_time,
                    "bar_ts": open_time + timedelta(minutes=1),
                    "open": before,
                    "high": max(before, last),
                    "low": min(before, last),
                    "close": last,
                    "volume": 2.0,
                    "quote_volume": 2.0 * last,
                    "taker_buy_volume": 1.0,
                    "taker_buy_quote": last,
                    "trade_count": 3,
                    "quote_count": 1,
                    "quoted_s": 60.0,
                }
            )
    store.write(BARS_1M, pa.Table.from_pylist(rows, BARS_1M.arrow_schema))
    return start + timedelta(minutes=5 * len(returns))
