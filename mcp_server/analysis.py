"""An analysis of one stored column of one series, as the answer of a tool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from mcp_server.arguments import moment
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.results import Answer
from orderflow_assets.calculators.reading import exists, sampled, scope, source
from orderflow_assets.calculators.result import absent
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.series import Series
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.tables import Column

MOST_VALUES = 20_000

Analysis = Callable[[Series, Array], tuple[Iterable[Sequence[Any]], dict[str, Any]]]
"""Rows and meta of a series and its values on the scale that was asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which series: the arguments that all these tools share."""

    symbol: str
    market: str
    column: str
    interval: str
    hours: float
    end: str | None
    fold: str


def analysed(
    context: Context, asked: Asked, columns: Sequence[Column], analysis: Analysis, scale: str = "levels"
) -> Answer:
    """Rows and meta of ``analysis`` over the series; an empty answer says what does not suffice."""
    until = moment("end", asked.end)
    try:
        table, _ = source(asked.column)
    except UnknownNameError as error:
        raise ToolError("unknown_name", str(error), "catalog_search finds names.") from None
    told = Answer(columns, [[] for _ in columns], table.qualified, dated=until is None)
    if not exists(context, table.qualified):
        told.hint = f"{table.qualified} does not exist yet."
        return told
    where, named = scope(asked.symbol, asked.market)
    newest = context.query(f'SELECT max("{table.time}") FROM {table.qualified} WHERE {where}', named)[0][0].as_py()
    last = until or newest
    if newest is None or last is None:
        told.hint = f"{table.qualified} holds no rows of {asked.symbol} {asked.market} yet."
        return told
    # A bar is stored under its opening edge and known at its closing one.
    last += timedelta(minutes=1) if until is None and table.time == "open_time" else timedelta(0)
    first = last - timedelta(hours=asked.hours)
    series = sampled(context, asked.column, asked.symbol, asked.market, asked.interval, first, last, asked.fold)
    if len(series) > MOST_VALUES:
        raise ToolError("argument", f"{len(series)} values are too many.", f"At most {MOST_VALUES}: widen interval.")
    try:
        rows, meta = analysis(series, _scaled(series, scale))
    except ValueError as error:
        told.hint = f"{asked.column}: {error}."
        return told
    except ImportError as error:
        raise ToolError("missing_library", "This analysis cannot run here.", f"{absent(error)}.".capitalize()) from None
    known = np.isfinite(series.values)
    meta = {**asdict(asked), "scale": scale, "values": int(known.sum()), "missing": int((~known).sum()), **meta}
    answer = Answer.rows(columns, rows, source=table.qualified, dated=until is None, meta=meta)
    answer.moment = series.times[known][-1].item()
    if not len(answer):
        answer.hint = "Nothing was found in the series."
    return answer


def _scaled(series: Series, scale: str) -> Array:
    """The values, or the changes of their logarithm, the first of which is unknown."""
    if scale == "levels":
        return series.values
    if (series.values <= 0).any():
        raise ValueError("log returns need positive values, ask for levels")
    return np.diff(np.log(series.values), prepend=np.nan)
