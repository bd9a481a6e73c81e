"""The errors of one stream over time, with the alarms of the detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orderflow_assets.forecasting.drift.errors import RECENT
from orderflow_assets.forecasting.monitor import Stream
from orderflow_assets.plots import canvas, markdown

_SMOOTHED = 36
"""Errors in the running mean that is drawn."""
_ALARMS = {"adwin_at": "tab:red", "page_hinkley_at": "tab:orange", "hddm_at": "tab:purple", "began_at": "black"}


def draw(stream: Stream, found: Mapping[str, Any]) -> str | None:
    """Markdown of the picture of a stream and its row of ``models.drift``; None without enough errors to draw."""
    errors = stream.errors.model
    if len(errors) < _SMOOTHED:
        return None
    figure = canvas(2.6)
    axes = figure.subplots()
    axes.plot(stream.times, errors, ".", color="tab:gray", markersize=1)
    smooth = np.convolve(errors, np.ones(_SMOOTHED) / _SMOOTHED, "valid")
    axes.plot(stream.times[_SMOOTHED - 1 :], smooth, color="tab:blue", linewidth=1, label=f"mean of {_SMOOTHED}")
    reference = stream.errors.reference if len(stream.errors.reference) else errors[:-RECENT]
    if len(reference):
        axes.axhline(reference.mean(), color="tab:green", linewidth=1, label="reference")
    axes.axvspan(stream.times[-RECENT:][0], stream.times[-1], color="tab:blue", alpha=0.08, linewidth=0, label="recent")
    for name, colour in _ALARMS.items():
        if found[name] is not None:
            axes.axvline(found[name], color=colour, linewidth=1, linestyle=":", label=name.removesuffix("_at"))
    axes.set_ylim(0, np.quantile(errors, 0.99))
    axes.set_ylabel("scaled absolute error", fontsize=6)
    axes.set_title(f"{found['series']} {found['target']}, {found['model']}: {found['severity']}", fontsize=8)
    axes.tick_params(labelsize=6)
    axes.legend(fontsize=6, frameon=False, loc="upper left", ncols=3)
    return markdown(figure, "errors over time")
