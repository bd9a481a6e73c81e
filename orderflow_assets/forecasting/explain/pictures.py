"""Pictures of explanations and of errors. matplotlib is imported on use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orderflow_assets.forecasting.explain.errors import CELLS
from orderflow_assets.plots import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHOWN = 12
"""Inputs shown of an explanation."""

Row = dict[str, Any]


def contributions(rows: Sequence[Row]) -> Figure | None:
    """Of each explained target, the inputs that moved the newest forecast most and those it cannot do without.

    ``rows`` are of ``models.explanations``; None where there is nothing with a value.
    """
    known = [row for row in rows if row["value"] is not None]
    panels = [
        (target, method, [row for row in known if (row["target"], row["method"]) == (target, method)])
        for target in dict.fromkeys(row["target"] for row in known)
        for method in ("shap", "permutation", "variable_selection")
    ]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return None
    figure = canvas(0.9 + 2.2 * len(panels))
    for axes, (target, method, own) in zip(np.atleast_1d(figure.subplots(len(panels), 1)), panels, strict=True):
        _bars(axes, _first_step(own) if method == "shap" else own)
        axes.set_title(f"{own[0]['series']} {target}, {own[0]['model']}: {_title(method, own)}", fontsize=8)
    return figure


def cells(rows: Sequence[Row]) -> Figure | None:
    """rmae with its interval in each cell, of the newest models at their first step; None without any.

    ``rows`` are of ``forecasts.error_analysis`` of one series, target and model.
    """
    known = [row for row in rows if row["rmae_low"] is not None]
    groups = [grouping for grouping in CELLS if grouping != "all" and any(row["grouping"] == grouping for row in known)]
    if not groups:
        return None
    figure = canvas(2.4)
    widths = [len(CELLS[grouping]) + 2 for grouping in groups]
    for axes, grouping in zip(
        np.atleast_1d(figure.subplots(1, len(groups), sharey=True, width_ratios=widths)), groups, strict=True
    ):
        own = [row for row in known if row["grouping"] == grouping]
        places = np.arange(len(own))
        axes.axhline(1, color="0.7", linewidth=0.8)
        axes.vlines(places, [row["rmae_low"] for row in own], [row["rmae_high"] for row in own], color="tab:blue")
        axes.plot(places, [row["rmae"] for row in own], "o", color="tab:blue", markersize=3)
        axes.set_xticks(places, [row["cell"] for row in own], fontsize=5, rotation=90)
        axes.set_title(grouping, fontsize=7)
        axes.tick_params(axis="y", labelsize=6)
    first = known[0]
    figure.suptitle(f"{first['series']} {first['target']}, {first['model']}, step {first['step']}: rmae", fontsize=8)
    return figure


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    """The greatest values of ``rows`` as bars, with their interval where they have one."""
    shown = sorted(rows, key=lambda row: -abs(row["value"]))[:_SHOWN][::-1]
    values = [row["value"] for row in shown]
    places = np.arange(len(shown))
    axes.barh(places, values, color=["tab:green" if value >= 0 else "tab:red" for value in values])
    bounded = [(place, row) for place, row in zip(places, shown, strict=True) if row["low"] is not None]
    axes.hlines(
        [place for place, _ in bounded],
        [row["low"] for _, row in bounded],
        [row["high"] for _, row in bounded],
        color="black",
        linewidth=1,
    )
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(places, [_label(row) for row in shown], fontsize=6)
    axes.tick_params(axis="x", labelsize=6)


def _first_step(rows: Sequence[Row]) -> list[Row]:
    first = min(row["step"] for row in rows)
    return [row for row in rows if row["step"] == first]


def _label(row: Row) -> str:
    return row["feature"] if row["lag"] is None else f"{row['feature']}, {row['lag']} back"


def _title(method: str, rows: Sequence[Row]) -> str:
    row = rows[0]
    if method == "shap":
        moved = f"forecast of {row['last_issued_at']:%Y-%m-%d %H:%M} UTC, step {min(row['step'] for row in rows)}"
        return f"{moved}, {row['unit']}"
    if method == "permutation":
        return f"rmae lost without the input, over {row['origins']} forecasts at rmae {row['base']:.3f}"
    return "share of the input in what the network selected"
