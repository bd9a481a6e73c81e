"""Small pictures of a window of a table, as Markdown with an embedded PNG, for the pages of the assets.

matplotlib is imported when a picture is drawn: importing it costs more than most computations here.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from orderflow_assets.layer import Layer
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

MAX_BYTES = 50_000
"""Every event is kept in the run's history, so a picture stays small."""

_BUCKETS = 96
_COLOURS = 48


def draw(layer: Layer, store: Store, start: datetime, end: datetime) -> dict[str, str]:
    """Markdown of the pictures of ``[start, end)`` by title; none where there is nothing to draw."""
    painters = _PAINTERS.get(layer.table.qualified) or _PAINTERS.get(layer.group) or {}
    figures = {title: paint(layer, store, start, end) for title, paint in painters.items()}
    texts = {title: markdown(figure, f"{layer.table.qualified} {title}") for title, figure in figures.items() if figure}
    return {title: text for title, text in texts.items() if text}


def _bars(layer: Layer, store: Store, start: datetime, end: datetime) -> Figure | None:
    """Price against its first bar in percent and traded value, per symbol."""
    rows = store.query(
        f"""
        SELECT symbol || ' ' || exchange || ' ' || market_type AS series, time_bucket($step::INTERVAL, open_time) AS t,
               arg_max(coalesce(close, mid_close), bar_ts) AS price, sum(quote_volume) AS value
        FROM {layer.table.qualified} WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
        GROUP BY ALL ORDER BY series, t
        """,
        {"start": start, "end": end, "step": _step(start, end)},
    ).to_pydict()
    if not rows["t"]:
        return None
    figure = canvas(4.2)
    price, value = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for name in dict.fromkeys(rows["series"]):
        at = [index for index, series in enumerate(rows["series"]) if series == name]
        first = next((rows["price"][index] for index in at if rows["price"][index]), None)
        if first is None:
            continue
        times = [rows["t"][index] for index in at]
        level = [100 * (p / first - 1) if (p := rows["price"][index]) else float("nan") for index in at]
        price.plot(times, level, linewidth=1, label=name.split(" ")[0])
        value.plot(times, [rows["value"][index] or float("nan") for index in at], linewidth=0.8)
    price.set_ylabel("price, %")
    figure.legend(fontsize=6, ncols=9, loc="outside upper center", frameon=False)
    value.set_ylabel("value, quote")
    value.set_yscale("log")
    return figure


def _features(layer: Layer, store: Store, start: datetime, end: datetime) -> Figure | None:
    """Share of NULL per column and time: what is not known yet, or not any more."""
    names = [column.name for column in layer.table.columns if column.nullable]
    shares = ", ".join(f'1 - count("{name}") / count(*) AS "{name}"' for name in names)
    rows = store.query(
        f"""
        SELECT time_bucket($step::INTERVAL, open_time) AS t, {shares} FROM {layer.table.qualified}
        WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP GROUP BY ALL ORDER BY t
        """,
        {"start": start, "end": end, "step": _step(start, end)},
    ).to_pydict()
    return _heat_map(rows["t"], {name: rows[name] for name in names}, "share of NULL", "Greys", (0, 1))


_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


def _distribution(layer: Layer, store: Store, start: datetime, end: datetime) -> Figure | None:
    """Where the values of each column lie, in its own interquartile ranges."""
    names = [column.name for column in layer.table.columns if column.type == "DOUBLE"]
    shares = ", ".join(f'quantile_cont("{name}", {list(_QUANTILES)}) AS "{name}"' for name in names)
    (row,) = store.query(
        f"SELECT {shares} FROM {layer.table.qualified} "
        "WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP",
        {"start": start, "end": end},
    ).to_pylist()
    lines = {name: row[name] for name in names if row[name] and row[name][3] > row[name][1]}
    if not lines:
        return None
    figure = canvas(0.8 + 0.13 * len(lines))
    axes = figure.subplots()
    for place, (low, first, middle, third, high) in enumerate(lines.values()):
        scale = third - first
        axes.hlines(place, (low - middle) / scale, (high - middle) / scale, color="0.6", linewidth=1)
        axes.hlines(place, (first - middle) / scale, (third - middle) / scale, color="tab:blue", linewidth=4)
        axes.plot([0], [place], "|", color="black")
    axes.set_yticks(range(len(lines)), list(lines), fontsize=6)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.tick_params(axis="x", labelsize=6)
    axes.set_title("1 to 99 %, middle half and median, in interquartile ranges from the median", fontsize=8)
    return figure


def _signals(layer: Layer, store: Store, start: datetime, end: datetime) -> Figure | None:
    """Each signal over time, the mean over the series."""
    rows = store.query(
        f"""
        SELECT signal, time_bucket($step::INTERVAL, open_time) AS t, avg(value) AS value FROM {layer.table.qualified}
        WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP GROUP BY ALL ORDER BY t
        """,
        {"start": start, "end": end, "step": _step(start, end)},
    ).to_pylist()
    times = list(dict.fromkeys(row["t"] for row in rows))
    values = {(row["signal"], row["t"]): row["value"] for row in rows}
    names = sorted({row["signal"] for row in rows})
    lines = {name: [values.get((name, t)) for t in times] for name in names}
    return _heat_map(times, lines, "mean value over the series", "RdYlGn", None)


def _reliability(layer: Layer, store: Store, start: datetime, end: datetime) -> Figure | None:
    """Share of events by probability, on outcomes the fit had not seen, of the newest fits in the window."""
    rows = store.query(
        f"""
        SELECT signal, reliability, brier, brier_base FROM {layer.table.qualified}
        WHERE valid_from >= $start::TIMESTAMP AND valid_from < $end::TIMESTAMP AND reliability IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY signal ORDER BY valid_from DESC) = 1 ORDER BY signal
        """,
        {"start": start, "end": end},
    ).to_pylist()
    if not rows:
        return None
    figure = canvas(4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for row in rows:
        predicted, happened, _ = zip(*json.loads(row["reliability"]), strict=True)
        label = f"{row['signal']}: Brier {row['brier']:.3f}, base rate {row['brier_base']:.3f}"
        axes.plot(predicted, happened, marker="o", markersize=3, linewidth=1, label=label)
    axes.set_xlabel("probability")
    axes.set_ylabel("share of events")
    axes.legend(fontsize=6, frameon=False)
    return figure


def decay(store: Store, table: Table, until: datetime) -> str | None:
    """Markdown of the information coefficients measured at ``until`` by horizon, with their intervals."""
    rows = store.query(
        f"""
        SELECT signal, horizon_minutes, estimate, low, high FROM {table.qualified}
        WHERE measured_at = $until::TIMESTAMP AND measure = 'information_coefficient' AND estimate IS NOT NULL
        ORDER BY signal, horizon_minutes
        """,
        {"until": until},
    ).to_pylist()
    if not rows:
        return None
    figure = canvas(5)
    names = sorted({row["signal"] for row in rows})
    grid = figure.subplots(-(-len(names) // 5), 5, sharex=True, sharey=True, squeeze=False)
    for name, axes in zip(names, grid.flat, strict=False):
        mine = [row for row in rows if row["signal"] == name]
        hours = [row["horizon_minutes"] / 60 for row in mine]
        axes.axhline(0, color="0.7", linewidth=0.8)
        axes.plot(hours, [row["estimate"] for row in mine], marker="o", markersize=2, linewidth=1)
        if all(row["low"] is not None for row in mine):
            axes.fill_between(hours, [row["low"] for row in mine], [row["high"] for row in mine], alpha=0.2)
        axes.set_xscale("log")
        axes.set_title(name, fontsize=6)
        axes.tick_params(labelsize=5)
    figure.supxlabel("horizon, h", fontsize=7)
    figure.supylabel("information coefficient", fontsize=7)
    return markdown(figure, f"{table.qualified} decay")


_PAINTERS: dict[str, dict[str, Callable[[Layer, Store, datetime, datetime], Figure | None]]] = {
    "bars.bars_1m": {"plot": _bars},
    "features": {"null share": _features, "distribution": _distribution},
    "signals.signals": {"history": _signals},
    "signals.calibration": {"reliability": _reliability},
}


def _heat_map(
    times: list[datetime],
    lines: dict[str, list[float | None]],
    title: str,
    colours: str,
    limits: tuple[int, int] | None,
) -> Figure | None:
    if not times or not lines:
        return None
    import numpy as np

    grid: np.ndarray = np.array([[np.nan if cell is None else cell for cell in line] for line in lines.values()], float)
    low, high = limits or (-np.nanmax(np.abs(grid)), np.nanmax(np.abs(grid)))
    figure = canvas(0.8 + 0.13 * len(lines))
    axes = figure.subplots()
    image = axes.imshow(grid, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high)
    axes.set_yticks(range(len(lines)), list(lines), fontsize=6)
    marks = sorted({0, len(times) // 2, len(times) - 1})
    axes.set_xticks(marks, [f"{times[mark]:%d %H:%M}" for mark in marks], fontsize=6)
    axes.set_title(title, fontsize=8)
    figure.colorbar(image, ax=axes, fraction=0.02)
    return figure


def _step(start: datetime, end: datetime) -> str:
    """The bucket, in full minutes, that cuts the window into at most ``_BUCKETS``."""
    minutes = max(1, -(-int((end - start).total_seconds() // 60) // _BUCKETS))
    return f"{minutes} minutes"


def canvas(height: float) -> Figure:
    """An empty figure as wide as the pages of the assets, ``height`` inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(8, height), dpi=72, layout="constrained")


def markdown(figure: Figure, name: str) -> str | None:
    """The figure as an embedded PNG of few colours; None where even that exceeds :data:`MAX_BYTES`."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(small, format="png", optimize=True)
    encoded = base64.b64encode(small.getvalue()).decode()
    return f"![{name}](data:image/png;base64,{encoded})" if len(encoded) <= MAX_BYTES else None
