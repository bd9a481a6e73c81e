"""How much a series usually trades, fixed for each UTC day from the seven days before it.

What is cut by activity, not by the clock, takes its measure from here: volume buckets, volume, dollar and imbalance
bars. Only minutes with a live trade feed count, and five minutes only where all five had one. Over all venues of a
symbol (exchange ``all``) a minute counts the venues that lived in it.
"""

from __future__ import annotations

from datetime import datetime

from orderflow_assets.bars.consolidated import EVERY_VENUE
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, SERIES, SERIES_NAMES, at, midnights_due
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column, Table

HISTORY = 7 * DAY
FIVES_PER_DAY = 288
_LEAST_MINUTES = 60

DAILY_SIZES = Table(
    "bars",
    "daily_sizes",
    (
        *IDENTITY,
        Column("valid_from", "TIMESTAMP", "00:00 UTC of the day it holds for; made of the 7 days before", "UTC", False),
        Column("minutes", "BIGINT", "minutes it rests on", "count", False),
        Column("daily_volume", "DOUBLE", "volume of 1,440 mean minutes", "base", False),
        Column("daily_value", "DOUBLE", "value of 1,440 mean minutes", "quote", False),
        Column("parents", "DOUBLE", "mean parents of five minutes", "count"),
        Column("tick_flow", "DOUBLE", "mean of buying less selling, per parent", "1"),
        Column("volume_flow", "DOUBLE", "mean signed volume per parent", "base"),
        Column("value_flow", "DOUBLE", "mean signed value per parent", "quote"),
        Column("tick_imbalance", "DOUBLE", "mean size of buying less selling parents of five minutes", "count"),
        Column("volume_imbalance", "DOUBLE", "mean size of the signed volume of five minutes", "base"),
        Column("value_imbalance", "DOUBLE", "mean size of the signed value of five minutes", "quote"),
    ),
    (*SERIES_NAMES, "valid_from"),
    "valid_from",
    "What a series trades in a day and in five minutes, day by day.",
)

_SUMS = ", ".join(f"sum({name}) AS {name}" for name in ("volume", "value", "parents", "ticks", "bought", "paid"))

_SQL = f"""
WITH own AS (
    SELECT {SERIES}, open_time, volume, quote_volume AS value, parent_count AS parents,
           2 * buy_parent_count - parent_count AS ticks,
           2 * taker_buy_volume - b.volume AS bought,
           2 * taker_buy_quote - b.quote_volume AS paid
    FROM bars.bars_1m b
    WHERE open_time >= $day::TIMESTAMP - INTERVAL {HISTORY.days} DAY AND open_time < $day::TIMESTAMP
      AND volume IS NOT NULL
), minutes AS (
    FROM own
    UNION ALL BY NAME
    SELECT symbol, '{EVERY_VENUE}' AS exchange, market_type, open_time, {_SUMS}
    FROM own
    GROUP BY symbol, market_type, open_time
), fives AS (
    SELECT {SERIES}, time_bucket(INTERVAL 5 MINUTE, open_time) AS five, count(*) AS minutes, {_SUMS}
    FROM minutes
    GROUP BY ALL
), sizes AS (
    SELECT {SERIES}, sum(minutes)::BIGINT AS minutes,
           sum(volume) * 1440 / sum(f.minutes) AS daily_volume,
           sum(value) * 1440 / sum(f.minutes) AS daily_value,
           avg(parents) FILTER (f.minutes = 5) AS parents,
           sum(ticks) / nullif(sum(f.parents), 0) AS tick_flow,
           sum(bought) / nullif(sum(f.parents), 0) AS volume_flow,
           sum(paid) / nullif(sum(f.parents), 0) AS value_flow,
           avg(abs(ticks)) FILTER (f.minutes = 5) AS tick_imbalance,
           avg(abs(bought)) FILTER (f.minutes = 5) AS volume_imbalance,
           avg(abs(paid)) FILTER (f.minutes = 5) AS value_imbalance
    FROM fives f
    GROUP BY {SERIES}
)
SELECT *, $day::TIMESTAMP AS valid_from FROM sizes WHERE minutes >= {_LEAST_MINUTES} AND daily_volume > 0
"""

_MADE_OF = {
    "minutes": (),
    "daily_volume": (),
    "daily_value": ("quote_volume",),
    "parents": ("parent_count",),
    **dict.fromkeys(("tick_flow", "tick_imbalance"), ("buy_parent_count", "parent_count")),
    "volume_flow": ("taker_buy_volume", "parent_count"),
    "value_flow": ("taker_buy_quote", "quote_volume", "parent_count"),
    "volume_imbalance": ("taker_buy_volume",),
    "value_imbalance": ("taker_buy_quote", "quote_volume"),
}
_LINEAGE = {name: columns_of(BARS_1M.qualified, "volume", *others) for name, others in _MADE_OF.items()}


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, DAILY_SIZES)
    days = midnights_due(store, DAILY_SIZES, start, end)
    return sum(store.insert_select(DAILY_SIZES, _SQL, {"day": day}, at(day)) for day in days)


LAYER = Layer(DAILY_SIZES, _compute, (BARS_1M.qualified,), HISTORY, "bars", every=DAY, lineage=_LINEAGE)
