"""The code location: everything under ``defs/``, what it runs on, and the policies put on all of it.

A package ``defs/<domain>/`` with assets, checks, schedules, sensors or jobs at module level is picked up by itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from dagster import (
    AssetSpec,
    BetaWarning,
    Definitions,
    FreshnessPolicy,
    PreviewWarning,
    definitions,
    in_process_executor,
    load_definitions_from_package_module,
)

from orderflow_assets import defs as folder
from orderflow_assets.resources import StoreResource

warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)

FRESHNESS: dict[str, FreshnessPolicy] = {
    "raw": FreshnessPolicy.time_window(fail_window=timedelta(minutes=15), warn_window=timedelta(minutes=8)),
    **dict.fromkeys(
        ("bars", "features", "signals", "analytics", "forecasts"),
        FreshnessPolicy.time_window(fail_window=timedelta(hours=2), warn_window=timedelta(minutes=20)),
    ),
}
"""How old the newest event of an asset may be, by group. The running hour is refreshed every five minutes."""


def build_defs(overrides: Mapping[str, Any] | None = None) -> Definitions:
    """The whole code location; ``overrides`` replaces resources by key, ``{"store": StoreResource(data_dir=…)}``."""
    found = load_definitions_from_package_module(folder)
    # In process by default: a step in a run already going costs a tenth of a second, a process of its own three.
    wiring = Definitions(resources={"store": StoreResource(), **(overrides or {})}, executor=in_process_executor)
    return Definitions.merge(found, wiring).map_resolved_asset_specs(func=_with_freshness)


def _with_freshness(spec: AssetSpec) -> AssetSpec:
    policy = FRESHNESS.get(spec.group_name or "")
    return spec.replace_attributes(freshness_policy=policy) if policy and not spec.freshness_policy else spec


@definitions
def defs() -> Definitions:
    return build_defs()
