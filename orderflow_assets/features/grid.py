"""Series on a common time grid, as arrays of shape (series, times), and the windows that slide over them.

NaN is NULL. Column ``k`` of a grid is the bar whose closing edge is ``first + k * step``. Everything here is a pure
function of the rows inside its window, so a bar comes out the same whatever stretch it is computed in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_assets.bars.series import NUMBER, SERIES_NAMES
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Identity = tuple[str, str, str]
"""symbol, exchange, market_type"""

MIN_BASELINE = 60
"""Rows a baseline needs; with fewer, what it would judge is NULL."""

_SIDES: tuple[tuple[Literal["left", "right"], np.ufunc], ...] = (("left", np.less), ("right", np.less_equal))

_RELATIVE_ZERO = 1e-12
"""A spread below this share of the values themselves is rounding, not variation."""


def epoch_us(time: datetime) -> int:
    """Microseconds since 1970 of a naive UTC time."""
    return round((time.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def split_series(rows: pa.Table) -> Iterator[tuple[Identity, pa.Table]]:
    """The rows of each series; ``rows`` are ordered by series."""
    if not rows.num_rows:
        return
    rows = rows.combine_chunks()
    occurring, code = _identities(rows)
    edges = [0, *(np.flatnonzero(np.diff(code)) + 1), rows.num_rows]
    for low, high in itertools.pairwise(edges):
        yield occurring[code[low]], rows.slice(low, high - low)


def _identities(rows: pa.Table) -> tuple[list[Identity], npt.NDArray[np.int64]]:
    """The series that occur in ``rows``, and for each row which of them it is."""
    code = np.zeros(rows.num_rows, dtype=np.int64)
    names = []
    for name in SERIES_NAMES:
        encoded = pc.dictionary_encode(rows[name]).unify_dictionaries().combine_chunks()
        names.append(encoded.dictionary.to_pylist())
        code = code * max(1, len(names[-1])) + encoded.indices.to_numpy()
    used, code = np.unique(code, return_inverse=True)
    symbols, exchanges, types = names
    split = [np.unravel_index(number, [max(1, len(part)) for part in names]) for number in used]
    return [(symbols[a], exchanges[b], types[c]) for a, b, c in split], code


def series_numbers(store: Store, series: Sequence[Identity]) -> npt.NDArray[np.int64]:
    """The ``NUMBER`` by which SQL tells each of ``series``."""
    named = {name: [identity[part] for identity in series] for part, name in enumerate(SERIES_NAMES)}
    listed = ", ".join(f"unnest(${name}::VARCHAR[]) AS {name}" for name in SERIES_NAMES)
    return store.query(f"SELECT {NUMBER} AS number FROM (SELECT {listed})", named)["number"].to_numpy()


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns of several series on one grid; ``present`` marks the bars that have a row."""

    series: tuple[Identity, ...]
    first: datetime
    step: timedelta
    present: Mask
    columns: dict[str, Array]

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    @classmethod
    def read(
        cls,
        store: Store,
        table: Table,
        names: Sequence[str],
        first: datetime,
        last: datetime,
        step: timedelta,
        series: Sequence[Identity] | None = None,
    ) -> Grid:
        """Columns ``names`` of a stored table of bars with closing edges from ``first`` to ``last``."""
        wanted = ", ".join((*SERIES_NAMES, "bar_ts", *names))
        rows = store.query(
            f"SELECT {wanted} FROM {table.qualified} WHERE open_time >= ? AND open_time < ?",
            [first - step, last],
            timeout_s=600,
        )
        return cls.of(rows, first, last, step, series)

    @classmethod
    def of(
        cls,
        rows: pa.Table,
        first: datetime,
        last: datetime,
        step: timedelta,
        series: Sequence[Identity] | None = None,
        time: str = "bar_ts",
    ) -> Grid:
        """``rows`` on the grid ``first, first + step, …, last``, for ``series`` or for all that occur.

        Rows of other series are left out; a row that does not fall on the grid raises ValueError.
        """
        length = round((last - first) / step) + 1
        occurring, code = _identities(rows)
        known = tuple(sorted(occurring)) if series is None else tuple(series)
        place = {identity: index for index, identity in enumerate(known)}
        row = np.array([place.get(identity, -1) for identity in occurring], dtype=np.int64)[code]
        kept = row >= 0
        rows, row = rows.filter(pa.array(kept)), row[kept]
        ticks, off = np.divmod(
            rows[time].cast(pa.int64()).to_numpy() - epoch_us(first), round(step / timedelta(microseconds=1))
        )
        if off.any() or (ticks < 0).any() or (ticks >= length).any():
            raise ValueError(f"rows of {time} lie off the grid from {first} to {last}")
        present = np.zeros((len(known), length), dtype=bool)
        present[row, ticks] = True
        columns = {}
        for name in rows.column_names:
            if name in SERIES_NAMES or pa.types.is_temporal(rows.schema.field(name).type):
                continue
            values = np.full(present.shape, np.nan)
            values[row, ticks] = rows[name].cast(pa.float64()).to_numpy()
            columns[name] = values
        return cls(known, first, step, present, columns)

    def reordered(self, series: Sequence[Identity]) -> Grid:
        """The same columns for ``series``, NULL for those it does not have."""
        place = {identity: index for index, identity in enumerate(self.series)}
        index = np.array([place.get(identity, -1) for identity in series], dtype=np.int64)
        known = index >= 0
        present = np.zeros((len(index), self.present.shape[1]), dtype=bool)
        present[known] = self.present[index[known]]
        columns = {}
        for name, values in self.columns.items():
            columns[name] = np.full(present.shape, np.nan)
            columns[name][known] = values[index[known]]
        return Grid(tuple(series), self.first, self.step, present, columns)

    def table(self, declared: Table, values: Mapping[str, npt.NDArray[Any]], last_bars: int) -> pa.Table:
        """Rows of ``declared`` for the present bars among the last ``last_bars``.

        ``values`` are (series, last_bars) each, NaN stored as NULL. Flags are 1 and 0, counts are rounded, labels are
        object arrays of words and None.
        """
        present = self.present[:, -last_bars:] if last_bars else self.present[:, :0]
        row, tick = np.nonzero(present)
        offset = self.present.shape[1] - last_bars
        closing = epoch_us(self.first) + (tick + offset) * round(self.step / timedelta(microseconds=1))
        identities = [self.series[index] for index in row]
        data: dict[str, Any] = {
            name: pa.array([identity[part] for identity in identities], pa.string())
            for part, name in enumerate(SERIES_NAMES)
        }
        stamp = pa.timestamp("us")
        data["bar_ts"] = pa.array(closing).cast(stamp)
        data["open_time"] = pa.array(closing - round(self.step / timedelta(microseconds=1))).cast(stamp)
        for name, array in values.items():
            picked = array[row, tick]
            kind = declared.column(name).arrow.type
            if pa.types.is_string(kind):
                data[name] = pa.array(picked, kind)
                continue
            cells = pa.array(picked, mask=np.isnan(picked))
            data[name] = cells if pa.types.is_floating(kind) else pc.round(cells).cast(pa.int64()).cast(kind)
        return pa.table(data)


def windows(values: Array, length: int, outputs: int) -> Array:
    """The ``length`` values up to and with each of the last ``outputs``: (series, outputs, length), a view."""
    needed = values[:, values.shape[1] - outputs - length + 1 :]
    return np.lib.stride_tricks.sliding_window_view(needed, length, axis=1)


def before(values: Array, length: int, outputs: int) -> Array:
    """The ``length`` values before each of the last ``outputs``, itself left out: (series, outputs, length)."""
    return windows(values[:, :-1], length, outputs)


def current(values: Array, outputs: int) -> Array:
    """The last ``outputs`` values: (series, outputs)."""
    return values[:, values.shape[1] - outputs :]


def enough(baseline: Array, least: int = MIN_BASELINE) -> Mask:
    """Whether a baseline (series, outputs, length) has ``least`` values."""
    return np.isfinite(baseline).sum(axis=-1) >= least


def totals(values: Array, length: int, outputs: int) -> Array:
    """Sum of the ``length`` values up to and with each of the last ``outputs``; ``values`` are all known.

    Each is added up oldest first, so that it comes out the same to the last digit whatever else is computed.
    """
    first = values.shape[1] - outputs - length + 1
    total = np.zeros((len(values), outputs))
    for bar in range(first, first + length):
        total += values[:, bar : bar + outputs]
    return total


def zscore(values: Array, length: int, outputs: int) -> Array:
    """(value - mean) / sample sd, both over the ``length`` bars before; NULL where the sd is zero."""
    past = values[:, values.shape[1] - outputs - length : -1]
    known = np.isfinite(past)
    always = known[:, outputs - 1 : length]
    level = np.where(always, past[:, outputs - 1 : length], 0.0).sum(axis=1) / np.maximum(1, always.sum(axis=1))
    apart = np.where(known, past - level[:, None], 0.0)
    count, total, square = (totals(part, length, outputs) for part in (known.astype(float), apart, apart**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = level[:, None] + total / count
        sd = np.sqrt(np.maximum(0.0, square - total**2 / count) / (count - 1))
        usable = (count >= MIN_BASELINE) & (sd > _RELATIVE_ZERO * np.abs(mean))
        return np.where(usable, (current(values, outputs) - mean) / sd, np.nan)


def _core_and_edges(values: Array, length: int, outputs: int) -> tuple[Array, Array]:
    """The ``length`` values before each of the last ``outputs`` in two parts.

    Those before all of them, (series, length - outputs + 1), and the others of each, (series, outputs, outputs - 1).
    Where the outputs reach further than a window, each window is all edge.
    """
    past = values[:, values.shape[1] - outputs - length : -1]
    if outputs > length:
        return past[:, :0], windows(past, length, outputs)
    place = np.arange(outputs)[:, None] + np.arange(outputs - 1)[None]
    place += np.where(place >= outputs - 1, length - outputs + 1, 0)
    return past[:, outputs - 1 : length], past[:, place]


def median(values: Array, length: int, outputs: int) -> Array:
    """Median over the ``length`` bars before."""
    core, edges = _core_and_edges(values, length, outputs)
    count = np.isfinite(core).sum(axis=-1)[:, None] + np.isfinite(edges).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, length - 1)
    # Among the values of a window the one in place k is not among the first k - edges of its core, nor beyond its k-th.
    width = edges.shape[-1]
    first = np.clip(low - width, 0, None)
    place = first[..., None] + np.arange(width + 2)
    ordered = np.pad(np.sort(core, axis=-1), ((0, 0), (0, width + 2)), constant_values=np.nan)
    near = np.take_along_axis(ordered[:, None], np.minimum(place, ordered.shape[1] - 1), axis=-1)
    candidates = np.sort(np.concatenate([near, edges], axis=-1), axis=-1)
    middle = (_pick(candidates, low - first) + _pick(candidates, high - first)) / 2
    return np.where(count >= MIN_BASELINE, middle, np.nan)


def rank_before(values: Array, length: int, outputs: int) -> Array:
    """Percent rank of each of the last ``outputs`` in the ``length`` bars before it."""
    core, edges = _core_and_edges(values, length, outputs)
    now, ordered = current(values, outputs), np.sort(core, axis=-1)
    count = np.isfinite(core).sum(axis=-1)[:, None] + np.isfinite(edges).sum(axis=-1)
    below, upto = (
        np.stack([np.searchsorted(row, wanted, side) for row, wanted in zip(ordered, now, strict=True)])
        + compare(edges, now[..., None]).sum(axis=-1)
        for side, compare in _SIDES
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        rank = (below + upto) / (2 * count)
    return np.where((count >= MIN_BASELINE) & np.isfinite(now), rank, np.nan)


def percent_rank(values: Array, baseline: Array, least: int = MIN_BASELINE) -> Array:
    """(count below + half the ties) / n of each value (series, outputs) in its baseline (series, outputs, length)."""
    count = np.isfinite(baseline).sum(axis=-1)
    below = (baseline < values[..., None]).sum(axis=-1)
    ties = (baseline == values[..., None]).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rank = (below + 0.5 * ties) / count
    return np.where((count >= least) & np.isfinite(values), rank, np.nan)


def rolling_sum(values: Array, length: int, outputs: int) -> Array:
    """Sum over the ``length`` bars up to and with the current one, NULLs skipped; NULL where all are."""
    known = np.isfinite(values)
    count, total = (totals(part, length, outputs) for part in (known.astype(float), np.where(known, values, 0.0)))
    return np.where(count > 0, total, np.nan)


def slope(values: Array, least: int) -> Array:
    """Least-squares slope per step along the last axis, NULLs skipped; NULL under ``least`` values."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    steps = np.where(known, np.arange(values.shape[-1], dtype=float), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = steps - (np.nansum(steps, axis=-1) / count)[..., None]
        level = values - (np.nansum(values, axis=-1) / count)[..., None]
        fitted = np.nansum(centred * level, axis=-1) / np.nansum(centred**2, axis=-1)
    return np.where(count >= max(least, 2), fitted, np.nan)


def _pick(values: Array, index: npt.NDArray[np.int64]) -> Array:
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
