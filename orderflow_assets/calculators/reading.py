"""How calculators read what is stored: by symbol and market, up to an explicit end, never beyond it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import numpy as np

from orderflow_assets.tables import hourly_tables
from orderflow_assets.timeseries.series import Series
from orderflow_streaming.markets import MARKETS, Market, UnknownNameError, suggestion
from orderflow_streaming.store.reader import Reader as Rows
from orderflow_streaming.store.reader import exists
from orderflow_streaming.tables import Column, Table

Interval = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
Fold = Literal["last", "mean", "sum"]
INTERVALS: dict[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}
FOLDS: tuple[str, ...] = get_args(Fold)
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 (naive UTC, as stored)
_NUMBERS = ("DOUBLE", "BIGINT", "INTEGER")
_SHORT = {"bars": "bars.bars_1m"}
"""What the first part of a two-part column name stands for."""
_FOLDED: dict[str, str] = {
    "last": 'arg_max("{0}", "{1}")',
    "mean": 'avg("{0}")',
    "sum": 'CASE WHEN count("{0}") = count(*) THEN sum("{0}") END',
}


def venue(name: str) -> tuple[Market, ...]:
    """The markets of an exchange (``binance``) or the one of that name (``binance_futures``).

    Raises :class:`~orderflow_streaming.markets.UnknownNameError`.
    """
    found = tuple(market for market in MARKETS.values() if name in (market.exchange, market.name))
    if not found:
        allowed = exchanges()
        raise UnknownNameError(f"unknown exchange {name!r}.{suggestion(name, allowed)} Allowed: {', '.join(allowed)}.")
    return found


def exchanges() -> list[str]:
    """What may be given as exchange: exchanges and markets."""
    return [*dict.fromkeys(market.exchange for market in MARKETS.values()), *MARKETS]


def scope(symbol: str, exchange: str | None) -> tuple[str, dict[str, Any]]:
    """SQL condition and parameters that restrict rows to a symbol and, unless None, to an exchange or a market."""
    if exchange is None:
        return "symbol = $symbol", {"symbol": symbol}
    markets = venue(exchange)
    if exchange in MARKETS:
        condition = "symbol = $symbol AND exchange = $exchange AND market_type = $market_type"
        return condition, {"symbol": symbol, "exchange": markets[0].exchange, "market_type": markets[0].market_type}
    return "symbol = $symbol AND exchange = $exchange", {"symbol": symbol, "exchange": exchange}


def newest_minute(store: Rows, symbol: str, exchange: str | None) -> datetime | None:
    """Closing edge of the newest stored minute; None where none is stored."""
    if not exists(store, "bars.bars_1m"):
        return None
    where, values = scope(symbol, exchange)
    newest: datetime | None = store.query(f"SELECT max(bar_ts) FROM bars.bars_1m WHERE {where}", values)[0][0].as_py()
    return newest


def leading_market(
    store: Rows, symbol: str, exchange: str | None, start: datetime, end: datetime, market_type: str = ""
) -> str | None:
    """The market, of one type if named, with the largest traded value in ``(start, end]``; None without a minute."""
    where, values = scope(symbol, exchange)
    found = store.query(
        f"""
        SELECT exchange || '_' || market_type AS market FROM bars.bars_1m
        WHERE {where} AND bar_ts > $start::TIMESTAMP AND bar_ts <= $end::TIMESTAMP AND market_type LIKE $type
        GROUP BY market ORDER BY coalesce(sum(quote_volume), 0) DESC, market LIMIT 1""",
        {**values, "start": start, "end": end, "type": market_type or "%"},
    )
    return found["market"][0].as_py() if found.num_rows else None


def source(name: str) -> tuple[Table, Column]:
    """The table and column that ``bars.close`` or ``features.trades.vpin`` names.

    Raises :class:`~orderflow_streaming.markets.UnknownNameError` with the nearest name.
    """
    first, _, rest = name.partition(".")
    qualified, _, column = (f"{_SHORT[first]}.{rest}" if first in _SHORT and "." not in rest else name).rpartition(".")
    table = hourly_tables().get(qualified)
    if table is None:
        near = suggestion(qualified, list(hourly_tables()))
        raise UnknownNameError(
            f"{name!r} names no stored column.{near} Write bars.close, or table and column such as "
            "features.trades.vwap, main.open_interest.open_interest."
        )
    numbers = [item.name for item in table.columns if item.type in _NUMBERS and item.name != "id"]
    if column not in numbers or "market_type" not in table.names:
        near = suggestion(column, numbers)
        raise UnknownNameError(f"{qualified} has no numeric column {column!r}.{near} Allowed: {', '.join(numbers)}.")
    return table, table.column(column)


def sampled(
    store: Rows, name: str, symbol: str, market: str, interval: str, start: datetime, end: datetime, fold: str = "last"
) -> Series:
    """A stored column of one series on a grid of complete intervals inside ``[start, end]``, aligned to the clock.

    ``fold`` says what stands for an interval: its ``last`` or ``mean`` value, or their ``sum`` (NaN where a stored
    row does not know it). ``times`` are closing edges; an interval without a row is NaN.
    """
    table, column = source(name)
    width = INTERVALS[interval]
    first, last = _ceiled(start, width), _floored(end, width)
    count = max(0, round((last - first) / width))
    microseconds = round(width.total_seconds() * 1e6)
    where, values = scope(symbol, market)
    found = store.query(
        f"""
        SELECT ((epoch_us("{table.time}") - epoch_us($first::TIMESTAMP)) // {microseconds})::BIGINT AS place,
               ({_FOLDED[fold].format(column.name, table.time)})::DOUBLE AS value
        FROM {table.qualified}
        WHERE {where} AND "{table.time}" >= $first::TIMESTAMP AND "{table.time}" < $last::TIMESTAMP
        GROUP BY place""",
        {**values, "first": first, "last": last},
    )
    grid = np.full(count, np.nan)
    grid[found["place"].to_numpy()] = found["value"].to_numpy(zero_copy_only=False)
    grid[~np.isfinite(grid)] = np.nan
    edges = np.datetime64(first, "us") + np.arange(1, count + 1) * np.timedelta64(width)
    missing = float(np.isnan(grid).mean()) if count else 1.0
    return Series(edges, grid, name, {"market": market, "interval": interval, "fold": fold, "missing": missing})


def _floored(moment: datetime, width: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % width


def _ceiled(moment: datetime, width: timedelta) -> datetime:
    floor = _floored(moment, width)
    return floor if floor == moment else floor + width
