"""``features.mark_prices``: from minutes and seconds of mark and index prices to the declared features."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, MINUTE, NUMBER, SERIES, closed_window, hours
from orderflow_assets.features.funding.live import FUNDING_1M
from orderflow_assets.features.funding.terms import TERMS
from orderflow_assets.features.grid import Array, Grid, current, epoch_us, rank_before, series_numbers, zscore
from orderflow_assets.features.mark_prices import dislocation, premium, reversion
from orderflow_assets.features.mark_prices.declarations import LEAST_SPOT_VENUES, MARK_PRICES
from orderflow_assets.features.mark_prices.marks import MARK_STALE, MARKS_1M
from orderflow_assets.features.words import Words, worded
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import Store, Window

_BPS = 1e4
_HOUR, _DAY, _WEEK = 60, 1440, 10_080
_YEAR_H = 8760
_SECOND = timedelta(seconds=1)
_LOOKBACK = 7 * DAY
_LEAD_IN = dislocation.LEAD_IN_S + round(MARK_STALE / _SECOND)
_COLUMNS = (
    "n_obs", "mark_close", "index_close", "basis", "premium", "premium_s", "impact_premium", "spot_mid", "spot_venues",
)  # fmt: skip


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, MARKS_1M, FUNDING_1M, *_SECONDS_OF, MARK_PRICES.table)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    spine = Grid.read(store, BARS_1M, ("mid_close",), start + MINUTE, end, MINUTE)
    spine = spine.reordered([identity for identity in spine.series if identity[2] == "futures"])
    if not spine.series:
        return store.write(MARK_PRICES.table, MARK_PRICES.table.arrow_schema.empty_table(), Window(start, end))
    outputs = round((end - start) / MINUTE)
    marks = Grid.read(store, MARKS_1M, _COLUMNS, start + MINUTE - _LOOKBACK, end, MINUTE, spine.series)
    values = _levels(marks, spine["mid_close"], outputs) | _history(marks, outputs)
    values |= _pull(marks, start, outputs)
    values |= _interval(store, marks, start, end)
    middle, spread = dislocation.usual(marks["premium"], _DAY, outputs)
    values["basis_robust_z"] = (current(marks["premium"], outputs) - middle) / spread
    values["dislocation_detected"] = dislocation.detected(_seconds(store, spine, start, end), middle, spread)
    form = values.pop("is_impact")
    labels = {
        "basis_regime": _regime(marks, outputs),
        "premium_form": worded((form == 1, "impact"), (form == 0, "mark")),
    }
    rows = spine.table(MARK_PRICES.table, values | labels, outputs)
    return store.write(MARK_PRICES.table, rows, Window(start, end))


def _levels(marks: Grid, mid: Array, outputs: int) -> dict[str, Array]:
    mark, index = marks["mark_close"], marks["index_close"]
    now = current(mark, outputs)
    return {
        "n_obs": np.nan_to_num(current(marks["n_obs"], outputs)),
        "mark_price": now,
        "index_price": current(index, outputs),
        "mark_spot_basis": current(marks["basis"], outputs),
        "mark_spot_basis_pct": 100 * current(marks["premium"], outputs),
        "premium_bps": _BPS * (now / current(index, outputs) - 1),
        "premium_1h_bps": _BPS * premium.hour_mean(marks["premium"], marks["premium_s"], outputs),
        "mark_price_velocity": _BPS * np.diff(np.log(current(mark, outputs + 1)), axis=1),
        "mark_price_vs_mid": _BPS * (now / mid - 1),
        "spot_venues": current(marks["spot_venues"], outputs),
    }


def _history(marks: Grid, outputs: int) -> dict[str, Array]:
    apart = np.where(
        marks["spot_venues"] >= LEAST_SPOT_VENUES, _BPS * (marks["index_close"] / marks["spot_mid"] - 1), np.nan
    )
    return {
        "basis_zscore": zscore(marks["premium"], _DAY, outputs),
        "basis_percentile": rank_before(marks["premium"], _WEEK, outputs),
        "index_divergence": current(apart, outputs),
        "index_divergence_risk": rank_before(np.abs(apart), _WEEK, outputs),
    }


def _pull(marks: Grid, start: datetime, outputs: int) -> dict[str, Array]:
    """The fits of the last full quarter of an hour at or before each bar."""
    closes = _BPS * (marks["mark_close"] / marks["index_close"] - 1)
    days, which = reversion.quarters(closes, _DAY, start.minute, outputs)
    found = reversion.fit(days)
    statistic = reversion.dickey_fuller(days.reshape(-1, _DAY)).reshape(days.shape[:2])
    kappa = _HOUR * found.kappa
    each = {
        "basis_mean_reversion_speed": kappa,
        "basis_half_life_h": np.log(2) / kappa,
        "basis_ou_phi": found.phi,
        "basis_ou_mean_bps": found.mean,
        "basis_adf_pvalue": reversion.unit_root_pvalue(statistic),
    }
    return {name: values[:, which] for name, values in each.items()}


_FUNDING_SQL = f"""
SELECT {SERIES}, bar_ts, epoch_us(next_funding_time) AS due_us, interval_hours
FROM bars.funding_1m WHERE open_time >= ? AND open_time < ?
"""


def _interval(store: Store, marks: Grid, start: datetime, end: datetime) -> dict[str, Array]:
    rows = store.query(_FUNDING_SQL, [start, end], timeout_s=600)
    funding = Grid.of(rows, start + MINUTE, end, MINUTE, marks.series)
    hours_between = funding["interval_hours"]
    closing = epoch_us(start) + 60_000_000 * np.arange(1, funding.present.shape[1] + 1)
    bars = np.round((closing - funding["due_us"]) / 60_000_000 + _HOUR * hours_between)
    of_marks = premium.since(marks["premium"], marks["premium_s"], bars, 60.0)
    of_impact = premium.since(marks["impact_premium"], np.ones_like(marks["premium"]), bars, 1.0)
    is_impact = np.isfinite(of_impact)
    used = np.where(is_impact, of_impact, of_marks)
    terms = [TERMS.get(exchange) for _, exchange, _ in marks.series]
    interest, clamp, cap = (
        np.array([[getattr(term, name) if term else np.nan] for term in terms]) for name in ("interest", "clamp", "cap")
    )
    return {
        "annualized_basis": of_marks * _YEAR_H / hours_between,
        "interval_premium": used,
        "funding_pressure": premium.implied_rate(used, hours_between, interest, clamp, cap),
        "is_impact": np.where(np.isfinite(used), is_impact, np.nan),
    }


def _regime(marks: Grid, outputs: int) -> Words:
    bars = premium.MEMORY + outputs - 1
    return premium.regimes(_BPS * premium.hour_mean(marks["premium"], marks["premium_s"], bars), outputs)


_SECONDS_OF = tuple(STREAMS[name].table for name in ("mark_prices", "index_prices"))
_SECONDS_SQL = f"""
SELECT {NUMBER} AS series, (epoch_us(timestamp) + 999999) // 1000000 AS second, {{prices}}
FROM main.{{stream}}
WHERE timestamp > $since AND timestamp <= $end
ORDER BY timestamp, id
"""


def _seconds(store: Store, spine: Grid, start: datetime, end: datetime) -> Array:
    """Premium second by second, (series, seconds), from before ``start`` to ``end``."""
    since = start - timedelta(seconds=_LEAD_IN)
    numbers = series_numbers(store, spine.series)
    mark, index = _standing(store, numbers, "mark_prices", ("mark_price", "index_price"), since, end)
    (apart,) = _standing(store, numbers, "index_prices", ("index_price",), since, end)
    return mark / np.where(np.isfinite(index), index, apart) - 1


def _standing(
    store: Store, numbers: npt.NDArray[np.int64], stream: str, prices: tuple[str, ...], since: datetime, end: datetime
) -> list[Array]:
    """Each of ``prices`` at each second after ``since``, (series, seconds)."""
    sql = _SECONDS_SQL.format(stream=stream, prices=", ".join(prices))
    rows = store.query(sql, {"since": since, "end": end}, timeout_s=600)
    second = rows["second"].to_numpy() - epoch_us(since) // 1_000_000 - 1
    order = np.argsort(numbers)
    row = order[np.minimum(np.searchsorted(numbers, rows["series"].to_numpy(), sorter=order), len(order) - 1)]
    wanted = numbers[row] == rows["series"].to_numpy()
    standing = []
    for name in prices:
        price = rows[name].to_numpy()
        told = wanted & np.isfinite(price)
        seen = np.full((len(numbers), round((end - since) / _SECOND)), np.nan)
        seen[row[told], second[told]] = price[told]
        standing.append(dislocation.standing(seen, round(MARK_STALE / _SECOND) - 1))
    return standing


LAYER = Layer(
    MARK_PRICES.table,
    _compute,
    tuple(table.qualified for table in (BARS_1M, MARKS_1M, FUNDING_1M, *_SECONDS_OF)),
    _LOOKBACK,
    "features",
    ("duckdb", "python"),
    backs={
        BARS_1M.qualified: timedelta(0),
        FUNDING_1M.qualified: timedelta(0),
        **{table.qualified: timedelta(seconds=_LEAD_IN) for table in _SECONDS_OF},
    },
    lineage=MARK_PRICES.lineage | {"n_obs": columns_of(MARKS_1M.qualified, "n_obs")},
)
