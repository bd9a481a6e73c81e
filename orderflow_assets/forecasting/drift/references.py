"""The distribution of each input of a version, frozen when the version is first seen to serve."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.drift.distributions import effective_size
from orderflow_assets.forecasting.drift.errors import MIN_REFERENCE
from orderflow_assets.forecasting.drift.samples import at_deployment, judged_to
from orderflow_assets.forecasting.drift.tables import REFERENCES
from orderflow_assets.forecasting.frame import Series, utc_now
from orderflow_assets.forecasting.registry import Registry, Version
from orderflow_streaming.store import Store, Window

QUANTILES = 201
"""Quantiles kept of a sample: its distribution function to within half a percent."""


@dataclass(frozen=True, slots=True)
class Reference:
    """``quantiles`` stand for a sample of ``count`` values that are worth ``effective`` independent ones."""

    quantiles: np.ndarray
    count: int
    effective: float

    @property
    def median(self) -> float:
        return float(self.quantiles[len(self.quantiles) // 2])


def freeze(values: np.ndarray) -> Reference:
    """The reference of a sample without NaN."""
    return Reference(np.quantile(values, np.linspace(0, 1, QUANTILES)), len(values), effective_size(values))


def references(store: Store, registry: Registry, version: Version) -> dict[str, Reference]:
    """The frozen references of a version by input; frozen now where that has not been done.

    Inputs with fewer than :data:`MIN_REFERENCE` values have none. Raises what :func:`at_deployment` raises.
    """
    key = {"series": version.series, "target": version.target, "version": version.version}
    named = " AND ".join(f"{name} = ?" for name in key)
    sql = f"SELECT input, bars, quantiles, effective FROM {REFERENCES.qualified} WHERE {named}"
    stored = store.query(sql, list(key.values())).to_pylist()
    if stored:
        return {
            row["input"]: Reference(np.array(msgspec.json.decode(row["quantiles"])), row["bars"], row["effective"])
            for row in stored
        }
    known = {name: values[np.isfinite(values)] for name, values in at_deployment(store, registry, version).items()}
    enough = {name: values for name, values in known.items() if len(values) >= MIN_REFERENCE}
    frozen = {name: freeze(values) for name, values in enough.items()}
    if frozen:
        store.write(REFERENCES, _rows(version, frozen), Window(equals=key))
    return frozen


def _rows(version: Version, frozen: dict[str, Reference]) -> pa.Table:
    series, frozen_at = Series.parse(version.series), utc_now()
    rows = [
        {
            "series": version.series,
            "symbol": series.symbol,
            "exchange": series.exchange,
            "market_type": series.market_type,
            "target": version.target,
            "model": version.model,
            "version": version.version,
            "frozen_at": frozen_at,
            "input": name,
            "data_from": version.data_from,
            "data_to": judged_to(version),
            "bars": reference.count,
            "effective": reference.effective,
            "quantiles": msgspec.json.encode(reference.quantiles.tolist()).decode(),
        }
        for name, reference in frozen.items()
    ]
    return pa.Table.from_pylist(rows, REFERENCES.arrow_schema)
