"""A small planted tape of perpetuals around a settlement at 08:00, with what goes wrong on real ones.

AAA on Binance: marks with index and rate, irregular, an outage of marks, books. AAA on OKX: marks without an index,
the index apart and silent for a while. AAA on Hyperliquid: hourly funding at a rate that hardly changes. AAA on
KuCoin: running rates that name no settlement, and polls that do. BBB on Binance: a single mark. Three spot venues
quote AAA, one of them not always.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from orderflow_streaming.schema import BACKFILLS, GAPS, INSTRUMENTS, STREAMS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

START = datetime(2025, 3, 4, 7, 30)  # noqa: DTZ001
SETTLED = datetime(2025, 3, 4, 8)  # noqa: DTZ001
END = datetime(2025, 3, 4, 8, 25)  # noqa: DTZ001
Series = tuple[str, str, str]
BINANCE, OKX, HYPERLIQUID, KUCOIN = (
    ("AAAUSDT", exchange, "futures") for exchange in ("binance", "okx", "hyperliquid", "kucoin")
)
LONELY = ("BBBUSDT", "binance", "futures")
HOURS = {BINANCE: 8.0, OKX: 4.0, HYPERLIQUID: 1.0, KUCOIN: 8.0, LONELY: 8.0}

Rows = dict[str, list[dict[str, Any]]]
"""By stream: rows of ``timestamp``, the identity and what else is known."""


def at(seconds: float) -> datetime:
    """``seconds`` after the start, to the millisecond."""
    return START + timedelta(milliseconds=round(seconds * 1000))


def named(series: Series, **columns: Any) -> dict[str, Any]:
    return dict(zip(("symbol", "exchange", "market_type"), series, strict=True)) | columns


def planted() -> Rows:
    """The tape; deterministic."""
    rng = random.Random(11)
    rows: Rows = defaultdict(list)
    span = (END - START).total_seconds()
    _binance(rows, rng, span)
    _okx(rows, rng, span)
    _hyperliquid(rows, rng, span)
    _kucoin(rows, rng, span)
    rows["mark_prices"].append(named(LONELY, timestamp=at(400.25), mark_price=50.5, index_price=50.0))
    _quotes(rows, rng, span)
    return rows


def _walk(rng: random.Random, span: float, gap: float) -> Iterable[tuple[float, float]]:
    """Times up to ``span`` about ``gap`` apart, some on full seconds or minutes, and a wandering level."""
    when, level = 0.0, 100.0
    while (when := when + rng.uniform(0.2, 2) * gap) < span:
        level += rng.gauss(0, 0.02)
        snapped = rng.random()
        time = round(when / 60) * 60 if snapped < 0.03 else round(when) if snapped < 0.2 else round(when, 3)
        if 0 < time < span:
            yield time, level


def _binance(rows: Rows, rng: random.Random, span: float) -> None:
    rate = 1e-4
    for time, level in sorted(_walk(rng, span, 1.3)):
        if 900 <= time < 1_080:
            continue
        rate += rng.gauss(0, 1e-6)
        due = SETTLED if at(time) < SETTLED + timedelta(seconds=1) else SETTLED + timedelta(hours=8)
        index = None if 300 <= time < 420 else level
        rows["mark_prices"].append(
            named(BINANCE, timestamp=at(time), mark_price=level * 1.0007 + rng.gauss(0, 0.01), index_price=index,
                  funding_rate=rate)
        )  # fmt: skip
        rows["funding_rates"].append(
            named(BINANCE, timestamp=at(time), funding_rate=rate, next_funding_time=due, funding_interval_hours=8.0)
        )
        if rng.random() < 0.6:
            rows["orderbooks"].append(named(BINANCE, timestamp=at(time + 0.1), **_book(rng, level * 1.0006)))


def _book(rng: random.Random, mid: float) -> dict[str, Any]:
    """Ten levels of about 15 a side, and more behind them: the impact value of 10,000 takes the tail as well."""
    columns: dict[str, Any] = {}
    for side, sign in (("bid", -1), ("ask", 1)):
        for level in range(1, 11):
            columns[f"{side}_{level}_price"] = mid + sign * 0.01 * level
            columns[f"{side}_{level}_qty"] = 10.0 + 3 * rng.random()
        columns[f"{side}_tail"] = [[mid + sign * (0.1 + 0.02 * deep), 2.0] for deep in range(1, rng.choice([5, 20]))]
    return columns


def _okx(rows: Rows, rng: random.Random, span: float) -> None:
    for time, level in sorted(_walk(rng, span, 7)):
        rows["mark_prices"].append(named(OKX, timestamp=at(time), mark_price=level * 0.9995))
    for time, level in sorted(_walk(rng, span, 11)):
        if not 1_500 <= time < 1_800:
            rows["index_prices"].append(named(OKX, timestamp=at(time), index_price=level))
    for minute in range(int(span) // 60):
        when = at(60 * minute + 41)
        due = SETTLED if when < SETTLED else SETTLED + timedelta(hours=4)
        rows["funding_rates"].append(
            named(OKX, timestamp=when, funding_rate=-2e-5 + 1e-7 * minute, next_funding_time=due)
        )


def _hyperliquid(rows: Rows, rng: random.Random, span: float) -> None:
    """The rate changes at the settlement only; mark prices carry it, until they fall silent."""
    for when, due, rate in ((at(5), SETTLED, 1.25e-5), (at(1_802), SETTLED + timedelta(hours=1), 1.5e-5)):
        rows["funding_rates"].append(
            named(HYPERLIQUID, timestamp=when, funding_rate=rate, next_funding_time=due, funding_interval_hours=1.0)
        )
    for time, level in sorted(_walk(rng, span, 4)):
        if time < 2_000:
            rows["mark_prices"].append(
                named(HYPERLIQUID, timestamp=at(time), mark_price=level, index_price=level * 1.003, funding_rate=1e-5)
            )


def _kucoin(rows: Rows, rng: random.Random, span: float) -> None:
    for minute in range(0, int(span) // 60, 2):
        rows["funding_rates"].append(named(KUCOIN, timestamp=at(60 * minute), funding_rate=3e-5 + 1e-6 * minute))
    for when, due in ((at(100), SETTLED), (at(1_813), SETTLED + timedelta(hours=8))):
        rows["funding_rates"].append(named(KUCOIN, timestamp=when, funding_rate=3.5e-5, next_funding_time=due))
    for time, level in sorted(_walk(rng, span, 5)):
        rows["mark_prices"].append(named(KUCOIN, timestamp=at(time), mark_price=level, index_price=level))


def _quotes(rows: Rows, rng: random.Random, span: float) -> None:
    for series in (BINANCE, OKX, HYPERLIQUID, KUCOIN, LONELY):
        for second in range(1, int(span)):
            if not (series == OKX and 600 <= second < 720):
                rows["prices"].append(_quote(series, at(second - 0.4), 100 + 0.1 * rng.random()))
    for number, exchange in enumerate(("binance", "bybit", "kucoin")):
        for time in range(3, int(span), 3 + number):
            if not (exchange == "kucoin" and 1_200 <= time < 1_500):
                series = ("AAAUSDT", exchange, "spot")
                rows["prices"].append(_quote(series, at(time + 0.2 * number), 99.9 + 0.1 * number))


def _quote(series: Series, when: datetime, bid: float) -> dict[str, Any]:
    ask = bid + 0.02
    return named(series, timestamp=when, mid_price=bid + 0.01, bid_price=bid, ask_price=ask, bid_qty=1.0, ask_qty=1.0)


def load(store: Store, rows: Rows, until: datetime | None = None, symbols: Iterable[Series] = HOURS) -> None:
    """Store the rows up to and with ``until`` as the daemon would have, the changes of funding alone."""
    store.ensure(*(stream.table for stream in STREAMS.values()), INSTRUMENTS, GAPS, BACKFILLS)
    for name, records in rows.items():
        kept = sorted((row for row in records if until is None or row["timestamp"] <= until), key=_place)
        kept = list({_place(row): row for row in kept}.values()) if name != "prices" else kept
        numbered = [
            {"received_at": row["timestamp"] + timedelta(milliseconds=50)} | row | {"id": number}
            for number, row in enumerate(kept)
        ]
        put(store, STREAMS[name].table, numbered)
    put(
        store,
        INSTRUMENTS,
        [
            named(series, venue_symbol=series[0], contract_size=1.0, tick_size=0.01, as_of=START,
                  funding_interval_hours=HOURS.get(series))
            for series in symbols
        ],
    )  # fmt: skip


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["symbol"], row["exchange"], row["market_type"], row["timestamp"]


def put(store: Store, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows that name some of the columns."""
    store.ensure(table)
    if rows:
        store.write(table, pa.Table.from_pylist(rows, table.arrow_schema))
