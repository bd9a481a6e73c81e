"""The server against what others made to judge servers; skipped where Node cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mcp import conformance
from tests.mcp.processes import stdio


@pytest.fixture(scope="module")
def node() -> None:
    if reason := conformance.missing(conformance.SUITE, conformance.INSPECTOR):
        pytest.skip(f"the conformance suite needs Node: {reason}")


@pytest.mark.slow
@pytest.mark.usefixtures("node")
def test_every_scored_scenario_of_the_official_suite_passes(tmp_path: Path) -> None:
    outcome = conformance.suite(tmp_path)
    assert outcome.passed, outcome.said
    assert outcome.counts.startswith("30 of 30 ")


@pytest.mark.slow
@pytest.mark.usefixtures("node")
def test_the_inspector_finds_no_error_in_any_schema(tmp_path: Path) -> None:
    outcome = conformance.strict_listing(tmp_path)
    assert outcome.passed, outcome.said
    assert outcome.counts == "no findings"


async def test_fixtures_are_listed_only_where_asked_for(tmp_path: Path) -> None:
    for flags, fixtures in (((), 0), (("--conformance",), 12)):
        async with stdio(tmp_path / "data", *flags) as session:
            names = [tool.name for tool in (await session.list_tools()).tools]
            assert sum(name.startswith("test_") for name in names) == fixtures
            prompts = [prompt.name for prompt in (await session.list_prompts()).prompts]
            assert any(name.startswith("test_") for name in prompts) is bool(fixtures)
