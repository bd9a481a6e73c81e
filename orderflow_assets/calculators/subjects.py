"""What several calculators are asked about: prices, volume, spread, open interest, as series that can be analysed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from orderflow_assets.calculators.reading import Fold, Rows, exists, leading_market, sampled, source
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.series import Series

DataType = Literal["prices", "volume", "spread", "open_interest"]
Steady = Literal["log return", "log"]


@dataclass(frozen=True, slots=True)
class Subject:
    """``steady`` is what has a level to return to: the changes of a price, the logarithm of a volume."""

    column: str
    fold: Fold
    steady: Steady
    market_type: str = ""


SUBJECTS: dict[str, Subject] = {
    "prices": Subject("bars.close", "last", "log return"),
    "volume": Subject("bars.quote_volume", "sum", "log"),
    "spread": Subject("bars.spread_bps", "mean", "log"),
    "open_interest": Subject("main.open_interest.open_interest", "last", "log return", "futures"),
}


def subject_series(
    store: Rows, data_type: str, symbol: str, exchange: str | None, interval: str, end: datetime, hours: float
) -> Series:
    """The subject of the leading market among those asked for, on complete intervals up to ``end``.

    Raises ValueError where nothing of it is stored.
    """
    subject = SUBJECTS[data_type]
    table = source(subject.column)[0].qualified
    start = end - timedelta(hours=hours)
    if not exists(store, table):
        raise ValueError(f"{table} does not exist yet, so there is nothing of {data_type}.")
    market = leading_market(store, symbol, exchange, start, end, subject.market_type)
    if market is None:
        raise ValueError(f"bars.bars_1m holds no rows of {symbol} in the {hours:g} h before {end}.")
    series = sampled(store, subject.column, symbol, market, interval, start, end, subject.fold)
    if not np.isfinite(series.values).any():
        raise ValueError(f"{subject.column} holds no rows of {symbol} on {market} in the {hours:g} h before {end}.")
    return series


def steady(series: Series, data_type: str) -> Array:
    """Values that vary about a level, as long as the series: log returns (the first unknown) or logarithms.

    A value that is not positive has no logarithm and is unknown.
    """
    logs = np.log(np.where(series.values > 0, series.values, np.nan))
    return np.diff(logs, prepend=np.nan) if SUBJECTS[data_type].steady == "log return" else logs


def about(series: Series, data_type: str) -> dict[str, object]:
    """Where a series comes from and how much of it there is, for the metadata of a result."""
    known = np.isfinite(series.values)
    return {
        **series.metadata,
        "data_type": data_type,
        "column": series.name,
        "values": int(known.sum()),
        "first": series.times[known][0].item() if known.any() else None,
        "last": series.times[known][-1].item() if known.any() else None,
    }
