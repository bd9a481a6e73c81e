"""The catalogue of models: one :class:`ModelSpec` each, with everything the rest derives from.

Adding a model is one entry in the file of its family.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from orderflow_assets.forecasting.models import deep, ensembles, foundation, learning, naive, statistical
from orderflow_assets.forecasting.models.naive import NAIVE
from orderflow_assets.forecasting.models.spec import ModelError, ModelSpec
from orderflow_assets.forecasting.models.weights import missing_weights

__all__ = ["NAIVE", "SPECS", "ModelError", "ModelSpec", "candidates", "describe", "missing", "resolve"]

_FAMILIES = (naive, statistical, learning, deep, foundation, ensembles)
SPECS: Mapping[str, ModelSpec] = {spec.name: spec for family in _FAMILIES for spec in family.MODELS}
_BY_ALIAS = {alias: spec for spec in SPECS.values() for alias in spec.aliases}


def candidates(target: str) -> list[ModelSpec]:
    """The models that every scheduled training of a target trains."""
    return [spec for spec in SPECS.values() if target in spec.trained]


def resolve(name: str) -> ModelSpec:
    """The model of a name or an alias. Raises :class:`ModelError` with the nearest names."""
    spec = SPECS.get(name) or _BY_ALIAS.get(name)
    if spec is None:
        near = get_close_matches(name, [*SPECS, *_BY_ALIAS], n=3, cutoff=0.5)
        meant = f" Did you mean {', '.join(near)}?" if near else ""
        raise ModelError(f"there is no model {name!r}.{meant} All are listed by: python -m orderflow_assets.catalog")
    return spec


def describe(spec: ModelSpec) -> dict[str, Any]:
    """A model as a plain row. ``available`` is whether it can be used in this installation, ``reason`` why not."""
    reason = missing(spec)
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "family": spec.family,
        "description": spec.doc,
        "targets": list(spec.targets),
        "trained_by_schedule": list(spec.trained),
        "class": spec.path or None,
        "fed": spec.feed,
        "covariates": list(spec.covariates),
        "past_covariates": spec.past,
        "future_covariates": spec.future,
        "static_covariates": spec.static,
        "multivariate": spec.multivariate,
        "probabilistic": spec.probabilistic,
        "gpu": spec.gpu,
        "looks_back_bars": spec.lags + 1,
        "least_bars": spec.least_bars,
        "parameters": dict(spec.parameters),
        "extra": spec.extra,
        "needs": list(spec.needs),
        "weights": spec.hub or None,
        "unavailable": spec.unavailable,
        "available": reason is None,
        "reason": reason,
        "code_version": spec.code_version,
    }


def missing(spec: ModelSpec) -> str | None:
    """Why a model cannot be used in this installation, with what to do about it; None where it can be."""
    if spec.unavailable:
        return spec.unavailable
    absent = [name for name in spec.needs if find_spec(name) is None]
    if absent:
        return f"{spec.name} needs {', '.join(absent)}. Install it with: pip install 'orderflow[{spec.extra}]'"
    return missing_weights(spec) if spec.hub else None
