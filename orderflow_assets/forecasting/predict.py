"""Makes forecasts: the champion's where there is one and it can answer, else naive's, with intervals and reasons.

The forecast of an origin uses bars up to that origin, a model trained on bars up to it, and errors known by then, so
it comes out the same whenever it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting import conformal, fitting
from orderflow_assets.forecasting.answers import recalled
from orderflow_assets.forecasting.fitting import Fitted, ModelError
from orderflow_assets.forecasting.frame import MIN_BARS, STEP, WARM_UP, Frame, Series, as_naive, utc_now
from orderflow_assets.forecasting.models import NAIVE
from orderflow_assets.forecasting.registry import Registry, RegistryError
from orderflow_assets.forecasting.tables import FORECASTS
from orderflow_assets.forecasting.targets import Target

HISTORY = 1_500
"""Past origins whose errors set the intervals."""


@dataclass(frozen=True, slots=True)
class Server:
    """What serves a series and target. ``fitted`` is None for naive; ``note`` says why naive serves; ``answers`` is the
    file of what it answered before.
    """

    version: int
    fitted: Fitted | None
    data_to: datetime | None
    note: str | None
    answers: Path | None = None

    @property
    def model(self) -> str:
        return self.fitted.spec.name if self.fitted else NAIVE


NOBODY = Server(0, None, None, None)
"""Naive, for an origin at which the model that serves has no answer."""


def serving(registry: Registry, series: str, target: str) -> Server:
    """The champion, its stored model verified and loaded, or naive with the reason."""
    champion = registry.champion(series, target)
    if champion is None:
        return Server(0, None, None, "naive serves: no trained model has beaten it")
    try:
        fitted = fitting.load(registry.artefact(champion))
    except (RegistryError, ModelError) as error:
        return Server(0, None, None, f"naive serves: {error}")
    name = f"{series.replace('|', '_')}-{target}-{champion.version}.npz"
    return Server(champion.version, fitted, champion.data_to, None, registry.folder / "answers" / name)


@dataclass(frozen=True, slots=True)
class _Path:
    """Deviations and interval half-widths of one forecaster, from the first bar of the history on."""

    deviations: np.ndarray
    widths: np.ndarray


def forecast(frame: Frame, target: Target, server: Server, origins: list[int]) -> pa.Table:
    """Rows of ``forecasts.forecasts``, one per origin (index of the bar in ``frame``, ascending) and step."""
    first = max(0, origins[0] - HISTORY)
    anchor, scales, outcomes = target.anchor(frame), target.scales(frame), target.outcomes(frame)

    def path(deviations: np.ndarray) -> _Path:
        errors = np.abs(outcomes[first:] - anchor[first:, None] - deviations) / scales[first:]
        return _Path(deviations, conformal.half_widths(errors, target.steps))

    refusals = [_refusal(frame, origin, anchor[origin]) for origin in origins]
    trained = path(_out_of_sample(frame, server, first)) if server.fitted else None
    answered = [
        trained is not None and bool(np.isfinite(trained.deviations[origin - first]).all()) for origin in origins
    ]
    naive = trained if trained and all(answered) else path(np.zeros_like(outcomes[first:]))
    made_at, rows = utc_now(), []
    for origin, refusal, has_answer in zip(origins, refusals, answered, strict=True):
        used, by = (trained, server) if trained and has_answer else (naive, NOBODY)
        note = refusal or server.note or (None if has_answer else _silence(frame, server, origin))
        known = anchor[origin] if refusal is None else np.nan
        for column, step in enumerate(target.steps):
            levels = _levels(
                known,
                used.deviations[origin - first, column],
                scales[origin, column],
                used.widths[origin - first, column],
                note,
            )
            rows.append(_row(frame.series, target, by, as_naive(frame.times[origin]), step, made_at) | levels)
    return pa.Table.from_pylist(rows, FORECASTS.arrow_schema)


def _out_of_sample(frame: Frame, server: Server, first: int) -> np.ndarray:
    """Deviations of the model at bars it was not trained on; NaN before."""
    assert server.fitted is not None
    asked, start = server.fitted, max(first, int(np.searchsorted(frame.times, np.datetime64(server.data_to), "right")))
    deviations = np.full((len(frame) - first, len(asked.target.steps)), np.nan)
    unseen = slice(start, len(frame))
    if server.answers is None:
        deviations[start - first :] = asked.deviations(frame, unseen)
    else:
        deviations[start - first :] = recalled(
            server.answers, frame.times, unseen, lambda origins: asked.deviations(frame, origins)
        )
    return deviations


def _refusal(frame: Frame, origin: int, anchor: float) -> str | None:
    """Why there can be no forecast at all."""
    present = np.count_nonzero(~np.isnan(frame.price[: origin + 1]))
    if present < MIN_BARS:
        return f"{present} bars known, {MIN_BARS} are needed"
    if np.isnan(frame.price[origin]):
        last = as_naive(frame.times[:origin][~np.isnan(frame.price[:origin])][-1])
        return f"nothing was traded in the last bar; the last traded bar closed at {last:%Y-%m-%d %H:%M} UTC"
    if np.isnan(frame.sigma[origin]):
        return f"fewer than {WARM_UP} returns are known, so there is no volatility to scale by"
    if np.isnan(anchor):
        return "a bar is missing in the last hour or nothing was traded in it, so it cannot be gone by"
    return None


def _silence(frame: Frame, server: Server, origin: int) -> str:
    """Why a trained model that serves has no answer at an origin."""
    assert server.fitted is not None
    name = f"{server.model} version {server.version}"
    if frame.times[origin] <= np.datetime64(server.data_to):
        return f"naive serves: {name} was trained on bars up to {server.data_to:%Y-%m-%d %H:%M} UTC"
    return f"naive serves: {name} needs {server.fitted.spec.lags + 1} bars without a gap"


def refused(series: Series, target: Target, edges: Iterable[datetime], reason: str) -> pa.Table:
    """Rows of ``forecasts.forecasts`` that say why there are no forecasts at ``edges``."""
    made_at = utc_now()
    rows = [
        _row(series, target, NOBODY, edge, step, made_at) | dict.fromkeys(_LEVELS) | {"reason": reason}
        for edge in edges
        for step in target.steps
    ]
    return pa.Table.from_pylist(rows, FORECASTS.arrow_schema)


def _row(
    series: Series, target: Target, server: Server, issued_at: datetime, step: int, made_at: datetime
) -> dict[str, Any]:
    return {
        "series": series.key,
        "symbol": series.symbol,
        "exchange": series.exchange,
        "market_type": series.market_type,
        "target": target.name,
        "model": server.model,
        "version": server.version,
        "issued_at": issued_at,
        "target_ts": issued_at + step * STEP,
        "step": step,
        "made_at": made_at,
    }


def _levels(anchor: float, deviation: float, scale: float, widths: np.ndarray, note: str | None) -> dict[str, Any]:
    """Point, naive and bounds as levels; None where unknown, with the reason."""
    if np.isnan(anchor):
        return dict.fromkeys(_LEVELS) | {"reason": note}
    half = widths * scale
    if np.isnan(half).any() and note is None:
        note = f"no interval: fewer than {conformal.MIN_SCORES} outcomes of this model are known"
    elif np.isnan(half).any():
        note = f"{note}; no interval: fewer than {conformal.MIN_SCORES} outcomes are known"
    naive, centre = float(np.exp(anchor)), anchor + deviation
    values = {"last_value": naive, "naive": naive, "point": np.exp(centre), "scale": scale}
    for level, width in zip(conformal.LEVELS, half, strict=True):
        values[f"lower_{round(level * 100)}"] = np.exp(centre - width)
        values[f"upper_{round(level * 100)}"] = np.exp(centre + width)
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()} | {"reason": note}


_LEVELS = ("last_value", "naive", "point", "scale", "lower_80", "upper_80", "lower_95", "upper_95")
