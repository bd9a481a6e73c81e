"""``python -m orderflow_assets.catalog``: everything that is declared, and the pages made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orderflow_assets.catalog import catalog, main, pages
from orderflow_assets.layers import LAYERS

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    return catalog(tmp_path_factory.mktemp("no_plugins"))


def test_it_counts_what_there_is(data: dict[str, list[dict[str, Any]]]) -> None:
    kinds = [row["kind"] for row in data["features"]]
    assert kinds.count("feature") == 139
    assert kinds.count("addition") == 19
    assert len(data["signals"]) == 15
    assert len(data["calculators"]) >= 11
    assert [row["name"] for row in data["tables"]] == [layer.table.qualified for layer in LAYERS]
    names = [(row["calculator"], row["name"]) for row in data["features"]]
    assert len(set(names)) == len(names)


def test_every_feature_says_everything(data: dict[str, list[dict[str, Any]]]) -> None:
    for row in data["features"]:
        told = ("name", "calculator", "table", "stream", "unit", "window", "description")
        assert not [key for key in told if not row[key]], row
        if row["kind"] == "feature":
            assert row["range"], row
            assert row["source"], row


def test_every_model_says_what_it_can_and_whether_it_is_there(data: dict[str, list[dict[str, Any]]]) -> None:
    families = {row["family"] for row in data["models"]}
    assert families == {"naive", "statistical", "learning", "deep", "ensemble", "foundation"}
    for row in data["models"]:
        told = ("name", "description", "targets", "least_bars", "looks_back_bars", "code_version")
        assert not [key for key in told if not row[key]], row
        assert row["available"] == (row["reason"] is None), row
        assert {"past_covariates", "future_covariates", "multivariate", "probabilistic", "gpu", "extra"} <= row.keys()
    assert len(data["models"]) >= 38


def test_json_is_for_scripts(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--json", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert {"features", "signals", "models", "calculators"} <= set(json.loads(result.output))


def test_a_person_gets_tables(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "158 features" in result.output
    assert "hurst_exponent" in result.output


def test_the_written_pages_are_current(data: dict[str, list[dict[str, Any]]]) -> None:
    for name, text in pages(data).items():
        assert (REFERENCE / name).read_text() == text, (
            f"docs/reference/{name} is stale: python -m orderflow_assets.catalog --write-docs docs/reference"
        )


def test_a_broken_plugin_is_listed(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "wrong.py").write_text("def (:\n")
    (broken,) = catalog(tmp_path)["broken_plugins"]
    assert broken["name"] == "wrong.py"
    assert "invalid syntax" in broken["reason"]
