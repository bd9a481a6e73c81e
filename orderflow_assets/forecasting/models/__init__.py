"""The catalogue of models: one :class:`ModelSpec` each, with everything the rest derives from.

Adding a model is one entry in the file of its family.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec

from orderflow_assets.forecasting.models import deep, ensembles, foundation, learning, naive, statistical
from orderflow_assets.forecasting.models.naive import NAIVE
from orderflow_assets.forecasting.models.spec import ModelError, ModelSpec
from orderflow_assets.forecasting.models.weights import missing_weights

__all__ = ["NAIVE", "SPECS", "ModelError", "ModelSpec", "candidates", "missing", "resolve"]

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


def missing(spec: ModelSpec) -> str | None:
    """Why a model cannot be used in this installation, with what to do about it; None where it can be."""
    if spec.unavailable:
        return spec.unavailable
    absent = [name for name in spec.needs if find_spec(name) is None]
    if absent:
        return f"{spec.name} needs {', '.join(absent)}. Install it with: pip install 'orderflow[{spec.extra}]'"
    return missing_weights(spec) if spec.hub else None
