"""The report of a backtest as one HTML file that needs nothing beside it: figures, tables, pictures, definitions."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orderflow_assets.forecasting.backtest.pictures import draw
from orderflow_assets.forecasting.backtest.run import Backtest
from orderflow_assets.forecasting.backtest.tables import BACKTESTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUMMARY = ("target", "model", "step", "grade", "reason", "rmae", "dm_p", "crps_ratio", "coverage_80", "coverage_95")
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "Errors": (
        "origins",
        "folds",
        "rmae",
        "mase",
        "mae",
        "naive_mae",
        "rmse",
        "median_ae",
        "max_error",
        "bias",
        "mape",
        "smape",
        "r2",
        "dm_statistic",
        "dm_p",
        "pbo_skill",
        "fits",
        "fit_seconds",
        "predict_seconds",
    ),
    "Intervals": ("coverage_origins", "coverage_80", "coverage_95", "crps_ratio", "winkler_ratio"),
    "Direction": ("direction_origins", "direction_hit", "direction_low", "direction_high", "direction_p"),
    "Trading": (
        "trades",
        "exposure",
        "turnover",
        "gross_bps",
        "fees_bps",
        "spread_bps",
        "funding_bps",
        "net_bps",
        "hit_rate",
        "profit_factor",
        "max_drawdown_bps",
        "sharpe",
        "deflated_sharpe",
        "trials",
        "pbo_trading",
    ),
}
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 12px; margin-bottom: 1rem }
th, td { border-bottom: 1px solid #ddd; padding: 2px 8px; text-align: right; white-space: nowrap }
th { background: #f5f5f5 } td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left }
svg { max-width: 100%; height: auto } dt { font-weight: 600 } dd { margin: 0 0 .3rem 1rem }
"""


def report_path(data_dir: Path | str, result: Backtest) -> Path:
    """Where the report of a run lies: a folder per series, a file per run."""
    folder = result.frame.series.key.replace("|", "_")
    return Path(data_dir) / "reports" / "backtests" / folder / f"{result.run_at:%Y%m%dT%H%M%S}.html"


def write_report(data_dir: Path | str, result: Backtest) -> Path:
    """Write the report and return its path. It appears complete or not at all."""
    path = report_path(data_dir, result)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(html(result), encoding="utf-8")
    part.replace(path)
    return path


def html(result: Backtest) -> str:
    """The report as a page without scripts, links or files of its own."""
    title = f"Backtest of {result.frame.series.key}"
    sections = [
        ("Grades", _table(result.rows, _SUMMARY)),
        *((name.capitalize(), _svg(figure)) for name, figure in draw(result).items()),
        *(
            (name, _table(_with_any(result.rows, columns), ("target", "model", "step", *columns)))
            for name, columns in _SHOWN.items()
        ),
        ("How it was run", _list(_design(result).items())),
        ("What has no forecast", _list(result.refused.items()) if result.refused else "<p>Nothing.</p>"),
        (
            "What the figures mean",
            _list((column.name, _meaning(column.doc, column.unit)) for column in BACKTESTS.columns),
        ),
    ]
    body = "\n".join(f"<h2>{escape(name)}</h2>\n{content}" for name, content in sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _design(result: Backtest) -> dict[str, str]:
    plan, setup = result.setup.plan, result.setup
    costs = next((row["costs"] for row in result.rows if row["costs"]), "nothing was traded on")
    return {
        "run at": f"{result.run_at:%Y-%m-%d %H:%M:%S} UTC",
        "bars": f"{len(result.frame)}, {result.frame.missing} of them missing",
        "first bar": f"{result.frame.times[0]} UTC",
        "test part": f"{result.edges[0]} to {result.edges[-1]} UTC, {len(result.edges)} origins",
        "training": f"{plan.window} window, anew every {plan.retrain_every} bars",
        "parameters": str(dict(plan.parameters)) if plan.parameters else "as declared",
        "traded": f"steps {', '.join(map(str, setup.traded_steps))}, where a forecast exceeds {setup.hurdle:g} times "
        "the cost of getting in and out",
        "costs": costs,
        "data": f"sha256 {result.frame.digest()}",
    }


def _with_any(rows: Sequence[dict[str, Any]], columns: Iterable[str]) -> list[dict[str, Any]]:
    return [row for row in rows if any(row[name] is not None for name in columns)]


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = ("".join(f"<td>{escape(_cell(row[name]))}</td>" for name in columns) for row in rows)
    return f"<table><tr>{head}</tr>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(items: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items) + "</dl>"


def _meaning(doc: str, unit: str) -> str:
    return f"{doc} [{unit}]" if unit else doc


def _svg(figure: Figure) -> str:
    """The drawing itself, without the XML prologue that names a file on the network."""
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]
