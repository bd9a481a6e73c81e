"""What a signal was worth: information coefficient by horizon, hit rate, turnover, each with an interval.

All figures rest on outcomes known by the end of the day they are stamped with. Intervals are percentile intervals of
the stationary bootstrap over days (Politis & Romano 1994): all series of a day stay together, and days follow each
other in runs of two on average. Against each figure stands that of the plain mean of the signal's components.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import DAY, SERIES
from orderflow_assets.features.grid import Array, split_series
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.forward import HORIZONS, MOVES
from orderflow_assets.signals.labels import LABELS
from orderflow_assets.signals.roles import ROLES
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

WINDOW_DAYS, LEAST_DAYS, LEAST_PAIRS = 30, 5, 60
LEVEL, RESAMPLES, RUN_DAYS, SEED = 0.95, 999, 2, 11
UPPER_SHARE = 0.2
"""Share of its highest values at which a signal without a direction counts as speaking."""

MEASURES = {
    "information_coefficient": "rank correlation, within series, of the score with what follows over the horizon: of "
    "the signed score with the return where the signal has a direction, else of the value with the return's size",
    "hit_rate": "share of outcomes where the signal's event came, while it spoke: it voted up or down, where the "
    "event is about that, else its value lay in the upper fifth; unweighted: while the plain mean did",
    "base_rate": "share of all its outcomes where the event came",
    "turnover": "absolute change of the score from quarter to quarter of an hour, summed per day, mean over series",
}

WORTH = Table(
    "signals",
    "worth",
    (
        Column("signal", "VARCHAR", "the signal", nullable=False),
        Column("measured_at", "TIMESTAMP", "midnight that ends the days measured", "UTC", False),
        Column("measure", "VARCHAR", "; ".join(f"{name}: {text}" for name, text in MEASURES.items()), nullable=False),
        Column("horizon_minutes", "INTEGER", "horizon of the move or of the event; 0 for turnover", "min", False),
        Column("days", "BIGINT", f"days with outcomes among the {WINDOW_DAYS} before", "count", False),
        Column("pairs", "BIGINT", "signals and outcomes it rests on", "count", False),
        Column("estimate", "DOUBLE", f"the measure; NULL under {LEAST_PAIRS} pairs", "1"),
        Column("low", "DOUBLE", f"lower end of its {LEVEL:.0%} interval; NULL under {LEAST_DAYS} days", "1"),
        Column("high", "DOUBLE", "upper end of it", "1"),
        Column(
            "unweighted", "DOUBLE", "the measure of the plain mean of the components; NULL where there is no mean", "1"
        ),
        Column("gain", "DOUBLE", "estimate - unweighted", "1"),
        Column("gain_low", "DOUBLE", "lower end of its interval", "1"),
        Column("gain_high", "DOUBLE", "upper end of it", "1"),
    ),
    ("signal", "measured_at", "measure", "horizon_minutes"),
    "measured_at",
    f"What each signal was worth over the {WINDOW_DAYS} days before, next to the plain mean of its components.",
)

_SQL = f"""
WITH moved AS (
    SELECT {SERIES}, signal_ts,
           {", ".join(f"any_value(log_return) FILTER (horizon_minutes = {h}) AS r{h}" for h in HORIZONS)}
    FROM {MOVES.qualified}
    WHERE known_at >= $first::TIMESTAMP AND known_at < $last::TIMESTAMP
    GROUP BY ALL
)
SELECT {SERIES}, signal_ts, epoch_us(signal_ts) // 86400000000 AS day, value, vote, unweighted, outcome,
       {", ".join(f"r{h}" for h in HORIZONS)}
FROM {LABELS.qualified} LEFT JOIN moved USING ({SERIES}, signal_ts)
WHERE signal = $signal AND known_at >= $first::TIMESTAMP AND known_at < $last::TIMESTAMP
ORDER BY {SERIES}, signal_ts
"""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A signal's history by series and time, arrays of one entry per quarter; ``series`` numbers the series."""

    series: np.ndarray
    day: np.ndarray
    score: Array
    plain: Array
    speaks: np.ndarray
    plain_speaks: np.ndarray
    outcome: Array
    returns: dict[int, Array]
    directed: bool


def measure(store: Store, until: datetime) -> int:
    """Write the worth of every signal over the days before midnight ``until``; returns rows written."""
    store.ensure(LABELS, MOVES, WORTH)
    rows = [row for name in SIGNALS for row in _of_signal(store, name, until)]
    data = pa.Table.from_pylist(rows, WORTH.arrow_schema)
    return store.write(WORTH, data, Window(equals={"measured_at": until}))


def _of_signal(store: Store, name: str, until: datetime) -> list[dict[str, Any]]:
    table = store.query(_SQL, {"signal": name, "first": until - WINDOW_DAYS * DAY, "last": until}, timeout_s=600)
    if not table.num_rows:
        return []
    spoken = spoken_of(name, table)
    head = {"signal": name, "measured_at": until}
    event = SIGNALS[name].event.minutes
    found = [("information_coefficient", horizon, *coefficients(spoken, horizon)) for horizon in HORIZONS]
    found += [
        ("hit_rate", event, *hits(spoken)),
        ("base_rate", event, *base(spoken)),
        ("turnover", 0, *turnover(spoken)),
    ]
    return [
        {**head, "measure": measured, "horizon_minutes": horizon, **_with_interval(sums, pairs)}
        for measured, horizon, sums, pairs in found
    ]


def spoken_of(name: str, rows: pa.Table) -> Spoken:
    """The history of signal ``name`` from rows as the query gives them."""
    column = {part: rows[part].cast(pa.float64()).to_numpy(zero_copy_only=False) for part in rows.column_names[4:]}
    number = np.concatenate([np.full(part.num_rows, place) for place, (_, part) in enumerate(split_series(rows))])
    signed = ROLES[name].scale == "signed"
    directed = signed or not SIGNALS[name].vote.startswith("none")
    value, vote, plain = column["value"], column["vote"], column["unweighted"]
    heading = np.nan_to_num(vote) if directed and not signed else np.ones(len(value))
    score, other = heading * value, heading * plain
    if SIGNALS[name].event.directed:
        speaks = plain_speaks = np.nan_to_num(vote) != 0
    else:
        speaks, plain_speaks = _upper(value), _upper(plain)
    returns = {horizon: column[f"r{horizon}"] for horizon in HORIZONS}
    return Spoken(
        number, column["day"].astype(np.int64), score, other, speaks, plain_speaks, column["outcome"], returns, directed
    )


def coefficients(spoken: Spoken, horizon: int) -> tuple[Array, int]:
    """Per day the sums of products of standardised ranks, of the score and of the plain mean, and the pairs."""
    target = spoken.returns[horizon] if spoken.directed else np.abs(spoken.returns[horizon])
    compared = np.isfinite(spoken.plain).any()
    known = np.isfinite(spoken.score) & np.isfinite(target) & (np.isfinite(spoken.plain) | ~compared)
    ranks = [_standard_ranks(part, spoken.series, known) for part in (spoken.score, spoken.plain, target)]
    usable = np.isfinite(ranks[0]) & np.isfinite(ranks[2])
    return _daily(spoken.day, usable, ranks[0] * ranks[2], ranks[1] * ranks[2]), int(usable.sum())


def hits(spoken: Spoken) -> tuple[Array, int]:
    """Per day the events while the signal spoke and how often it spoke; likewise for the plain mean."""
    told = np.isfinite(spoken.outcome)
    mine, other = told & spoken.speaks, told & spoken.plain_speaks & np.isfinite(spoken.plain)
    event = np.nan_to_num(spoken.outcome)
    return _summed(spoken.day, mine * event, mine, other * event, other), int(mine.sum())


def base(spoken: Spoken) -> tuple[Array, int]:
    told = np.isfinite(spoken.outcome)
    nothing = np.zeros(len(told))
    return _summed(spoken.day, np.nan_to_num(spoken.outcome), told, nothing, nothing), int(told.sum())


def turnover(spoken: Spoken) -> tuple[Array, int]:
    """Per day the absolute changes of score and plain mean, over the series that have two quarters or more."""
    follows = np.zeros(len(spoken.score), dtype=bool)
    follows[1:] = (np.diff(spoken.series) == 0) & (np.diff(spoken.day) == 0)
    moved, other = (np.abs(np.diff(part, prepend=np.nan)) for part in (spoken.score, spoken.plain))
    mine, compared = follows & np.isfinite(moved), follows & np.isfinite(other)
    days = np.unique(spoken.day)
    columns = []
    for chosen, change in ((mine, moved), (compared, other)):
        series = [len(np.unique(spoken.series[chosen & (spoken.day == day)])) for day in days]
        columns += [_by_day(spoken.day, np.where(chosen, change, 0.0)), np.array(series, float)]
    return np.column_stack(columns), int(mine.sum())


def ratios(sums: Array) -> Array:
    """Measure, that of the plain mean, and their difference, of daily sums (days, 4): sum, count, sum, count."""
    total = sums.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mine = total[0] / total[1] if total[1] > 0 else np.nan
        other = total[2] / total[3] if total[3] > 0 else np.nan
    return np.array([mine, other, mine - other])


def interval(sums: Array, statistic: Callable[[Array], Array]) -> Array:
    """Lower and upper ends (2, statistics) of the stationary bootstrap over days; NaN under five days."""
    if len(sums) < LEAST_DAYS:
        return np.full((2, len(statistic(sums))), np.nan)
    from arch.bootstrap import StationaryBootstrap

    drawn = StationaryBootstrap(RUN_DAYS, sums, seed=SEED).apply(statistic, RESAMPLES)
    known = np.isfinite(drawn).all(axis=0)
    ends = np.full((2, drawn.shape[1]), np.nan)
    ends[:, known] = np.quantile(drawn[:, known], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends


def _with_interval(sums: Array, pairs: int) -> dict[str, Any]:
    active = sums[sums[:, 1] > 0]
    enough = pairs >= LEAST_PAIRS
    figures = ratios(active) if enough else np.full(3, np.nan)
    ends = interval(active, ratios) if enough else np.full((2, 3), np.nan)
    values = (figures[0], *ends[:, 0], figures[1], figures[2], *ends[:, 2])
    names = ("estimate", "low", "high", "unweighted", "gain", "gain_low", "gain_high")
    told = {name: float(value) if np.isfinite(value) else None for name, value in zip(names, values, strict=True)}
    return {"days": len(active), "pairs": pairs, **told}


def _standard_ranks(values: Array, series: np.ndarray, known: np.ndarray) -> Array:
    """Mean ranks within each series, centred and scaled to unit variance; NaN where they do not vary."""
    from scipy.stats import rankdata

    ranks = np.full(len(values), np.nan)
    for number in np.unique(series):
        here = known & (series == number) & np.isfinite(values)
        if here.sum() < 3:
            continue
        ranked = rankdata(values[here])
        spread = ranked.std()
        if spread > 0:
            ranks[here] = (ranked - ranked.mean()) / spread
    return ranks


def _daily(day: np.ndarray, usable: np.ndarray, mine: Array, other: Array) -> Array:
    compared = usable & np.isfinite(other)
    return _summed(day, np.where(usable, mine, 0.0), usable, np.where(compared, other, 0.0), compared)


def _summed(day: np.ndarray, *columns: np.ndarray) -> Array:
    return np.column_stack([_by_day(day, column.astype(float)) for column in columns])


def _by_day(day: np.ndarray, values: Array) -> Array:
    _, place = np.unique(day, return_inverse=True)
    return np.bincount(place, weights=values).astype(float)


def _upper(values: Array) -> np.ndarray:
    known = values[np.isfinite(values)]
    limit = np.quantile(known, 1 - UPPER_SHARE) if len(known) else np.inf
    return np.isfinite(values) & (values >= limit)
