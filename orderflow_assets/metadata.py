"""What the Dagster pages say about a table: its key, columns, owner and code version."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

from dagster import (
    AssetKey,
    TableColumn,
    TableColumnConstraints,
    TableColumnDep,
    TableColumnLineage,
    TableConstraints,
    TableSchema,
)

from orderflow_assets.layer import Layer
from orderflow_assets.sources import fingerprint
from orderflow_streaming.tables import Column, Table

OWNERS = ["team:orderflow"]


def asset_key(qualified: str) -> AssetKey:
    """The asset of a table named ``schema.table``; the ticks in schema ``main`` are the assets ``raw/…``."""
    schema, name = qualified.split(".")
    return AssetKey(["raw" if schema == "main" else schema, name])


def table_metadata(table: Table) -> dict[str, Any]:
    """Definition metadata of the asset that is ``table``."""
    return {
        "dagster/table_name": table.qualified,
        "dagster/column_schema": column_schema(table),
        "time": table.time,
        "key": ", ".join(table.key),
    }


def column_schema(table: Table) -> TableSchema:
    """The declared columns with their units and meaning."""
    return TableSchema(
        columns=[_column(column) for column in table.columns],
        constraints=TableConstraints(other=[f"unique ({', '.join(table.key)})"]),
    )


def _column(column: Column) -> TableColumn:
    unit = f" [{column.unit}]" if column.unit else ""
    return TableColumn(
        column.name,
        column.type,
        description=f"{column.doc}{unit}",
        constraints=TableColumnConstraints(nullable=column.nullable),
    )


def column_lineage(layer: Layer) -> TableColumnLineage:
    """Which columns of its inputs each column of a table is made of."""
    return TableColumnLineage(
        {column: [_dependence(source) for source in sources] for column, sources in layer.lineage.items()}
    )


def _dependence(source: str) -> TableColumnDep:
    qualified, _, column = source.rpartition(".")
    return TableColumnDep(asset_key(qualified), column)


def table_version(table: Table, *sources: str) -> str:
    """Twelve hexadecimal digits that change with the declaration of ``table`` and with any of ``sources``."""
    declared = json.dumps(table.to_dict(), sort_keys=True)
    return hashlib.sha256("\0".join((declared, *sources)).encode()).hexdigest()[:12]


def layer_version(layer: Layer) -> str:
    """Version of a computed table: its declaration, all modules that compute it and the texts these were given."""
    given = inspect.getclosurevars(layer.compute).nonlocals if inspect.isfunction(layer.compute) else {}
    texts = [value for _, value in sorted(given.items()) if isinstance(value, str)]
    return table_version(layer.table, fingerprint(layer.compute.__module__), *texts, *layer.inputs)
