"""The product's own modules a module is made of: itself and what it imports, directly and through others."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

PACKAGE = "orderflow_assets"
LISTS = frozenset({f"{PACKAGE}.layers", f"{PACKAGE}.features.catalog"})
"""Modules that name what there is and compute nothing: who looks a table up there is not made of all of them."""

_IMPORT = re.compile(rf"^\s*from ({PACKAGE}[\w.]*) import (\([^)]*\)|.*)$", re.MULTILINE)
_ROOT = Path(__file__).parent.parent


@cache
def fingerprint(module: str) -> str:
    """A hash of the source of ``module`` and of all modules of the package it reaches by importing."""
    text = hashlib.sha256()
    for name in sorted(reached(module)):
        text.update(name.encode())
        text.update(_source(name))
    return text.hexdigest()


def reached(module: str) -> frozenset[str]:
    """``module`` and the modules of the package that it imports, those inside its functions included."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in LISTS:
            found.add(name)
            waiting.extend(_imported(name))
    return frozenset(found)


@cache
def _imported(module: str) -> frozenset[str]:
    """``from a import b`` means the module a, and a.b if that is one."""
    found = [(match[1], re.findall(r"\w+", match[2])) for match in _IMPORT.finditer(_source(module).decode())]
    meant = {owner for owner, _ in found} | {f"{owner}.{name}" for owner, names in found for name in names}
    return frozenset(name for name in meant if _file(name))


def _source(module: str) -> bytes:
    file = _file(module)
    if file is None:
        raise ValueError(f"no source of {module} beside {PACKAGE}; a layer is computed by a module of the product.")
    return file.read_bytes()


@cache
def _file(module: str) -> Path | None:
    path = _ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
