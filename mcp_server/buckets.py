"""Sums over stored rows in buckets of time and of price, as SQL. Each view says what it measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column, Table

WIDTHS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1_440}
"""Minutes of each interval."""
_MARKET = (Column("exchange", "VARCHAR"), Column("market_type", "VARCHAR"))
_NEWEST = Column("data_to", "TIMESTAMP", "newest row in it", "UTC")
_TIME = Column("bar_ts", "TIMESTAMP", "closing edge", "UTC")
_TRADES, _FUNDING, _LIQUIDATIONS = (STREAMS[name].table for name in ("trades", "funding_rates", "liquidations"))
FLOW = """
    count(*) AS trades, coalesce(sum(quote_value) FILTER (side = 'buy'), 0) AS buy_quote,
    coalesce(sum(quote_value) FILTER (side = 'sell'), 0) AS sell_quote, buy_quote - sell_quote AS net_quote,
    sum(quote_value) / nullif(sum(quantity), 0) AS vwap, max(timestamp) AS data_to"""
CLOSED = """
    count(*) AS closures, coalesce(sum(value_usd) FILTER (side = 'long'), 0) AS long_usd,
    coalesce(sum(value_usd) FILTER (side = 'short'), 0) AS short_usd, max(value_usd) AS largest_usd,
    max(timestamp) AS data_to"""


@dataclass(frozen=True, slots=True)
class View:
    """``sql`` makes a statement, without a limit, of a condition, minutes of a bucket and a number of price steps."""

    table: Table
    columns: Sequence[Column]
    sql: Callable[[str, int, int], str]
    note: str
    timed: bool = True
    until_now: bool = False


def _bucket(width: int, time: str = "timestamp") -> str:
    """The closing edge of the bucket of ``time``."""
    return f"time_bucket(INTERVAL {width} MINUTE, {time}, TIMESTAMP '2000-01-01') + INTERVAL {width} MINUTE"


def _candles(where: str, width: int, _: int) -> str:
    return f"""
        SELECT exchange, market_type, {_bucket(width)} AS bar_ts, arg_min(price, (timestamp, id)) AS open,
               max(price) AS high, min(price) AS low, arg_max(price, (timestamp, id)) AS close,
               sum(quantity) AS volume, sum(quote_value) AS quote_volume, count(*) AS trade_count,
               max(timestamp) AS data_to
        FROM main.trades WHERE {where} GROUP BY ALL ORDER BY bar_ts DESC, exchange, market_type"""


def _volatility(where: str, width: int, _: int) -> str:
    return f"""
        WITH minutes AS (
            SELECT exchange, market_type, time_bucket(INTERVAL 1 MINUTE, timestamp) AS minute,
                   arg_max(price, (timestamp, id)) AS close, max(price) AS high, min(price) AS low,
                   max(timestamp) AS newest
            FROM main.trades WHERE {where} GROUP BY ALL
        ),
        returns AS (
            SELECT *, CASE WHEN lag(minute) OVER series = minute - INTERVAL 1 MINUTE
                      THEN 10000 * ln(close / lag(close) OVER series) END AS r
            FROM minutes WINDOW series AS (PARTITION BY exchange, market_type ORDER BY minute)
        )
        SELECT exchange, market_type, {_bucket(width, "minute")} AS bar_ts, count(r) AS returns,
               stddev_samp(r) AS return_sd_bps, sqrt(sum(r * r)) AS realized_bps,
               10000 * (max(high) / min(low) - 1) AS range_bps, max(newest) AS data_to
        FROM returns GROUP BY exchange, market_type, bar_ts ORDER BY bar_ts DESC, exchange, market_type"""


def _funding(where: str, width: int, _: int) -> str:
    return f"""
        WITH settled AS (
            SELECT exchange, market_type, next_funding_time AS settled_at,
                   arg_max(funding_rate, (timestamp, id)) AS rate
            FROM main.funding_rates WHERE {where} AND next_funding_time <= ?::TIMESTAMP GROUP BY ALL
        )
        SELECT exchange, market_type, {_bucket(width, "settled_at")} AS bar_ts, count(*) AS settlements,
               sum(rate) AS rate, max(settled_at) AS data_to,
               sum(sum(rate)) OVER (PARTITION BY exchange, market_type ORDER BY bar_ts) AS cumulative
        FROM settled GROUP BY exchange, market_type, bar_ts ORDER BY bar_ts DESC, exchange, market_type"""


def _cascades(where: str, width: int, _: int) -> str:
    return f"""
        WITH summed AS (
            SELECT exchange, market_type, {_bucket(width)} AS bar_ts, {CLOSED}
            FROM main.liquidations WHERE {where} GROUP BY exchange, market_type, bar_ts
        )
        SELECT *, (long_usd + short_usd) / nullif(median(long_usd + short_usd) OVER market, 0) AS times_median
        FROM summed WINDOW market AS (PARTITION BY exchange, market_type) ORDER BY bar_ts DESC, exchange, market_type"""


_STEP = (
    Column("price_from", "DOUBLE", "lower edge of the step", "quote"),
    Column("price_to", "DOUBLE", "upper edge of the step", "quote"),
)
LIQUIDATED = """
    coalesce(sum(value_usd) FILTER (side = 'long'), 0) AS long_usd,
    coalesce(sum(value_usd) FILTER (side = 'short'), 0) AS short_usd, sum(value_usd) AS value,
    count(*) AS closures, max(timestamp) AS data_to"""
_TRADED = """
    coalesce(sum(quantity) FILTER (side = 'buy'), 0) AS buy_base,
    coalesce(sum(quantity) FILTER (side = 'sell'), 0) AS sell_base, sum(quantity) AS value, count(*) AS trades,
    max(timestamp) AS data_to"""
MAP = (
    *_STEP,
    Column("long_usd", "DOUBLE", "longs closed", "quote"),
    Column("short_usd", "DOUBLE", "shorts closed", "quote"),
    Column("value", "DOUBLE", "both", "quote"),
    Column("closures", "BIGINT", "published", "count"),
    _NEWEST,
    Column("share", "DOUBLE", "of the value of all steps", "fraction"),
    Column("intensity", "DOUBLE", "value over that of the largest step", "fraction"),
)


def by_price(source: str, where: str, steps: int, sums: str, per_market: bool = False) -> str:
    """Sums of ``source`` in equal steps of price between its lowest and highest; steps without a row are left out."""
    keys = "exchange, market_type, " if per_market else ""
    over = "PARTITION BY exchange, market_type" if per_market else ""
    return f"""
        WITH placed AS (
            SELECT *, min(price) OVER ({over}) AS lowest, (max(price) OVER ({over}) - lowest) / {steps} AS height
            FROM {source} WHERE {where}
        ),
        stepped AS (
            SELECT *, CASE WHEN height > 0 THEN least(floor((price - lowest) / height), {steps - 1}) ELSE 0 END AS step
            FROM placed
        )
        SELECT {keys}any_value(lowest + step * height) AS price_from,
               any_value(lowest + (step + 1) * height) AS price_to, {sums},
               value / nullif(sum(value) OVER ({over}), 0) AS share,
               value / nullif(max(value) OVER ({over}), 0) AS intensity
        FROM stepped GROUP BY {keys}step ORDER BY {keys}step DESC"""


def _profile(where: str, _: int, steps: int) -> str:
    return by_price("main.trades", where, steps, _TRADED, per_market=True)


VIEWS: dict[str, View] = {
    "price_ohlc": View(
        _TRADES,
        (
            *_MARKET,
            _TIME,
            *(Column(name, "DOUBLE", "of the trades", "quote") for name in ("open", "high", "low", "close")),
            Column("volume", "DOUBLE", "traded", "base"),
            Column("quote_volume", "DOUBLE", "traded", "quote"),
            Column("trade_count", "BIGINT", "prints", "count"),
            _NEWEST,
        ),
        _candles,
        "candles of the stored trades; the first and the last may be partial",
    ),
    "volume_profile": View(
        _TRADES,
        (
            *_MARKET,
            *_STEP,
            Column("buy_base", "DOUBLE", "bought by takers", "base"),
            Column("sell_base", "DOUBLE", "sold by takers", "base"),
            Column("value", "DOUBLE", "both", "base"),
            Column("trades", "BIGINT", "prints", "count"),
            _NEWEST,
            Column("share", "DOUBLE", "of the volume of the market", "fraction"),
            Column("intensity", "DOUBLE", "volume over that of the largest step", "fraction"),
        ),
        _profile,
        "traded volume in equal steps between the lowest and the highest price, highest first; empty steps left out",
        timed=False,
    ),
    "volatility": View(
        _TRADES,
        (
            *_MARKET,
            _TIME,
            Column("returns", "BIGINT", "one-minute returns", "count"),
            Column("return_sd_bps", "DOUBLE", "sample standard deviation of the one-minute returns", "bps"),
            Column("realized_bps", "DOUBLE", "root of the sum of their squares", "bps"),
            Column("range_bps", "DOUBLE", "highest over lowest trade - 1", "bps"),
            _NEWEST,
        ),
        _volatility,
        "log returns between the last trades of neighbouring minutes; a minute without a trade breaks the chain",
    ),
    "funding_cumulative": View(
        _FUNDING,
        (
            *_MARKET,
            _TIME,
            Column("settlements", "BIGINT", "in the interval", "count"),
            Column("rate", "DOUBLE", "sum of their rates", "fraction"),
            Column("cumulative", "DOUBLE", "sum since the start of the window", "fraction"),
            _NEWEST,
        ),
        _funding,
        "the rate last told before each settlement that is past; longs pay when positive",
        until_now=True,
    ),
    "liquidation_cascade": View(
        _LIQUIDATIONS,
        (
            *_MARKET,
            _TIME,
            Column("closures", "BIGINT", "published", "count"),
            Column("long_usd", "DOUBLE", "longs closed", "quote"),
            Column("short_usd", "DOUBLE", "shorts closed", "quote"),
            Column("largest_usd", "DOUBLE", "largest closure", "quote"),
            _NEWEST,
            Column("times_median", "DOUBLE", "value over the median interval with any", "ratio"),
        ),
        _cascades,
        "published liquidations, lower bounds; intervals without one are left out",
    ),
}
