"""Pictures and tables of forecasts as Markdown, for the pages of the assets. matplotlib is imported on use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orderflow_assets.forecasting import conformal
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.held_out import HeldOut
from orderflow_assets.forecasting.issue import Issued
from orderflow_assets.forecasting.tables import FORECASTS
from orderflow_assets.forecasting.train import Trained
from orderflow_assets.plots import canvas, markdown
from orderflow_streaming.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEFORE = 48
"""Bars shown before a forecast."""
_SHOWN = 288
"""Held-out origins shown of a forecast with one step."""


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table; numbers with four digits."""
    if not rows:
        return "none"
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_cell(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fan(store: Store, issued: Issued) -> str | None:
    """The newest price forecast with a value, its intervals, and the prices before; None where there is none."""
    newest = next(
        (rows for rows in issued.latest if rows["target"][0].as_py() == "price" and rows["point"][0].is_valid), None
    )
    if newest is None:
        return None
    series, issued_at = newest["series"][0].as_py(), newest["issued_at"][0].as_py()
    past = store.query(
        f"SELECT issued_at, last_value FROM {FORECASTS.qualified} WHERE series = ? AND target = 'price' AND step = 1 "
        "AND issued_at <= ? ORDER BY issued_at DESC LIMIT ?",
        [series, issued_at, _BEFORE],
    ).to_pydict()
    figure = canvas(2.8)
    axes = figure.subplots()
    axes.plot(past["issued_at"], past["last_value"], color="black", linewidth=1, label="price")
    bounds = {level: (_column(newest, f"lower_{level}"), _column(newest, f"upper_{level}")) for level in (95, 80)}
    _fan(axes, newest["target_ts"].to_numpy(), _column(newest, "point"), bounds)
    axes.set_title(f"{series}, {newest['model'][0].as_py()}, issued {issued_at:%Y-%m-%d %H:%M} UTC", fontsize=8)
    return markdown(figure, "newest price forecast")


def held_out(frame: Frame, trained: Sequence[Trained]) -> str | None:
    """Of each judged model, forecasts on bars it was not trained on, beside what happened."""
    judged = [result for result in trained if result.held_out is not None]
    if not judged:
        return None
    figure = canvas(2.4 * len(judged))
    for axes, result in zip(np.atleast_1d(figure.subplots(len(judged), 1)), judged, strict=True):
        assert result.held_out is not None
        if result.held_out.outcomes.shape[1] > 1:
            _one_origin(axes, frame, result.held_out)
        else:
            _all_origins(axes, frame, result.held_out)
        axes.set_title(f"{frame.series.key} {result.target}, {result.model}: held out", fontsize=8)
        axes.tick_params(labelsize=6)
        axes.legend(fontsize=6, frameon=False, loc="upper left")
    return markdown(figure, "held-out forecasts")


def _one_origin(axes: Axes, frame: Frame, held: HeldOut) -> None:
    """The last origin whose whole path is known."""
    widths = conformal.half_widths(held.errors, tuple(range(1, held.outcomes.shape[1] + 1)))
    known = np.flatnonzero(~np.isnan(held.errors).any(axis=1))
    if not len(known):
        return
    place = int(known[-1])
    origin = held.origins.start + place
    before = slice(max(0, origin - _BEFORE), origin + 1)
    ahead = slice(origin + 1, origin + 1 + held.outcomes.shape[1])
    axes.plot(frame.times[before], frame.price[before], color="black", linewidth=1, label="price")
    axes.plot(frame.times[ahead], frame.price[ahead], color="black", linewidth=1, linestyle=":", label="what happened")
    centre = held.anchor[place] + held.deviations[place]
    half = widths[place] * held.scales[place][:, None]
    bounds = {
        round(level * 100): (np.exp(centre - half[:, column]), np.exp(centre + half[:, column]))
        for column, level in reversed(list(enumerate(conformal.LEVELS)))
    }
    _fan(axes, frame.times[ahead], np.exp(centre), bounds)


def _all_origins(axes: Axes, frame: Frame, held: HeldOut) -> None:
    """Forecast and outcome of the newest held-out origins."""
    shown = slice(max(0, len(held.anchor) - _SHOWN), len(held.anchor))
    times = frame.times[held.origins][shown]
    axes.plot(times, np.exp(held.outcomes[shown, 0]), color="black", linewidth=1, label="what happened")
    forecast = np.exp(held.anchor[shown] + held.deviations[shown, 0])
    axes.plot(times, forecast, color="tab:blue", linewidth=1, label="forecast")
    axes.plot(times, np.exp(held.anchor[shown]), color="tab:gray", linewidth=0.6, label="naive")


def _fan(axes: Axes, times: np.ndarray, point: np.ndarray, bounds: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
    for shade, (level, (lower, upper)) in zip((0.15, 0.3), bounds.items(), strict=True):
        axes.fill_between(times, lower, upper, color="tab:blue", alpha=shade, linewidth=0, label=f"{level} %")
    axes.plot(times, point, color="tab:blue", linewidth=1, label="forecast")
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False, loc="upper left")


def _column(rows: Any, name: str) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in rows[name].to_pylist()])


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
