"""Explains what serves a series: rows of ``models.explanations`` and of ``models.profiles``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.explain import attention, permutation
from orderflow_assets.forecasting.explain.outputs import UNITS, AffineMap
from orderflow_assets.forecasting.explain.profile import profile
from orderflow_assets.forecasting.explain.shapley import Explanation, NotExplainableError, explain, require
from orderflow_assets.forecasting.explain.tables import EXPLANATIONS, PROFILES, Method
from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import HORIZON, Frame, Series, as_naive, read_frame, utc_now
from orderflow_assets.forecasting.predict import Server, serving
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.targets import TARGETS, Target
from orderflow_streaming.store import Store, Window

Row = dict[str, Any]

ORIGINS = 600
"""Newest forecasts on bars not trained on that importances rest on."""
ALL, BAR, AHEAD = "all", "bar", "ahead"
"""Names in place of a feature: every input, any input of a bar, the bars still to come."""
_SLOW = ("local", "deep", "foundation")
"""Adapters of models that are trained again, or run as networks, at every origin."""
_ANSWERED_WITHIN = 288
"""Newest bars among which a forecast of the model is looked for."""


@dataclass(slots=True)
class Explained:
    """What explaining one target came to; no rows where naive serves, ``reason`` says why."""

    target: str
    model: str
    version: int
    reason: str | None = None
    rows: list[Row] = field(default_factory=list)
    newest: Explanation | None = None
    ranking: permutation.Ranking | None = None


def explain_series(store: Store, registry: Registry, series: Series, until: datetime) -> list[Explained]:
    """Explain what serves every target of ``series`` at ``until`` and replace what is stored of the series.

    Raises :class:`~orderflow_assets.forecasting.frame.FrameError` where the series has no bars.
    """
    store.ensure(EXPLANATIONS, PROFILES)
    frame = read_frame(store, series, until)
    identity = {"series": series.key, **{name: getattr(series, name) for name in ("symbol", "exchange", "market_type")}}
    explained = [explain_target(frame, target, serving(registry, series.key, name)) for name, target in TARGETS.items()]
    at = {"explained_at": utc_now()}
    rows = [identity | at | row for one in explained for row in one.rows]
    profiles = [identity | {"profiled_at": utc_now()} | _profile(frame, target) for target in TARGETS.values()]
    window = Window(equals={"series": series.key})
    store.write(EXPLANATIONS, pa.Table.from_pylist(rows, EXPLANATIONS.arrow_schema), window)
    store.write(PROFILES, pa.Table.from_pylist(profiles, PROFILES.arrow_schema), window)
    return explained


def explain_target(frame: Frame, target: Target, server: Server) -> Explained:
    """Every explanation that what serves allows of; a method it does not allow is a row with the reason."""
    found = Explained(target.name, server.model, server.version, server.note)
    if server.fitted is None:
        return found
    fitted = server.fitted
    parts: dict[Method, Callable[[], Iterator[Row]]] = {
        "shap": lambda: _shap(found, fitted, frame),
        "mean_abs_shap": lambda: _mean_abs_shap(fitted, frame, _held_out(frame, server)),
        "permutation": lambda: _permutation(found, fitted, frame, _held_out(frame, server)),
    }
    if fitted.spec.name == attention.MODEL:
        parts |= {"attention": lambda: _attention(fitted, frame)}
    common = {"target": target.name, "model": server.model, "version": server.version}
    for method, made in parts.items():
        try:
            rows = list(made())
        except NotExplainableError as error:
            rows = [{"origins": 0, "step": 0, "feature": ALL, "unit": _unit(target), "reason": str(error)}]
        found.rows += [common | {"method": method} | row for row in rows]
    return found


def _shap(found: Explained, fitted: Fitted, frame: Frame) -> Iterator[Row]:
    """Of the newest forecast, each input of each output."""
    require(fitted)
    origin = _newest_answer(fitted, frame)
    explanation = found.newest = explain(fitted, frame, slice(origin, origin + 1))
    effects = AffineMap.at(fitted.target, frame, origin).matrix @ explanation.values[0]
    moved = dict(zip(fitted.target.steps, effects, strict=True))
    for output, values in enumerate(explanation.values[0]):
        step = fitted.target.lead + output + 1
        for place, (feature, lag) in enumerate(explanation.inputs):
            yield _issued(frame, origin, origin, 1) | {
                "step": step,
                "feature": feature,
                "lag": lag,
                "input": _number(explanation.given[0, place]),
                "value": float(values[place]),
                "base": float(explanation.base[output]),
                "output": float(explanation.outputs[0, output]),
                "effect": float(moved[step][place]) if step in moved else None,
                "unit": _unit(fitted.target),
            }


def _mean_abs_shap(fitted: Fitted, frame: Frame, origins: slice) -> Iterator[Row]:
    """How far each input moves outputs either way, over forecasts on bars the model was not trained on."""
    explanation = explain(fitted, frame, origins)
    first, last = int(explanation.origins[0]), int(explanation.origins[-1])
    sizes = np.abs(explanation.values).mean(axis=(0, 1))
    for (feature, lag), size in zip(explanation.inputs, sizes, strict=True):
        yield _issued(frame, first, last, len(explanation.origins)) | {
            "step": 0,
            "feature": feature,
            "lag": lag,
            "value": float(size),
            "unit": _unit(fitted.target),
        }


def _permutation(found: Explained, fitted: Fitted, frame: Frame, origins: slice) -> Iterator[Row]:
    ranking = found.ranking = permutation.rank(fitted, frame, origins)
    for item in ranking.importances:
        yield _issued(frame, origins.start, origins.stop - 1, ranking.origins) | {
            "step": 0,
            "feature": item.feature,
            "value": item.rmae,
            "low": item.low,
            "high": item.high,
            "base": ranking.rmae,
            "unit": "rmae",
        }


def _attention(fitted: Fitted, frame: Frame) -> Iterator[Row]:
    """Shares of the network's own attention and variable selection, of the newest forecast."""
    origin = _newest_answer(fitted, frame)
    seen = attention.read(fitted, frame, origin)
    of_one = _issued(frame, origin, origin, 1) | {"step": 0, "unit": "share"}
    for feature, share in seen.selection.items():
        yield of_one | {"method": "variable_selection", "feature": feature, "value": share}
    for lag, share in enumerate(seen.bars.tolist()):
        yield of_one | {"feature": BAR, "lag": lag, "value": share}
    yield of_one | {"feature": AHEAD, "value": seen.ahead}


def _held_out(frame: Frame, server: Server) -> slice:
    """The newest bars after those trained on; an hour apart for what is slow to ask."""
    assert server.fitted is not None
    first = int(np.searchsorted(frame.times, np.datetime64(server.data_to), side="right"))
    members: tuple[Fitted, ...] = getattr(server.fitted, "members", (server.fitted,))
    step = HORIZON if any(member.spec.adapter in _SLOW for member in members) else 1
    return slice(max(first, len(frame) - ORIGINS), len(frame), step)


def _newest_answer(fitted: Fitted, frame: Frame) -> int:
    """The newest bar at which the model has an answer, looked for hour by hour."""
    for stop in range(len(frame), max(0, len(frame) - _ANSWERED_WITHIN), -HORIZON):
        start = max(0, stop - HORIZON)
        known = np.flatnonzero(np.isfinite(fitted.deviations(frame, slice(start, stop))).all(axis=1))
        if len(known):
            return start + int(known[-1])
    raise NotExplainableError(f"{fitted.spec.name} has no forecast at any of the newest {_ANSWERED_WITHIN} bars")


def _issued(frame: Frame, first: int, last: int, origins: int) -> Row:
    ends = {"first_issued_at": as_naive(frame.times[first]), "last_issued_at": as_naive(frame.times[last])}
    return ends | {"origins": origins}


def _profile(frame: Frame, target: Target) -> Row:
    ends = {"data_from": as_naive(frame.times[0]), "data_to": as_naive(frame.times[-1])}
    try:
        return {"target": target.name} | ends | profile(frame, target)
    except ValueError as error:
        return {"target": target.name, "reason": str(error)} | ends


def _unit(target: Target) -> str:
    return UNITS[target.name]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
