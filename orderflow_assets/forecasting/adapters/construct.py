"""From a declaration to an instance of its class, its parameters checked by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from importlib import import_module
from typing import Any

from orderflow_assets.forecasting.models import SPECS, ModelError, ModelSpec

_REFUSALS = (AssertionError, KeyError, RuntimeError, TypeError, ValueError)
_WRAPPER = "darts.models:SKLearnModel"
"""The class that takes an estimator made beforehand, where others make their own."""


def import_class(path: str) -> Any:
    """The class at ``package.module:Name``, imported on use."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def construct(spec: ModelSpec, **given: Any) -> Any:
    """The untrained model. ``given`` are arguments that the adapter sets; a class that does not take one goes without.

    Raises :class:`ModelError` for a parameter that neither its class nor its estimator takes, or a value they refuse.
    """
    model_class = import_class(spec.path)
    own = _arguments(model_class)
    passed = {name: value for name, value in given.items() if name in own}
    taken = own | _arguments(import_class(spec.estimator)) if spec.estimator else own
    known = (taken.keys() | SPECS[spec.name].parameters.keys()) - given.keys() | {"lags"}
    if unknown := sorted(spec.parameters.keys() - known):
        raise ModelError(f"{spec.name} has no parameter {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
    with refusals_explained(spec):
        parameters = _enumerated(spec.parameters, own)
        if spec.estimator and spec.path == _WRAPPER:
            parameters = {"model": import_class(spec.estimator)(**parameters)}
        return model_class(**passed, **parameters)


@contextmanager
def refusals_explained(spec: ModelSpec) -> Iterator[None]:
    """Turns what the libraries of a model raise about its parameters or its data into a :class:`ModelError`."""
    try:
        yield
    except Exception as error:
        library = type(error).__module__.partition(".")[0].lstrip("_")
        if isinstance(error, _REFUSALS) or library in spec.needs:
            raise ModelError(f"{spec.name} refuses its parameters or the bars: {error}") from error
        raise


def _arguments(model_class: Any) -> dict[str, Any]:
    """Names and defaults of what a class and those it inherits from are constructed with."""
    found: dict[str, Any] = {}
    for ancestor in model_class.__mro__:
        if ancestor is not object and "__init__" in vars(ancestor):
            for name, argument in inspect.signature(ancestor.__init__).parameters.items():
                if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY) and name != "self":
                    found.setdefault(name, argument.default)
    return found


def _enumerated(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """``parameters`` with words turned into members where a class defaults to a member of an enumeration."""
    return {
        name: type(default)(value) if isinstance(default := arguments.get(name), Enum) else value
        for name, value in parameters.items()
    }
