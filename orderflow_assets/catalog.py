"""Everything that is declared, as plain rows: ``python -m orderflow_assets.catalog [--json]``.

``--write-docs docs`` writes the pages that are made of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Printed

from orderflow_assets.analytics.catalog import ANALYTICS
from orderflow_assets.calculators.discovery import discover, plugins_folder
from orderflow_assets.features.additions import ADDITIONS
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.features.feature import Feature
from orderflow_assets.forecasting.models import SPECS, describe
from orderflow_assets.forecasting.models.weights import FOLDER_SETTING
from orderflow_assets.layers import LAYERS
from orderflow_assets.resources import default_data_dir
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_streaming.tables import Column, Table

Row = dict[str, Any]


def catalog(data_dir: Path | str) -> dict[str, list[Row]]:
    """All declarations by kind; calculators include the plugin files of ``data_dir``."""
    found = discover(plugins_folder(data_dir))
    return {
        "features": [*_features(), *_additions()],
        "companions": list(_companions()),
        "analytics": list(_analytics()),
        "signals": [{"name": item.name, **item.describe()} for item in SIGNALS.values()],
        "models": [describe(spec) for spec in SPECS.values()],
        "calculators": found.describe(),
        "broken_plugins": [{"name": item.name, "file": item.file, "reason": item.reason} for item in found.broken],
        "tables": [_table(layer.table, layer.group) for layer in LAYERS],
    }


_SERIES_GROUPS = ("prices", "orderbook", "trades", "funding", "oi", "liquidations", "mark_prices", "ticker")
"""The groups whose rows are one market's; the others compare markets and are listed with the analytics."""


def _features() -> Iterator[Row]:
    for name in _SERIES_GROUPS:
        for item in GROUPS[name].features:
            yield _feature(name, item, "feature")


def _additions() -> Iterator[Row]:
    tables = {layer.table.qualified: layer.table for layer in LAYERS}
    for name, place in ADDITIONS.items():
        qualified, _, column = place.rpartition(".")
        group = GROUPS.get(qualified.removeprefix("features."))
        item = next((item for item in group.columns if item.name == column), None) if group else None
        if group and item:
            yield _feature(group.name, item, "addition") | {"name": name}
        else:
            yield _measured(name, tables[qualified], tables[qualified].column(column))


def _companions() -> Iterator[Row]:
    elsewhere = set(ADDITIONS.values())
    for name in _SERIES_GROUPS:
        for item in GROUPS[name].companions:
            if f"features.{name}.{item.name}" not in elsewhere:
                yield _feature(name, item, "companion")


def _analytics() -> Iterator[Row]:
    for group in (*(group for name, group in GROUPS.items() if name not in _SERIES_GROUPS), *ANALYTICS.values()):
        for item in group.columns:
            yield _feature(group.name, item, "analytics") | {"table": group.table.qualified}


def _feature(group: str, item: Feature, kind: str) -> Row:
    return {
        "name": item.name,
        "kind": kind,
        "calculator": group,
        "table": GROUPS[group].table.qualified if group in GROUPS else None,
        "stream": item.stream,
        "unit": item.unit,
        "range": "true or false" if item.dtype == "flag" else item.interval,
        "dtype": item.dtype,
        "window": item.window,
        "source": item.source,
        "description": item.definition,
    }


def _measured(name: str, table: Table, column: Column) -> Row:
    """A measure that is a column of a table of its own."""
    return {
        "name": name,
        "kind": "addition",
        "calculator": table.name,
        "table": table.qualified,
        "stream": "quotes",
        "unit": column.unit,
        "range": None,
        "dtype": "float",
        "window": table.doc,
        "source": None,
        "description": column.doc,
    }


def _table(table: Table, group: str) -> Row:
    return {
        "name": table.qualified,
        "group": group,
        "description": table.doc,
        "key": list(table.key),
        "time": table.time,
        "columns": [
            {"name": column.name, "type": column.type, "unit": column.unit, "description": column.doc}
            for column in table.columns
        ],
    }


def pages(data: dict[str, list[Row]]) -> dict[str, str]:
    """Markdown pages by file name."""
    return {
        "features.md": _features_page(data),
        "signals.md": _signals_page(data["signals"]),
        "calculators.md": _calculators_page(data["calculators"]),
        "models.md": _models_page(data["models"]),
    }


_MADE = "<!-- Made by `python -m orderflow_assets.catalog --write-docs docs/reference`; edit the declarations. -->\n\n"


def _features_page(data: dict[str, list[Row]]) -> str:
    parts = [
        _MADE,
        "# Features\n\n",
        "One row per series and minute; NULL where undefined. `bar_ts` is the closing edge.\n",
    ]
    rows = [*data["features"], *data["companions"], *data["analytics"]]
    for group in dict.fromkeys(row["calculator"] for row in rows):
        own = [row for row in rows if row["calculator"] == group]
        parts += [
            f"\n## {group}\n\n`{own[0]['table']}`\n\n",
            "| Name | Unit | Range | Window | What it is | Source |\n",
        ]
        parts.append("| --- | --- | --- | --- | --- | --- |\n")
        for row in own:
            cells = (row["unit"], row["range"], row["window"], row["description"], row["source"])
            parts.append(f"| `{row['name']}` | {' | '.join(_cell(cell) for cell in cells)} |\n")
    return "".join(parts)


def _signals_page(signals: list[Row]) -> str:
    parts = [_MADE, "# Signals\n\nValues are scores, not probabilities; NULL under half of the weight.\n"]
    for row in signals:
        parts += [
            f"\n## {row['name']}\n\n{row['interpretation']}\n\n",
            f"{row['kind']}, {row['range']}. {row['combine']}.\n\n",
        ]
        parts.append("| Component | Weight | Definition |\n| --- | --- | --- |\n")
        parts += [
            f"| {part['component']} | {part['weight']:g} | {_cell(part['definition'])} |\n"
            for part in row["components"]
        ]
        parts.append("\n| Field | Unit | Meaning |\n| --- | --- | --- |\n")
        parts += [
            f"| `{item['field']}` | {_cell(item['unit'])} | {_cell(item['meaning'])} |\n" for item in row["fields"]
        ]
        label = row["label"]
        parts.append(f"\nJudged by: {label['event']} (known after {label['known_after_minutes']} min).\n")
    return "".join(parts)


def _calculators_page(calculators: list[Row]) -> str:
    parts = [_MADE, "# Calculators\n"]
    for row in calculators:
        if row["plugin"]:
            continue
        parts += [
            f"\n## {row['name']}\n\n{row['description']}\n\n",
            "| Parameter | Default | What it is |\n| --- | --- | --- |\n",
        ]
        parts += [
            f"| `{item['name']}` | {_cell(item.get('default'))} | {_cell(item.get('description'))} |\n"
            for item in row["parameters"]
        ]
    return "".join(parts)


_MODELS = f"""# Models

Each forecasts the deviation from the last value, and has conformal intervals. Trained by name, or by every scheduled
training where it says so. Networks run on the GPU where there is one; a model's card and version say where it ran.

Pretrained models need weights, which are not part of the package. They are looked for in the parameter `local_dir`, in
the folder named like the model inside the folder that `{FOLDER_SETTING}` names, and in the cache of the Hugging Face
hub; with `HF_HUB_OFFLINE=0` they are downloaded.
"""
_ABILITIES = {
    "past_covariates": "past covariates",
    "future_covariates": "future covariates",
    "static_covariates": "static covariates",
    "multivariate": "several series",
    "probabilistic": "distribution",
    "gpu": "GPU",
}


def _models_page(models: list[Row]) -> str:
    """The same on every machine: without what is installed or found there."""
    parts = [_MADE, _MODELS]
    for family in dict.fromkeys(row["family"] for row in models):
        parts += [
            f"\n## {family}\n\n",
            "| Name | Also | What it is | Its class can | Bars: looked at, needed | Parameters | Extra |\n",
            "| --- | --- | --- | --- | --- | --- | --- |\n",
        ]
        for row in (row for row in models if row["family"] == family):
            cells = (
                ", ".join(f"`{alias}`" for alias in row["aliases"]),
                " ".join([row["description"], *_models_remarks(row)]),
                ", ".join(text for key, text in _ABILITIES.items() if row[key]),
                f"{row['looks_back_bars']}, {row['least_bars']}",
                ", ".join(f"{name}={value!r}" for name, value in row["parameters"].items()),
                row["extra"],
            )
            parts.append(f"| `{row['name']}` | {' | '.join(_cell(cell) for cell in cells)} |\n")
    return "".join(parts)


def _models_remarks(row: Row) -> Iterator[str]:
    if row["unavailable"]:
        yield f"Not offered: {row['unavailable']}."
        return
    if row["trained_by_schedule"]:
        yield f"Trained by schedule for {', '.join(row['trained_by_schedule'])}."
    if row["weights"]:
        yield f"Weights: huggingface.co/{row['weights']}."


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "\\|")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option("--write-docs", type=click.Path(path_type=Path, file_okay=False), help="Write the pages to this folder.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder whose plugins are listed.")
def main(as_json: bool, write_docs: Path | None, data_dir: Path | None) -> None:
    """What is declared: features, signals, models, calculators and the tables they fill."""
    data = catalog(data_dir or default_data_dir())
    if as_json:
        click.echo(json.dumps(data))
        return
    if write_docs:
        write_docs.mkdir(parents=True, exist_ok=True)
        for name, text in pages(data).items():
            (write_docs / name).write_text(text)
            click.echo(write_docs / name)
        return
    console = Console()
    for kind, rows in data.items():
        printed = Printed("name", "what it is", title=f"{len(rows)} {kind}", title_justify="left", expand=True)
        for row in rows:
            printed.add_row(row["name"], str(row.get("description") or row.get("title") or row.get("reason") or ""))
        if rows:
            console.print(printed)


if __name__ == "__main__":
    main()
