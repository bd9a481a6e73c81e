"""Inputs of signals made by hand: one series, one bar, and pasts where a test gives them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from orderflow_assets.signals.inputs import DAY, LENGTH, MONTH, NOW, WEEK, Inputs, Marks, Past, View
from orderflow_assets.signals.reading import DAY_BARS
from orderflow_assets.signals.signal import Signal

SERIES = ("AAAUSDT", "binance", "futures")
_LENGTH = {NOW: 1, DAY: DAY_BARS + 1, WEEK: LENGTH[WEEK] + 1, MONTH: 768}

Values = Mapping[str, float | None]


def inputs_of(signal: Signal, now: Values, **past: Mapping[str, np.ndarray]) -> Inputs:
    """What ``signal`` reads: ``now`` at the bar, ``day``, ``week`` and ``month`` before it; the rest is unknown.

    A past is given by its last values before the bar; of ``day`` the bar itself is the last and may be among them.
    """
    assert set(now) <= set(signal.inputs), set(now) - set(signal.inputs)
    views = {reach: _view(signal, reach, now, past.get(str(reach.name).lower(), {})) for reach in _LENGTH}
    ends = {reach: np.array([_LENGTH[reach] - 1]) for reach in (WEEK, MONTH)}
    return Inputs(
        (SERIES,),
        1,
        now=views[NOW],
        day=views[DAY],
        week=views[WEEK],
        month=views[MONTH],
        marks={reach: Marks(end, end) for reach, end in ends.items()},
    )


def _view(signal: Signal, reach: Past, now: Values, given: Mapping[str, np.ndarray]) -> View:
    values = {}
    for name, declared in signal.inputs.items():
        if reach in declared:
            row = np.full(_LENGTH[reach], np.nan)
            if name in now and reach in (NOW, DAY) and now[name] is not None:
                row[-1] = now[name]
            if name in given:
                past = np.asarray(given[name], float)
                end = len(row) if reach is DAY else len(row) - 1
                row[end - len(past) : end] = past
            values[name] = row[None]
    return View(values, (1, _LENGTH[reach]))
