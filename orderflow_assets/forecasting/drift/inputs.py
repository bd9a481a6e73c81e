"""Whether the inputs of the models that serve, and their forecasts, have left what they were at deployment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.drift.distributions import adjusted, shift
from orderflow_assets.forecasting.drift.errors import MIN_RECENT, MIN_REFERENCE
from orderflow_assets.forecasting.drift.references import Reference, references
from orderflow_assets.forecasting.drift.samples import lately, recent_frame
from orderflow_assets.forecasting.drift.tables import INPUTS, REFERENCES
from orderflow_assets.forecasting.drift.thresholds import limit
from orderflow_assets.forecasting.drift.verdict import is_shifted
from orderflow_assets.forecasting.fitting import ModelError
from orderflow_assets.forecasting.frame import Frame, FrameError, Series, known_until, utc_now
from orderflow_assets.forecasting.registry import CHAMPION, Registry, RegistryError, Version
from orderflow_assets.forecasting.tables import FORECASTS
from orderflow_streaming.store import Store, Window

EVERY = timedelta(hours=1)
"""Time between two comparisons: a twenty-fourth of what is called recent."""


EVERYTHING = "all"
"""Named as the input of a version of which nothing could be compared."""


def check_inputs(store: Store, registry: Registry) -> pa.Table:
    """Compare the inputs of every champion and write the rows of ``models.drift_inputs``; returns those written.

    None are within :data:`EVERY` of the last comparison while the same versions serve. Naive takes no inputs.
    """
    store.ensure(FORECASTS, REFERENCES, INPUTS)
    champions = [version for version in registry.versions() if version.alias == CHAMPION]
    until = known_until(store)
    if until is None or not _due(store, champions):
        return INPUTS.arrow_schema.empty_table()
    rows = list(_compare_all(store, registry, champions, until))
    compared = [row for row in rows if row["ks_p"] is not None]
    for row, p in zip(compared, adjusted([row["ks_p"] for row in compared]), strict=True):
        row |= {"ks_p": p, "severity": _severity(row["ks_statistic"], p, row["psi"])}
    table = pa.Table.from_pylist(rows, INPUTS.arrow_schema)
    store.write(INPUTS, table, Window(datetime.fromtimestamp(0, UTC), datetime.now(UTC)))
    return table


def compare(values: np.ndarray, reference: Reference) -> dict[str, Any]:
    """Figures of the recent ``values`` of one input, NaN where it is not known, against its reference.

    The recent values are worth as many independent ones as so many of the reference: a day is too short to tell how
    long its values hang together, and a change within it looks as if they did.
    """
    known = values[np.isfinite(values)]
    figures: dict[str, Any] = {"recent": len(known), "reference_effective": reference.effective}
    figures["reference_median"] = reference.median
    if len(known) < MIN_RECENT:
        return figures | {"ks_p": None, "reason": f"{len(known)} recent values, {MIN_RECENT} are needed"}
    effective = len(known) * reference.effective / reference.count
    found = shift(known, reference.quantiles, effective, reference.effective)
    return figures | {
        "recent_effective": effective,
        "recent_median": float(np.median(known)),
        "ks_statistic": found.distance,
        "ks_p": found.p,
        "psi": found.psi,
        "jensen_shannon": found.jensen_shannon,
    }


def _severity(distance: float, p: float, psi: float) -> str:
    if not is_shifted(distance, p):
        return "NONE"
    return "MEDIUM" if psi > limit("psi") else "LOW"


def _due(store: Store, champions: list[Version]) -> bool:
    """Whether the last comparison is old or was of other versions."""
    last = store.query(f"SELECT DISTINCT series, target, version, checked_at FROM {INPUTS.qualified}").to_pylist()
    compared = {(row["series"], row["target"], row["version"]) for row in last}
    serving = {(version.series, version.target, version.version) for version in champions}
    return compared != serving or any(row["checked_at"] <= utc_now() - EVERY for row in last)


def _compare_all(
    store: Store, registry: Registry, champions: list[Version], until: datetime
) -> Iterator[dict[str, Any]]:
    checked_at = utc_now()
    for key, of_series in groupby(champions, lambda version: version.series):
        series = Series.parse(key)
        identity = {
            "series": key,
            "symbol": series.symbol,
            "exchange": series.exchange,
            "market_type": series.market_type,
            "checked_at": checked_at,
            "severity": "NONE",
        }
        try:
            frame: Frame | str = recent_frame(store, key, until)
        except FrameError as error:
            frame = str(error)
        for version in of_series:
            row = identity | {"target": version.target, "model": version.model, "version": version.version}
            yield from (row | figures for figures in _compare_version(store, registry, version, frame))


def _compare_version(
    store: Store, registry: Registry, version: Version, frame: Frame | str
) -> Iterator[dict[str, Any]]:
    """Figures of each input of one version; one row that says why where nothing can be compared."""
    nothing = {"input": EVERYTHING, "recent": 0, "ks_p": None}
    if isinstance(frame, str):
        yield nothing | {"reason": frame}
        return
    try:
        frozen = references(store, registry, version)
    except (FrameError, RegistryError, ModelError) as error:
        yield nothing | {"reason": f"no reference: {error}"}
        return
    if not frozen:
        yield nothing | {"reason": f"no reference: no input has {MIN_REFERENCE} values"}
    recent = lately(store, version, tuple((version.metrics or {}).get("columns", ())), frame)
    for name, reference in frozen.items():
        yield {"input": name} | compare(recent.get(name, np.array([])), reference)
