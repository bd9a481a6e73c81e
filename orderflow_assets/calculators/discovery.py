"""Where calculators come from: the modules of :mod:`orderflow_assets.calculators.builtin` and the plugin files.

A plugin is a ``*.py`` file in the folder that ``ORDERFLOW_PLUGINS`` names, else in ``plugins`` of the data folder. It
runs in this process with all its rights: trusted code. A file that cannot be used is reported and harms nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import os
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from orderflow_assets.calculators import builtin
from orderflow_assets.calculators.calculator import Calculator

PLUGINS_VARIABLE = "ORDERFLOW_PLUGINS"
PACKAGE = "orderflow_plugins"
"""Name under which plugin modules are known to Python."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin file that gives no calculator, or one that is not taken, and why."""

    file: str
    reason: str

    @property
    def name(self) -> str:
        """Name of the file."""
        return Path(self.file).name


@dataclass(frozen=True, slots=True)
class Found:
    """Calculators by name, and the plugin files that could not be used."""

    calculators: Mapping[str, Calculator]
    broken: tuple[Broken, ...] = ()
    plugins: frozenset[str] = frozenset()
    """Names of the calculators that come from plugin files."""

    def describe(self) -> list[dict[str, Any]]:
        """A plain row per calculator, in name order."""
        return [
            {**item.describe(), "plugin": Path(item.source).name if name in self.plugins else None}
            for name, item in sorted(self.calculators.items())
        ]


def plugins_folder(data_dir: Path | str) -> Path:
    """``$ORDERFLOW_PLUGINS``, else ``plugins`` in the data folder."""
    return Path(os.environ.get(PLUGINS_VARIABLE) or Path(data_dir) / "plugins")


@cache
def built_in() -> Found:
    """The calculators that come with the package; raises ValueError where two have one name."""
    found: dict[str, Calculator] = {}
    for module in pkgutil.iter_modules(builtin.__path__):
        for item in _declared(importlib.import_module(f"{builtin.__name__}.{module.name}")):
            if item.name in found:
                raise ValueError(f"two calculators are called {item.name!r}: {found[item.name].source}, {item.source}")
            found[item.name] = item
    return Found(found)


def discover(folder: Path) -> Found:
    """The built-in calculators and those of the plugin files in ``folder``, which need not exist."""
    known = built_in()
    calculators, broken = dict(known.calculators), []
    for file in _files(folder):
        try:
            for item in _loaded(file):
                if item.name in calculators:
                    raise ValueError(
                        f"the name {item.name!r} is taken by {calculators[item.name].source}; rename the function"
                    )
                calculators[item.name] = item
        except (Exception, SystemExit) as error:  # a plugin may raise anything while it is imported
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
            log.warning("plugin %s is left out: %s", file, reason)
            broken.append(Broken(str(file), reason))
    return Found(calculators, tuple(broken), frozenset(calculators.keys() - known.calculators.keys()))


def _files(folder: Path) -> list[Path]:
    """Plugin files in name order; what begins with an underscore is none."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))


def _loaded(file: Path) -> Iterable[Calculator]:
    """The calculators of a plugin file; raises whatever importing it raises, and ValueError where it has none."""
    name = f"{PACKAGE}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        found = _declared(module)
        if not found:
            raise ValueError("it declares no calculator: put @calculator(...) on a function")
    except BaseException:
        del sys.modules[name]
        raise
    return found


def _declared(module: ModuleType) -> list[Calculator]:
    """The calculators that ``module`` itself declares, each once."""
    items = {id(item): item for item in vars(module).values() if isinstance(item, Calculator)}
    return [item for item in items.values() if inspect.getmodule(item.function) is module]
