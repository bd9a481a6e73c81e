"""Small pictures of an answer's rows, as PNG. matplotlib is imported when one is drawn: it costs a second."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from mcp_server.results import Answer, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = 64
_UP, _DOWN, _MIDDLE = "tab:green", "tab:red", "0.6"
_STATES = {"BULL": _UP, "RANGING": _MIDDLE, "BEAR": _DOWN}
_SMALL = 7
_LOCK = Lock()
"""matplotlib shares fonts and caches between figures, and tools run side by side."""

Numbers = Sequence[float | None]


def shown(answer: Answer, draw: Callable[[], Figure]) -> Answer:
    """The answer with its picture; without one, and saying so, where matplotlib is not installed."""
    if not len(answer):
        return answer
    try:
        with _LOCK:
            answer.pictures.append(Picture(_png(draw())))
    except ImportError as error:
        answer.meta["picture"] = (
            f'none: {error.name} is not installed. Install it with: pip install "orderflow[dagster]"'
        )
    return answer


def _png(figure: Figure) -> bytes:
    """Few colours, so that a picture costs a client little."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def _canvas(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(9, height), dpi=80, layout="constrained")


def _floats(values: Numbers) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def candles(
    title: str,
    times: Sequence[datetime],
    bars: Mapping[str, Numbers],
    beside: Mapping[str, Numbers],
    below: Mapping[str, Numbers],
) -> Figure:
    """Open, high, low, close and volume of ``bars``, oldest first; overlays ``beside`` the price, others ``below``."""
    figure = _canvas(4 + 1.1 * len(below))
    panels = figure.subplots(2 + len(below), 1, sharex=True, height_ratios=[4, 1, *[1.2] * len(below)])
    places = np.arange(len(times))
    opened, high, low, close = (_floats(bars[name]) for name in ("open", "high", "low", "close"))
    colours = np.where(close >= opened, _UP, _DOWN).tolist()
    panels[0].vlines(places, low, high, colors=colours, linewidth=0.8)
    panels[0].bar(places, close - opened, 0.7, bottom=opened, color=colours, edgecolor=colours, linewidth=0.5)
    for name, values in beside.items():
        panels[0].plot(places, _floats(values), linewidth=1, label=name)
    if beside:
        panels[0].legend(fontsize=_SMALL, frameon=False)
    panels[0].set_title(title, fontsize=9)
    panels[1].bar(places, _floats(bars["volume"]), 0.7, color=colours)
    panels[1].set_ylabel("volume", fontsize=_SMALL)
    for panel, (name, values) in zip(panels[2:], below.items(), strict=True):
        panel.plot(places, _floats(values), linewidth=1, color="tab:blue")
        panel.set_ylabel(name.replace(".", "\n"), fontsize=_SMALL - 1)
    _times(panels[-1], times)
    for panel in panels:
        panel.tick_params(labelsize=_SMALL)
        panel.margins(x=0.01)
    return figure


def _times(axes: Axes, times: Sequence[datetime]) -> None:
    marks = np.unique(np.linspace(0, len(times) - 1, min(6, len(times))).astype(int))
    axes.set_xticks(marks, [f"{times[mark]:%d %H:%M}" for mark in marks], fontsize=_SMALL)


def liquidity(
    title: str, times: Sequence[datetime], books: Sequence[Sequence[tuple[float, float]]], mids: Numbers
) -> Figure:
    """Resting value by price and time; a book is its levels as price and size."""
    levels = np.array([level for book in books for level in book], float)
    edges = np.linspace(levels[:, 0].min(), levels[:, 0].max() * (1 + 1e-9) + 1e-12, 61)
    columns = np.repeat(np.arange(len(books)), [len(book) for book in books])
    grid, _, _ = np.histogram2d(
        levels[:, 0], columns, bins=(edges, np.arange(len(books) + 1) - 0.5), weights=levels[:, 0] * levels[:, 1]
    )
    figure = _canvas(4.5)
    axes = figure.subplots()
    extent = (-0.5, len(books) - 0.5, edges[0], edges[-1])
    image = axes.imshow(np.log10(1 + grid), origin="lower", aspect="auto", extent=extent, cmap="magma")
    axes.plot(np.arange(len(books)), _floats(mids), color="white", linewidth=1, label="mid")
    axes.legend(fontsize=_SMALL, facecolor="black", labelcolor="white")
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=_SMALL)
    _times(axes, times)
    figure.colorbar(image, ax=axes, fraction=0.03).set_label("log10(1 + resting value, quote ccy)", fontsize=_SMALL)
    return figure


def grid(title: str, times: Sequence[datetime], lines: Mapping[str, Numbers]) -> Figure:
    """Values between -1 and 1, a line each over time, with the newest written beside it."""
    cells = np.array([_floats(line) for line in lines.values()])
    figure = _canvas(0.9 + 0.24 * len(lines))
    axes = figure.subplots()
    image = axes.imshow(cells, aspect="auto", interpolation="nearest", cmap="RdYlGn", vmin=-1, vmax=1)
    axes.set_yticks(range(len(lines)), list(lines), fontsize=_SMALL)
    for place, newest in enumerate(cells[:, -1]):
        told = "unknown" if np.isnan(newest) else f"{newest:.2f}"
        axes.text(cells.shape[1] - 0.4, place, f" {told}", va="center", fontsize=_SMALL)
    axes.set_title(title, fontsize=9)
    _times(axes, times)
    figure.colorbar(image, ax=axes, fraction=0.03, pad=0.08)
    return figure


def regimes(
    title: str, times: Sequence[datetime], states: Sequence[str | None], chances: Mapping[str, Numbers]
) -> Figure:
    """The chance of each state over time, and below it the state that was the most probable."""
    figure = _canvas(3.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    places = np.arange(len(times))
    stacked = np.nan_to_num(np.array([_floats(values) for values in chances.values()]))
    upper.stackplot(places, stacked, labels=list(chances), colors=[_STATES[name] for name in chances], alpha=0.7)
    upper.set_ylim(0, 1)
    upper.set_ylabel("filtered probability", fontsize=_SMALL)
    upper.legend(fontsize=_SMALL, loc="upper left", ncols=3)
    upper.set_title(title, fontsize=9)
    lower.bar(places, 1, 1.0, color=[_STATES.get(state or "", "white") for state in states])
    lower.set_yticks([])
    lower.set_ylabel("state", fontsize=_SMALL)
    _times(lower, times)
    upper.tick_params(labelsize=_SMALL)
    return figure


def matrix(title: str, names: Sequence[str], values: np.ndarray) -> Figure:
    """Correlations of every pair; white where there is none."""
    figure = _canvas(min(10.0, 2.2 + 0.14 * len(names)))
    axes = figure.subplots()
    image: Any = axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1, interpolation="nearest")
    size = _SMALL if len(names) <= 30 else _SMALL - 2
    axes.set_xticks(range(len(names)), names, fontsize=size, rotation=90)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes, fraction=0.03)
    return figure
