"""The market of the last seconds or minutes: one query over the ticks with the bars' own definitions, nothing stored.

Each venue is measured by itself, then the venues are put together. What is called unusual is a percent rank among the
windows of the same length of the 24 hours before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import numpy as np

from orderflow_assets.bars import parents, quotes
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import ARRIVAL, DAY, MINUTE, STALE
from orderflow_assets.features.grid import MIN_BASELINE
from orderflow_streaming import markets
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.store.reader import Reader
from orderflow_streaming.store.window import naive_utc
from orderflow_streaming.tables import Table

SHORTEST, LONGEST = timedelta(seconds=5), timedelta(hours=1)
FUNDING_AGE = timedelta(minutes=15)
Row = dict[str, Any]

UNUSUAL, DIRECTED = 0.9, 0.8
"""Percent rank from which a range is wide or (1 - it) narrow, and size of the signed rank of the return that trends."""

_VENUE = "symbol = $symbol AND ($exchange::VARCHAR IS NULL OR exchange = $exchange::VARCHAR)"

_PRICE_SQL = f"""
WITH seconds AS ({quotes.SELECT}), mids AS (
    SELECT exchange, market_type, bar_ts, (bid_price + ask_price) / 2 AS mid, spread_bps, quoted_s, quotes
    FROM seconds WHERE {_VENUE}
), moves AS (
    SELECT *, ln(mid / lag(mid) OVER (PARTITION BY exchange, market_type ORDER BY bar_ts)) AS r FROM mids
)
SELECT exchange, market_type, arg_min(mid, bar_ts) AS open, max(mid) AS high, min(mid) AS low,
       arg_max(mid, bar_ts) AS close, 1e4 * sqrt(sum(r * r)) AS volatility_bps,
       sum(spread_bps * quoted_s) / nullif(sum(quoted_s) FILTER (spread_bps IS NOT NULL), 0) AS spread_bps,
       sum(quoted_s) AS quoted_s, sum(quotes)::BIGINT AS quotes, max(bar_ts) FILTER (quotes > 0) AS as_of
FROM moves GROUP BY exchange, market_type
"""

_FLOW_SQL = f"""
WITH orders AS (SELECT * FROM ({parents.SELECT}) WHERE {_VENUE}), largest AS (
    SELECT exchange, market_type, quantile_cont(notional, 0.9) AS size FROM orders GROUP BY ALL
)
SELECT exchange, market_type,
       coalesce(sum(notional) FILTER (side = 'buy'), 0) AS buy_value,
       coalesce(sum(notional) FILTER (side = 'sell'), 0) AS sell_value,
       count(*) AS orders, sum(prints)::BIGINT AS trades,
       coalesce(sum(notional) FILTER (notional >= size), 0) / sum(notional) AS top_decile_share,
       coalesce(sum(CASE side WHEN 'buy' THEN notional ELSE -notional END) FILTER (timestamp >= $middle), 0)
           AS late_delta,
       max(timestamp) AS as_of
FROM orders JOIN largest USING (exchange, market_type) GROUP BY exchange, market_type
"""

_DEPTH = {
    side: " + ".join(f"coalesce({side}_{level}_price * {side}_{level}_qty, 0)" for level in range(1, LEVELS + 1))
    for side in ("bid", "ask")
}
_DEPTH_SQL = f"""
SELECT exchange, market_type, {_DEPTH["bid"]} AS bid_depth, {_DEPTH["ask"]} AS ask_depth, timestamp AS as_of
FROM main.orderbooks
WHERE {_VENUE} AND timestamp > $end::TIMESTAMP - INTERVAL {STALE.seconds} SECOND AND timestamp <= $end
QUALIFY row_number() OVER (PARTITION BY exchange, market_type ORDER BY timestamp DESC, id DESC) = 1
"""
_FUNDING_SQL = f"""
SELECT exchange, market_type, funding_rate, annualized_rate AS funding_annual_pct, basis_pct, timestamp AS as_of
FROM main.mark_prices
WHERE {_VENUE} AND timestamp > $end::TIMESTAMP - INTERVAL {FUNDING_AGE.seconds} SECOND AND timestamp <= $end
QUALIFY row_number() OVER (PARTITION BY exchange, market_type ORDER BY timestamp DESC, id DESC) = 1
"""
_LIQUIDATIONS_SQL = f"""
SELECT exchange, market_type, sum(value_usd) FILTER (side = 'long') AS long_value,
       sum(value_usd) FILTER (side = 'short') AS short_value, count(*) AS count, max(timestamp) AS as_of
FROM main.liquidations
WHERE {_VENUE} AND timestamp >= $start AND timestamp < $end GROUP BY exchange, market_type
"""

_SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "price": (_PRICE_SQL, ("prices", "orderbooks")),
    "flow": (_FLOW_SQL, ("trades",)),
    "depth": (_DEPTH_SQL, ("orderbooks",)),
    "funding": (_FUNDING_SQL, ("mark_prices",)),
    "liquidations": (_LIQUIDATIONS_SQL, ("liquidations",)),
}
"""Of each section its query and the streams it reads."""

_PAST_SQL = """
WITH minutes AS (
    SELECT bar_ts, sum(quote_volume) AS value, sum(2 * taker_buy_quote - quote_volume) AS delta,
           median(ln(mid_close)) AS level
    FROM bars.bars_1m
    WHERE symbol = $symbol AND ($exchange::VARCHAR IS NULL OR exchange = $exchange::VARCHAR)
      AND open_time >= $since AND bar_ts <= $start
    GROUP BY bar_ts
)
SELECT bar_ts, CASE WHEN count(value) OVER w = $length THEN sum(value) OVER w END AS value,
       CASE WHEN count(delta) OVER w = $length THEN sum(delta) OVER w / nullif(sum(value) OVER w, 0) END AS aggression,
       1e4 * (level - first_value(level) OVER before) AS change_bps
FROM minutes
WINDOW w AS (ORDER BY bar_ts RANGE BETWEEN ($length - 1) * INTERVAL 1 MINUTE PRECEDING AND CURRENT ROW),
       before AS (ORDER BY bar_ts RANGE BETWEEN $length * INTERVAL 1 MINUTE PRECEDING
                  AND $length * INTERVAL 1 MINUTE PRECEDING)
"""


def analyze(
    store: Reader, symbol: str, exchange: str | None, window: timedelta, end: datetime | None = None
) -> dict[str, Any]:
    """What ``symbol`` did in the ``window`` before ``end`` (now where it is not given), per venue and together.

    ``exchange`` restricts it to one venue's markets. Values are quote currency, prices mids, rates per funding
    interval. A part without data is absent and ``missing`` says why. Raises ValueError for a window outside
    :data:`SHORTEST` to :data:`LONGEST` and :class:`~orderflow_streaming.markets.UnknownNameError`.
    """
    if not SHORTEST <= window <= LONGEST:
        raise ValueError(f"a window of {window.total_seconds():g} s; allowed are 5 s to 1 h. Stored bars go further.")
    symbol = markets.symbol(symbol)
    end = naive_utc(end or datetime.now(UTC) - ARRIVAL).replace(microsecond=0)
    known = _stored(store, [STREAMS[name].table for name in STREAMS] + [BARS_1M])
    found, missing = _sections(store, known, symbol, exchange, end - window, end)
    venues = _by_venue(found)
    together = aggregate(venues)
    ranked = _ranked(store, known, symbol, exchange, window, end)
    if not venues:
        missing["venues"] = f"no quotes and no trades of {symbol} between {end - window} and {end} UTC"
    return {
        "symbol": symbol,
        "window_s": window.total_seconds(),
        "start": end - window,
        "end": end,
        "as_of": max((venue["as_of"] for venue in venues), default=None),
        "venues": venues,
        "aggregate": together,
        "bias": ranked,
        "regime": regime(ranked),
        "missing": missing,
    }


def _stored(store: Reader, tables: Sequence[Table]) -> set[str]:
    rows = store.query("SELECT table_schema || '.' || table_name AS name FROM information_schema.tables")
    return {table.qualified for table in tables} & set(rows["name"].to_pylist())


def _sections(
    store: Reader, known: set[str], symbol: str, exchange: str | None, start: datetime, end: datetime
) -> tuple[dict[str, list[Row]], dict[str, str]]:
    given = {"symbol": symbol, "exchange": exchange, "start": start, "end": end, "middle": start + (end - start) / 2}
    found: dict[str, list[Row]] = {}
    missing: dict[str, str] = {}
    for name, (sql, streams) in _SECTIONS.items():
        absent = [stream for stream in streams if STREAMS[stream].table.qualified not in known]
        if absent:
            missing[name] = f"nothing of {', '.join(absent)} is stored yet"
            continue
        parameters = {key: value for key, value in given.items() if f"${key}" in sql}
        found[name] = store.query(sql, parameters).to_pylist()
        if not found[name]:
            missing[name] = f"no {' or '.join(streams)} in the window"
    return found, missing


def _by_venue(found: dict[str, list[Row]]) -> list[Row]:
    """One entry per market with its sections; those with neither quotes nor trades are left out."""
    venues: dict[tuple[str, str], Row] = {}
    for section, rows in found.items():
        for row in rows:
            market = (row.pop("exchange"), row.pop("market_type"))
            venue = venues.setdefault(market, {"market": "_".join(market), "as_of": None})
            as_of = row.pop("as_of")
            venue["as_of"] = max((time for time in (venue["as_of"], as_of) if time), default=None)
            venue[section] = row
    for venue in venues.values():
        _derive(venue)
    return [venues[market] for market in sorted(venues) if venues[market].keys() & {"price", "flow"}]


def _derive(venue: Row) -> None:
    price, flow, depth = venue.get("price"), venue.get("flow"), venue.get("depth")
    if price and price["open"]:
        price["change_bps"] = 1e4 * math.log(price["close"] / price["open"])
        price["range_bps"] = 1e4 * math.log(price["high"] / price["low"])
    if flow:
        flow |= _flow(flow["buy_value"], flow["sell_value"], flow["late_delta"])
    if depth:
        depth["imbalance"] = _share(depth["bid_depth"] - depth["ask_depth"], depth["bid_depth"] + depth["ask_depth"])


def _flow(buy: float, sell: float, late: float) -> Row:
    """Delta, aggression and whether the flow of the second half goes further than that of the first."""
    delta = buy - sell
    return {"delta": delta, "aggression": _share(delta, buy + sell), "cvd_trend": _share(2 * late - delta, buy + sell)}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def aggregate(venues: Sequence[Row]) -> Row:
    """The venues together: sums of values, medians of prices and spreads, shares of the sums."""

    def of(section: str, name: str) -> list[float]:
        values = (venue.get(section, {}).get(name) for venue in venues)
        return [value for value in values if value is not None]

    together: Row = {"venues": len(venues)}
    if of("price", "close"):
        middle = {
            name: median(of("price", name))
            for name in ("close", "change_bps", "volatility_bps", "spread_bps")
            if of("price", name)
        }
        closes = of("price", "close")
        together["price"] = middle | {"dispersion_bps": 1e4 * (max(closes) - min(closes)) / median(closes)}
    if of("flow", "buy_value"):
        buy, sell, late = (sum(of("flow", name)) for name in ("buy_value", "sell_value", "late_delta"))
        together["flow"] = {"buy_value": buy, "sell_value": sell, "trades": sum(of("flow", "trades"))}
        together["flow"] |= _flow(buy, sell, late)
    if of("depth", "bid_depth"):
        bid, ask = sum(of("depth", "bid_depth")), sum(of("depth", "ask_depth"))
        together["depth"] = {"bid_depth": bid, "ask_depth": ask, "imbalance": _share(bid - ask, bid + ask)}
    if of("funding", "funding_annual_pct"):
        rates = of("funding", "funding_annual_pct")
        together["funding"] = {"funding_annual_pct": median(rates), "spread_annual_pct": max(rates) - min(rates)}
    if of("liquidations", "count"):
        together["liquidations"] = {
            name: sum(of("liquidations", name)) for name in ("long_value", "short_value", "count")
        }
    return together


def _ranked(store: Reader, known: set[str], symbol: str, exchange: str | None, window: timedelta, end: datetime) -> Row:
    """Return, aggression and value of the last full minutes among the windows of as many minutes of 24 h before."""
    length = math.ceil(window / MINUTE)
    start = end - length * MINUTE
    stated: Row = {"score": None, "window_s": length * 60, "ranks": {}, "baseline_windows": 0}
    stated["meaning"] = "100 x mean of the signed ranks of return and aggression; positive = up; not a probability"
    if BARS_1M.qualified not in known:
        return stated | {"reason": "no minute bars are stored yet"}
    given = {"symbol": symbol, "exchange": exchange, "start": start, "since": start - DAY, "length": length}
    past = store.query(_PAST_SQL, given).to_pydict()
    found, _ = _sections(store, known, symbol, exchange, start, end)
    now = aggregate(_by_venue(found))
    current = {
        "change_bps": now.get("price", {}).get("change_bps"),
        "aggression": now.get("flow", {}).get("aggression"),
        "value": sum(now["flow"][side] for side in ("buy_value", "sell_value")) if "flow" in now else None,
    }
    ranks = {name: _rank(value, past[name]) for name, value in current.items()}
    stated |= {"ranks": ranks, "baseline_windows": len(past["bar_ts"])}
    directed = [2 * rank - 1 for name in ("change_bps", "aggression") if (rank := ranks[name]) is not None]
    if len(directed) < 2:
        return stated | {"reason": f"fewer than {MIN_BASELINE} windows of the 24 h before, or nothing to rank"}
    return stated | {"score": 100 * sum(directed) / 2}


def _rank(value: float | None, past: Sequence[float | None]) -> float | None:
    """(count below + half the ties) / n; None under :data:`MIN_BASELINE` values."""
    baseline = np.array([one for one in past if one is not None])
    if value is None or len(baseline) < MIN_BASELINE:
        return None
    return float(((baseline < value).sum() + (baseline == value).sum() / 2) / len(baseline))


def regime(ranked: Row) -> Row:
    """The window's kind by the ranks: trending by the return, busy or quiet by the value traded, else ordinary."""
    ranks = ranked["ranks"]
    change, value = ranks.get("change_bps"), ranks.get("value")
    rule = (
        f"trending where |2 x rank of return - 1| >= {DIRECTED:g}; busy from rank {UNUSUAL:g} of value, quiet up to "
        f"{1 - UNUSUAL:g}; else ordinary"
    )
    if change is None or value is None:
        return {"label": None, "rule": rule}
    if abs(2 * change - 1) >= DIRECTED:
        label = "trending_up" if change > 0.5 else "trending_down"
    else:
        label = "busy" if value >= UNUSUAL else "quiet" if value <= 1 - UNUSUAL else "ordinary"
    return {"label": label, "rule": rule}
