"""What the registry knows of a trained model: its origin, its evidence and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import pyarrow as pa

from orderflow_assets.forecasting.frame import Series
from orderflow_assets.forecasting.tables import EVENTS, VERSIONS
from orderflow_streaming.tables import Table


@dataclass(frozen=True, slots=True)
class Training:
    """What is known when training starts. Times are naive UTC; ``data_to`` is the last bar trained on."""

    series: str
    target: str
    model: str
    data_from: datetime
    data_to: datetime
    rows: int
    data_hash: str
    code_version: str
    parameters: dict[str, Any]
    frame_hash: str | None = None
    source_version: str | None = None
    library_versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timings:
    """Measured seconds: training, loading the stored model, and one forecast of all steps by the loaded one."""

    fit_s: float
    load_s: float
    predict_s: float
    device: str


@dataclass(frozen=True, slots=True)
class StepSkill:
    """How a version did at one step on the bars it was not trained on. ``rmae`` below 1 beats naive."""

    step: int
    origins: int
    rmae: float
    coverage_80: float | None
    coverage_95: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What training and asking one version took, for cost curves. ``rows`` are the bars it was trained on."""

    model: str
    target: str
    rows: int
    fit_s: float
    load_s: float
    predict_s: float
    device: str


@dataclass(frozen=True, slots=True)
class Version:
    """A trained model of one series and target."""

    series: str
    target: str
    version: int
    model: str
    status: str
    trained_at: datetime
    data_from: datetime
    data_to: datetime
    rows: int
    data_hash: str
    code_version: str
    parameters: dict[str, Any]
    metrics: dict[str, Any] | None
    reference: list[float] | None
    """Scaled absolute one-step errors on the held-out bars: what drift is measured against."""
    artefact_sha256: str | None
    reason: str | None
    frame_hash: str | None
    source_version: str | None
    library_versions: dict[str, str] | None
    fit_s: float | None
    load_s: float | None
    predict_s: float | None
    device: str | None
    alias: str | None
    since: datetime | None
    """When it got its alias."""

    @classmethod
    def of(cls, row: dict[str, Any]) -> Version:
        """The version in a row of the registry, where times and nested values are text."""
        for name in ("trained_at", "data_from", "data_to"):
            row[name] = datetime.fromisoformat(row[name])
        row["since"] = datetime.fromisoformat(row["since"]) if row["since"] else None
        for name in ("parameters", "metrics", "reference", "library_versions"):
            row[name] = msgspec.json.decode(row[name]) if row[name] else None
        return cls(**row)


def version_rows(versions: list[Version]) -> pa.Table:
    """Rows of ``models.versions``."""
    rows = [{name: getattr(version, name, None) for name in VERSIONS.names} for version in versions]
    for row in rows:
        row |= {
            name: msgspec.json.encode(row[name]).decode()
            for name in ("parameters", "metrics", "library_versions")
            if row[name] is not None
        }
    return _with_identity(rows, VERSIONS)


def event_rows(events: list[dict[str, Any]]) -> pa.Table:
    """Rows of ``models.events``."""
    return _with_identity([event | {"happened_at": datetime.fromisoformat(event["at"])} for event in events], EVENTS)


def _with_identity(rows: list[dict[str, Any]], table: Table) -> pa.Table:
    for row in rows:
        series = Series.parse(row["series"])
        row |= {"symbol": series.symbol, "exchange": series.exchange, "market_type": series.market_type}
    return pa.Table.from_pylist(rows, table.arrow_schema)
