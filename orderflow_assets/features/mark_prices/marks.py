"""Mark, index and impact prices minute by minute: what premiums are made of.

A mark or index price stands from its event time until the next one of its series, 60 s at most. The index is the one
of the mark price's own message; where a venue sends it apart, the last one of the ``index_prices`` stream. A premium
needs both. As for quotes, the closing edge of a minute belongs to it and its opening edge does not.
"""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, MINUTE, NUMBER, SERIES, SERIES_NAMES, STALE
from orderflow_assets.features.funding.terms import MAJORS, TERMS
from orderflow_assets.lineage import book_levels, columns_of
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.tables import Column, Table

MARK_STALE = timedelta(seconds=60)
SPOT_STALE_S = 10

MARKS_1M = Table(
    "bars",
    "marks_1m",
    (
        *BAR_COLUMNS,
        Column("n_obs", "BIGINT", "mark prices published in the bar", "count", False),
        Column("mark_close", "DOUBLE", "mark price at bar_ts, 60 s old at most", "quote"),
        Column("index_close", "DOUBLE", "index price at bar_ts, 60 s old at most", "quote"),
        Column("basis", "DOUBLE", "mark - index, time-weighted", "quote"),
        Column("premium", "DOUBLE", "(mark - index) / index, time-weighted", "fraction"),
        Column("premium_s", "DOUBLE", "time with both prices", "s", False),
        Column(
            "impact_premium",
            "DOUBLE",
            "(max(0, impact bid - index) - max(0, index - impact ask)) / index at bar_ts for the venue's impact value; "
            "NULL where the venue states none or its book, 5 s old at most, does not hold it",
            "fraction",
        ),
        Column("spot_mid", "DOUBLE", f"median mid of the spot venues quoting within {SPOT_STALE_S} s", "quote"),
        Column("spot_venues", "BIGINT", "spot venues in it", "count", False),
        Column("rated_at", "TIMESTAMP", "event time of the bar's last mark price that carried a funding rate", "UTC"),
    ),
    BAR_KEY,
    "open_time",
    "Mark against index price per perpetual and minute.",
)

_STALE_US = round(MARK_STALE / timedelta(microseconds=1))
_BOOK_US = round(STALE / timedelta(microseconds=1))
_MINUTE_US = round(MINUTE / timedelta(microseconds=1))
_USING = f"USING ({SERIES})"
_BOOK = ", ".join(f"b.{name}" for name in SERIES_NAMES)


def _levels(side: str) -> str:
    touch = ", ".join(f"[{side}_{level}_price, {side}_{level}_qty]" for level in range(1, LEVELS + 1))
    return f"list_concat([{touch}], coalesce({side}_tail, []))"


_MAJORS = ", ".join(f"'{symbol}'" for symbol in MAJORS)
_VALUES = ", ".join(
    f"('{exchange}', {terms.impact_value}, {terms.major_impact_value})"
    for exchange, terms in TERMS.items()
    if terms.impact_value is not None
)

_SQL = f"""
WITH marks AS (
    SELECT {NUMBER} AS series, timestamp, id, mark_price, index_price, funding_rate
    FROM main.mark_prices
    WHERE timestamp > $start::TIMESTAMP - INTERVAL {_STALE_US} MICROSECOND AND timestamp <= $end::TIMESTAMP
), events AS (
    SELECT *, true AS is_mark FROM marks
    UNION ALL BY NAME
    SELECT {NUMBER} AS series, timestamp, id, index_price, false AS is_mark
    FROM main.index_prices
    WHERE timestamp > $start::TIMESTAMP - INTERVAL {_STALE_US} MICROSECOND AND timestamp <= $end::TIMESTAMP
      AND series IN (SELECT DISTINCT series FROM marks WHERE index_price IS NULL)
), filled AS (
    SELECT series, epoch_us(timestamp) AS us, is_mark, funding_rate,
           last_value(mark_price IGNORE NULLS) OVER past AS mark,
           last_value(CASE WHEN mark_price IS NOT NULL THEN epoch_us(timestamp) END IGNORE NULLS) OVER past AS mark_us,
           last_value(index_price IGNORE NULLS) OVER past AS index,
           last_value(CASE WHEN index_price IS NOT NULL THEN epoch_us(timestamp) END IGNORE NULLS) OVER past
               AS index_us,
           lead(epoch_us(timestamp), 1, epoch_us($end::TIMESTAMP) + 1) OVER (
               PARTITION BY series ORDER BY timestamp, is_mark, id
           ) AS next_us
    FROM events
    WINDOW past AS (PARTITION BY series ORDER BY timestamp, is_mark, id ROWS UNBOUNDED PRECEDING)
), standing AS (
    SELECT *, least(next_us, mark_us + {_STALE_US}) AS mark_until,
           least(next_us, mark_us + {_STALE_US}, index_us + {_STALE_US}) AS both_until,
           (us + {_MINUTE_US - 1}) // {_MINUTE_US} AS first_minute
    FROM filled
    WHERE mark IS NOT NULL
), pieces AS (
    SELECT *, unnest(range(first_minute, greatest(first_minute, (mark_until + {_MINUTE_US - 1}) // {_MINUTE_US}) + 1))
        * {_MINUTE_US} AS close_us
    FROM standing
), lived AS (
    SELECT *, CASE WHEN index IS NOT NULL THEN
                  greatest(0, least(both_until, close_us) - greatest(us, close_us - {_MINUTE_US})) / 1e6
              ELSE 0 END AS life,
           us <= close_us AND next_us > close_us AND close_us - mark_us <= {_STALE_US} AS stands,
           us > close_us - {_MINUTE_US} AND is_mark AS published
    FROM pieces
    WHERE close_us > epoch_us($start::TIMESTAMP) AND close_us <= epoch_us($end::TIMESTAMP)
), named AS (
    SELECT DISTINCT {SERIES}, {NUMBER} AS series
    FROM main.mark_prices
    WHERE timestamp > $start::TIMESTAMP - INTERVAL {_STALE_US} MICROSECOND AND timestamp <= $end::TIMESTAMP
), figures AS (
    SELECT series, make_timestamp(close_us) AS bar_ts,
           count(*) FILTER (published) AS n_obs,
           max(mark) FILTER (stands) AS mark_close,
           max(index) FILTER (stands AND close_us - index_us <= {_STALE_US}) AS index_close,
           sum(life * (mark - index)) / nullif(sum(life), 0) AS basis,
           sum(life * (mark - index) / index) / nullif(sum(life), 0) AS premium,
           sum(life) AS premium_s,
           make_timestamp(max(us) FILTER (published AND funding_rate IS NOT NULL)) AS rated_at
    FROM lived
    GROUP BY series, close_us
), minutes AS (
    SELECT * EXCLUDE (series) FROM figures JOIN named USING (series)
), spot AS (
    SELECT symbol, bar_ts, median(mid) AS spot_mid, count(*) AS spot_venues
    FROM (
        SELECT symbol, exchange,
               make_timestamp((epoch_us(bar_ts) + {_MINUTE_US - 1}) // {_MINUTE_US} * {_MINUTE_US}) AS bar_ts,
               arg_max((bid_price + ask_price) / 2, quotes_1s.bar_ts) AS mid
        FROM bars.quotes_1s
        WHERE market_type = 'spot' AND open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
          AND bid_price IS NOT NULL AND (epoch_us(quotes_1s.bar_ts) - 1) % {_MINUTE_US}
              >= {_MINUTE_US - SPOT_STALE_S * 1_000_000}
        GROUP BY ALL
    )
    GROUP BY symbol, bar_ts
), wanted AS (
    SELECT *, CASE WHEN symbol IN ({_MAJORS}) THEN major_value ELSE value END AS target
    FROM minutes JOIN (VALUES {_VALUES}) v(exchange, value, major_value) USING (exchange)
    WHERE index_close > 0
), last AS (
    SELECT {NUMBER} AS series,
           make_timestamp((epoch_us(timestamp) + {_MINUTE_US - 1}) // {_MINUTE_US} * {_MINUTE_US}) AS bar_ts,
           max(struct_pack(t := timestamp, i := id)) AS row
    FROM main.orderbooks
    WHERE market_type = 'futures' AND timestamp > $start::TIMESTAMP AND timestamp <= $end::TIMESTAMP
      AND (epoch_us(timestamp) - 1) % {_MINUTE_US} >= {_MINUTE_US - _BOOK_US}
    GROUP BY ALL
), last_books AS (
    SELECT {SERIES}, bar_ts, struct_pack(bid := {_levels("bid")}, ask := {_levels("ask")}) AS book
    FROM last l JOIN main.orderbooks b ON b.id = l.row.i AND b.timestamp = l.row.t AND l.series = {NUMBER}
    WHERE b.timestamp > $start::TIMESTAMP AND b.timestamp <= $end::TIMESTAMP
), levels AS (
    SELECT {_BOOK}, b.bar_ts, target, index_close, side,
           level[1] AS price, level[1] * level[2] AS value,
           sum(level[1] * level[2]) OVER (
               PARTITION BY {_BOOK}, b.bar_ts, side ORDER BY number ROWS UNBOUNDED PRECEDING
           ) AS reached
    FROM (
        SELECT {SERIES}, bar_ts, 'bid' AS side, unnest(book.bid) AS level, generate_subscripts(book.bid, 1) AS number
        FROM last_books
        UNION ALL
        SELECT {SERIES}, bar_ts, 'ask', unnest(book.ask), generate_subscripts(book.ask, 1) FROM last_books
    ) b JOIN wanted USING ({SERIES}, bar_ts)
    WHERE level[1] IS NOT NULL AND level[2] > 0
), impact AS (
    SELECT {SERIES}, bar_ts, side, any_value(index_close) AS index_close,
           CASE WHEN max(reached) >= any_value(target) THEN
               any_value(target) / sum(greatest(0, least(value, target - reached + value)) / price) END AS price
    FROM levels
    GROUP BY ALL
), impacts AS (
    SELECT {SERIES}, bar_ts, any_value(index_close) AS x,
           max(price) FILTER (side = 'bid') AS bid, max(price) FILTER (side = 'ask') AS ask
    FROM impact
    GROUP BY ALL
)
SELECT {SERIES}, bar_ts - INTERVAL 1 MINUTE AS open_time, bar_ts, n_obs, mark_close, index_close, basis, premium,
       coalesce(premium_s, 0) AS premium_s,
       CASE WHEN bid IS NOT NULL AND ask IS NOT NULL THEN (greatest(0, bid - x) - greatest(0, x - ask)) / x END
           AS impact_premium,
       spot_mid, coalesce(spot_venues, 0) AS spot_venues, rated_at
FROM minutes LEFT JOIN spot USING (symbol, bar_ts) LEFT JOIN impacts USING ({SERIES}, bar_ts)
"""

_MARKS = STREAMS["mark_prices"].table.qualified
_INDEX = tuple(f"main.{stream}.index_price" for stream in ("mark_prices", "index_prices"))

LAYER = selected(
    MARKS_1M,
    _SQL,
    (*(STREAMS[name].table for name in ("mark_prices", "index_prices", "orderbooks")), QUOTES_1S),
    MARK_STALE,
    lineage={
        "n_obs": columns_of(_MARKS, "timestamp"),
        "mark_close": columns_of(_MARKS, "mark_price"),
        "index_close": _INDEX,
        **dict.fromkeys(("basis", "premium", "premium_s"), (*columns_of(_MARKS, "mark_price", "timestamp"), *_INDEX)),
        "impact_premium": (*_INDEX, *book_levels(tail=True)),
        **dict.fromkeys(("spot_mid", "spot_venues"), columns_of(QUOTES_1S.qualified, "bid_price", "ask_price")),
        "rated_at": columns_of(_MARKS, "timestamp", "funding_rate"),
    },
)
