"""Bars cut by activity: volume, dollar and imbalance bars (Lopez de Prado 2018, ch. 2), per series and over all venues.

Five rules, each a bar sequence of its own in one table. ``volume`` and ``dollar`` bars end when a 288th of the usual
day has traded since the last one: as many bars as a day has five minutes. Imbalance bars end when buying less selling,
in parent trades (``tick_imbalance``), volume or value, has come as far from zero as expected: trades per bar times
flow per trade, both exponentially weighted over the bars of the day. What is usual, and what the first bar of a day
expects, comes from ``bars.daily_sizes``.

Every sequence starts afresh at 00:00 UTC; what its last bar of the day lacks is dropped. A window goes on from the
last bar stored before it, which carries what the next one expects, or from midnight where there is none, so that a
bar is the same whatever window it is computed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.coarser import OHLCV
from orderflow_assets.bars.consolidated import EVERY_VENUE
from orderflow_assets.bars.daily_sizes import DAILY_SIZES, FIVES_PER_DAY
from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.bars.sampling import Ended, Expectation, amount_ends, imbalance_ends
from orderflow_assets.bars.series import DAY, SERIES, SERIES_NAMES, closed_window, hours, midnight
from orderflow_assets.features.grid import Array, Identity, epoch_us, split_series
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table


@dataclass(frozen=True, slots=True)
class Rule:
    """What a sequence of bars is cut by: a measure of trading, and whether its size or its imbalance counts."""

    name: str
    measure: str
    imbalance: bool


RULES: tuple[Rule, ...] = (
    Rule("volume", "volume", False),
    Rule("dollar", "value", False),
    Rule("tick_imbalance", "tick", True),
    Rule("volume_imbalance", "volume", True),
    Rule("dollar_imbalance", "value", True),
)

_TRADED = tuple(column for column in OHLCV if column.name != "mid_close")


def _table(name: str, doc: str, *extra: Column) -> Table:
    return Table(
        "bars",
        name,
        (
            *IDENTITY,
            Column("rule", "VARCHAR", f"what it is cut by: {', '.join(rule.name for rule in RULES)}", "", False),
            Column("opened_at", "TIMESTAMP", "time of its first trade", "UTC", False),
            Column("closed_at", "TIMESTAMP", "time of the trade that closed it, when it was known", "UTC", False),
            *_TRADED,
            Column("parent_count", "BIGINT", "parent trades", "count", False),
            Column(
                "imbalance", "DOUBLE", "bought less sold, in the measure of the rule", "count, base or quote", False
            ),
            Column("threshold", "DOUBLE", "what closed it, in the measure of the rule", "count, base or quote", False),
            Column("expected_parents", "DOUBLE", "parent trades it was expected to hold; imbalance bars", "count"),
            Column("expected_flow", "DOUBLE", "imbalance per parent it was expected to have", "as imbalance"),
            *extra,
        ),
        (*SERIES_NAMES, "rule", "closed_at"),
        "closed_at",
        doc,
    )


ACTIVITY_BARS = _table("activity_bars", "Volume, dollar and imbalance bars of each series.")
CONSOLIDATED_ACTIVITY_BARS = _table(
    "consolidated_activity_bars",
    "Volume, dollar and imbalance bars over all venues of a symbol, futures and spot apart.",
    Column("venues", "BIGINT", "venues that traded in it", "count", False),
)


@dataclass(frozen=True, slots=True)
class Parents:
    """Parent trades of one series in order, one array per column."""

    us: np.ndarray
    venue: np.ndarray
    sign: np.ndarray
    prints: np.ndarray
    volume: Array
    value: Array
    first_price: Array
    last_price: Array
    low: Array
    high: Array

    def signed(self, measure: str) -> Array:
        return self.sign * (np.ones(len(self.us)) if measure == "tick" else getattr(self, measure))


_LAST_SQL = f"""
SELECT {SERIES}, rule, epoch_us(closed_at) AS us, parent_count, imbalance, expected_parents, expected_flow
FROM {{table}}
WHERE closed_at >= $day AND closed_at < $start
QUALIFY row_number() OVER (PARTITION BY {SERIES}, rule ORDER BY closed_at DESC) = 1
"""

# A series is read from the end of the last bar of that rule whose bar is open the longest.
_PARENTS_SQL = f"""
WITH opened AS (
    SELECT {SERIES}, min(closed_at) AS since
    FROM (SELECT {SERIES}, rule, max(closed_at) AS closed_at FROM {{table}}
          WHERE closed_at >= $day AND closed_at < $start GROUP BY ALL)
    GROUP BY {SERIES}
    HAVING count(*) = {len(RULES)}
), parents AS (
    SELECT * REPLACE ({{exchange}} AS exchange), exchange AS venue
    FROM bars.parent_trades
    WHERE timestamp >= $day AND timestamp < $end
)
SELECT {SERIES}, epoch_us(timestamp) AS us, venue, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS sign, prints,
       quantity AS volume, notional AS value, first_price, last_price, low, high
FROM parents SEMI JOIN (FROM bars.daily_sizes WHERE valid_from = $day) USING ({SERIES})
LEFT JOIN opened USING ({SERIES})
WHERE since IS NULL OR timestamp > since
ORDER BY {SERIES}, timestamp, venue, first_id
"""

_SIZES_SQL = "FROM bars.daily_sizes WHERE valid_from = ?"


def _activity(table: Table, exchange: str) -> Layer:
    """The layer of ``table`` over parents whose exchange is renamed to the SQL ``exchange``."""

    def compute(store: Store, start: datetime, end: datetime) -> int:
        store.ensure(*_INPUTS, table)
        return sum(hour(store, *window) for window in hours(*closed_window(start, end)))

    def hour(store: Store, start: datetime, end: datetime) -> int:
        window = {"day": midnight(start), "start": start}
        last = {
            (*(row[name] for name in SERIES_NAMES), row["rule"]): row
            for row in store.query(_LAST_SQL.format(table=table.qualified), window, timeout_s=600).to_pylist()
        }
        sizes = {
            tuple(row[name] for name in SERIES_NAMES): row
            for row in store.query(_SIZES_SQL, [window["day"]], timeout_s=600).to_pylist()
        }
        sql = _PARENTS_SQL.format(table=table.qualified, exchange=exchange)
        rows = store.query(sql, window | {"end": end}, timeout_s=600)
        bars = [
            _rows(table, identity, rule, parents, cut, epoch_us(start))
            for identity, part in split_series(rows)
            for parents in [_parents(part)]
            for rule in RULES
            if (cut := _cut(rule, parents, sizes[identity], last.get((*identity, rule.name))))
        ]
        data = pa.concat_tables(bars) if bars else table.arrow_schema.empty_table()
        return store.write(table, data, Window(start, end))

    return Layer(
        table,
        compute,
        tuple(one.qualified for one in _INPUTS),
        DAY,
        "bars",
        ("duckdb", "python"),
        lineage={
            name: (*_CUT_BY, *columns_of(_PARENTS, *own)) for name, own in _MADE_OF.items() if name in table.names
        },
    )


def _parents(rows: pa.Table) -> Parents:
    columns = {name: rows[name] for name in rows.column_names[len(SERIES_NAMES) :]}
    columns["venue"] = columns["venue"].combine_chunks().dictionary_encode().indices
    return Parents(**{name: column.to_numpy() for name, column in columns.items()})


@dataclass(frozen=True, slots=True)
class Cut:
    """Bars of one rule: the parents from ``start`` on, each bar up to and with the parent at ``last``."""

    start: int
    last: np.ndarray
    threshold: Array
    expected: Array


def _cut(rule: Rule, parents: Parents, sizes: dict[str, Any], last: dict[str, Any] | None) -> Cut | None:
    """The bars that ``rule`` closes among ``parents`` after the bar ``last``; None where it closes none."""
    start = int(np.searchsorted(parents.us, last["us"], side="right")) if last else 0
    us = parents.us[start:]
    moments = np.flatnonzero(np.diff(us, append=us[-1] + 1 if len(us) else 0))
    if rule.imbalance:
        ended = list(_imbalanced(rule, parents, start, moments, sizes, last))
        ends = [one.end for one in ended]
        threshold = np.array([one.threshold for one in ended])
        expected = np.array([(one.expected.ticks, one.expected.flow) for one in ended])
    else:
        size = sizes[f"daily_{rule.measure}"] / FIVES_PER_DAY
        ends = amount_ends(np.cumsum(getattr(parents, rule.measure)[start:])[moments], size)
        threshold, expected = np.full(len(ends), size), np.full((len(ends), 2), np.nan)
    return Cut(start, start + moments[ends], threshold, expected) if ends else None


def _imbalanced(
    rule: Rule, parents: Parents, start: int, moments: np.ndarray, sizes: dict[str, Any], last: dict[str, Any] | None
) -> Iterator[Ended]:
    usual, ticks = sizes[f"{rule.measure}_imbalance"], sizes["parents"]
    if not usual or not ticks:
        return
    expected = Expectation(ticks, sizes[f"{rule.measure}_flow"])
    if last:
        expected = Expectation(last["expected_parents"], last["expected_flow"])
        expected = expected.after(last["parent_count"], last["imbalance"])
    total = np.cumsum(parents.signed(rule.measure)[start:])[moments]
    yield from imbalance_ends(total, moments + 1.0, expected, usual)


def _rows(table: Table, identity: Identity, rule: Rule, parents: Parents, cut: Cut, since_us: int) -> pa.Table:
    """The bars of ``cut`` that closed at or after ``since_us``."""
    first = np.concatenate([[cut.start], cut.last[:-1] + 1])
    until = cut.last[-1] + 1

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values[:until], first)

    volume, value, bought = total(parents.volume), total(parents.value), parents.sign > 0
    columns: dict[str, np.ndarray] = {
        "opened_at": parents.us[first].astype("datetime64[us]"),
        "closed_at": parents.us[cut.last].astype("datetime64[us]"),
        "open": parents.first_price[first],
        "high": np.maximum.reduceat(parents.high[:until], first),
        "low": np.minimum.reduceat(parents.low[:until], first),
        "close": parents.last_price[cut.last],
        "volume": volume,
        "quote_volume": value,
        "taker_buy_volume": total(parents.volume * bought),
        "taker_buy_quote": total(parents.value * bought),
        "trade_count": total(parents.prints),
        "vwap": value / volume,
        "parent_count": cut.last + 1 - first,
        "imbalance": total(parents.signed(rule.measure)),
        "threshold": cut.threshold,
        "expected_parents": cut.expected[:, 0],
        "expected_flow": cut.expected[:, 1],
    }
    if "venues" in table.names:
        columns["venues"] = np.bitwise_count(np.bitwise_or.reduceat(1 << parents.venue[:until].astype(np.int64), first))
    fresh = parents.us[cut.last] >= since_us
    named = {**dict(zip(SERIES_NAMES, identity, strict=True)), "rule": rule.name}
    return pa.table(
        {
            **{name: pa.array([text] * int(fresh.sum()), pa.string()) for name, text in named.items()},
            **{name: pa.array(values[fresh], from_pandas=True) for name, values in columns.items()},
        }
    )


_INPUTS = (PARENT_TRADES, DAILY_SIZES)
_PARENTS = PARENT_TRADES.qualified
_CUT_BY = (
    *columns_of(_PARENTS, "timestamp", "side", "quantity", "notional"),
    *columns_of(
        DAILY_SIZES.qualified,
        *(f"daily_{measure}" for measure in ("volume", "value")),
        "parents",
        *(f"{measure}_{what}" for measure in ("tick", "volume", "value") for what in ("flow", "imbalance")),
    ),
)
"""What closes a bar, and so is part of everything in it."""
_MADE_OF: dict[str, tuple[str, ...]] = {
    "open": ("first_price", "first_id"),
    "close": ("last_price", "first_id"),
    "high": ("high",),
    "low": ("low",),
    "trade_count": ("prints",),
    "venues": ("exchange",),
    **dict.fromkeys(("opened_at", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote", "vwap"), ()),
    **dict.fromkeys(("parent_count", "imbalance", "threshold", "expected_parents", "expected_flow"), ()),
}

LAYERS: tuple[Layer, ...] = (
    _activity(ACTIVITY_BARS, "exchange"),
    _activity(CONSOLIDATED_ACTIVITY_BARS, f"'{EVERY_VENUE}'"),
)
