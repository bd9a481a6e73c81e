"""Copies the registry into the store, where it can be joined with forecasts and asked by anyone."""

from __future__ import annotations

from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.tables import EVENTS, VERSIONS
from orderflow_streaming.store import Store, Window


def publish(store: Store, registry: Registry, series: str) -> None:
    """Replace the versions and events of a series by what the registry holds."""
    of_series = Window(equals={"series": series})
    store.write(VERSIONS, registry.to_arrow(series), of_series)
    store.write(EVENTS, registry.events_to_arrow(series), of_series)
