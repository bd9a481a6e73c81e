"""What a module is made of, and that its fingerprint says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderflow_assets import sources
from orderflow_assets.layers import LAYERS
from orderflow_assets.metadata import layer_version

PACKAGE = Path(sources.__file__).parent


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package ``orderflow_assets`` of four modules: one asks another, in a function a third, and a list of all."""
    folder = tmp_path / "orderflow_assets"
    (folder / "maths").mkdir(parents=True)
    texts = {
        "top.py": "from orderflow_assets.maths import (\n    sums,\n)\nfrom orderflow_assets.layers import LAYERS\n",
        "maths/__init__.py": "",
        "maths/sums.py": "def f():\n    from orderflow_assets.maths.deep import x\n    import numpy\n",
        "maths/deep.py": "x = 1\n",
        "maths/other.py": "",
        "layers.py": "from orderflow_assets.maths.other import *\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(sources, "_ROOT", tmp_path)
    caches = (sources.fingerprint, sources._imported, sources._file)
    for cached in caches:
        cached.cache_clear()
    yield folder
    for cached in caches:
        cached.cache_clear()


def test_imports_are_followed_but_not_into_lists(copy: Path) -> None:
    assert sources.reached("orderflow_assets.top") == {
        "orderflow_assets.top",
        "orderflow_assets.maths",
        "orderflow_assets.maths.sums",
        "orderflow_assets.maths.deep",
    }


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ("top.py", True),
        ("maths/sums.py", True),
        ("maths/deep.py", True),
        ("maths/other.py", False),
        ("layers.py", False),
    ],
)
def test_the_fingerprint_changes_with_what_is_reached(copy: Path, changed: str, differs: bool) -> None:
    before = sources.fingerprint("orderflow_assets.top")
    sources.fingerprint.cache_clear()
    with (copy / changed).open("a") as file:
        file.write("y = 2\n")
    assert (sources.fingerprint("orderflow_assets.top") != before) is differs


def test_every_import_of_the_package_is_seen() -> None:
    for file in PACKAGE.rglob("*.py"):
        module = ".".join(("orderflow_assets", *file.relative_to(PACKAGE).with_suffix("").parts))
        asked = {
            node.module
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("orderflow_assets")
        }
        assert asked <= sources._imported(module.removesuffix(".__init__")) | {"orderflow_assets"}, module


def test_a_layer_is_computed_by_what_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = next(layer for layer in LAYERS if layer.table.qualified == "features.trades")
    assert "orderflow_assets.features.grid" in sources.reached(layer.compute.__module__)
    before = layer_version(layer)
    monkeypatch.setattr("orderflow_assets.metadata.fingerprint", lambda module: f"other {module}")
    assert layer_version(layer) != before
    assert len({layer_version(layer) for layer in LAYERS}) == len(LAYERS)
