"""The example of docs/plugins.md, dropped into a folder: a Dagster asset, a tool over stdio, an entry everywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mcp_server.cli import main
from orderflow_assets.partitions import hourly
from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.assets.calculator_tape import END, plant
from tests.conftest import ROOT
from tests.mcp.processes import answer, environment, error, stdio

BROKEN = {
    "syntax": "def broken(:\n",
    "taken": "",
    "imports": "import no_such_package\n",
}
HOUR = (END.replace(hour=END.hour - 1)).strftime(hourly.fmt)
MATERIALIZE = f"""
import sys
from dagster import AssetKey, DagsterInstance, Definitions
from orderflow_assets.definitions import build_defs

defs = build_defs()
Definitions.validate_loadable(defs)
with DagsterInstance.ephemeral() as instance:
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[AssetKey(["calculators", "buying_share"])], partition_key="{HOUR}",
        run_config={{"ops": {{"calculators__buying_share": {{"config": {{"parameters": {{"hours": 2}}}}}}}}}})
    declared = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[AssetKey(["calculators", "declarations"])])
assert result.success and declared.success
print(defs.resolve_asset_graph().get(AssetKey(["calculators", "buying_share"])).description)
"""


def example() -> str:
    """The Python of the page's worked example."""
    page = (ROOT / "docs" / "plugins.md").read_text()
    found = re.search(r"`data/plugins/(\w+)\.py`:\n\n```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    assert found[1] == "buying_share"
    return found[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data folder of a running store, with the example and three plugins that are broken."""
    path = tmp_path_factory.mktemp("plugins") / "data"
    (path / "plugins").mkdir(parents=True)
    (path / "plugins" / "buying_share.py").write_text(example())
    for name, text in BROKEN.items():
        (path / "plugins" / f"{name}.py").write_text(text or example().replace("buying_share", "price_forecast"))
    engine = Engine(database_path(path), memory_limit="512MB")
    server = StoreServer(engine, path)
    server.start()
    with connect(path, scope="write") as store:
        plant(store)
    yield path
    server.stop()
    engine.close()


def stored(folder: Path, sql: str) -> list[dict[str, Any]]:
    with connect(folder) as store:
        return store.query(sql).to_pylist()


def test_after_a_reload_it_is_an_asset_that_materializes(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MATERIALIZE],
        capture_output=True,
        text=True,
        check=False,
        env=environment(ORDERFLOW_DATA_DIR=str(folder)),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("Share of the traded value that takers bought, over the last hours.")
    rows = stored(folder, "SELECT * FROM calculators.results WHERE symbol = 'BTCUSDT'")
    assert len(rows) == 1
    (share,) = stored(
        folder,
        f"""SELECT sum(taker_buy_quote) / sum(quote_volume) AS share FROM bars.bars_1m
        WHERE bar_ts <= TIMESTAMP '{END}' AND bar_ts > TIMESTAMP '{END}' - INTERVAL 2 HOUR""",
    )
    assert json.loads(rows[0]["data"])["share"] == pytest.approx(share["share"])
    assert rows[0]["as_of"] == END
    assert stored(folder, "SELECT type FROM calculators.signals")[0]["type"] == "BULLISH"
    empty = stored(folder, "SELECT errors FROM calculators.results WHERE symbol = 'WIFUSDT'")
    assert "no volume of WIFUSDT" in empty[0]["errors"]
    declared = {row["name"]: row for row in stored(folder, "SELECT * FROM calculators.declarations")}
    assert declared["buying_share"]["problem"] is None
    assert "is taken by" in declared["taken.py"]["problem"]
    assert "no_such_package" in declared["imports.py"]["problem"]
    assert declared["price_forecast"]["plugin"] is None


async def test_after_a_restart_it_is_a_tool_with_typed_arguments(folder: Path) -> None:
    async with stdio(folder, "--toolsets", "core,calculators") as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        schema = tools["calculate_buying_share"].inputSchema
        assert schema["properties"]["hours"]["maximum"] == 168
        assert schema["properties"]["threshold"]["exclusiveMaximum"] == 1
        assert "takers bought" in (tools["calculate_buying_share"].description or "")
        found = answer(await session.call_tool("calculate_buying_share", {"symbol": "BTCUSDT", "hours": 1}))
        share = dict(found["rows"])["share"]
        assert 0.85 < share < 0.95
        assert found["meta"]["signals"][0]["type"] == "BULLISH"
        refused = error(await session.call_tool("calculate_buying_share", {"symbol": "BTCUSDT", "hours": 0}))
        assert "from 1 to 168" in refused["remedy"]
        listed = answer(await session.call_tool("calculators_list", {}))
        place = {name: number for number, name in enumerate(listed["columns"])}
        problems = {row[place["plugin"]]: row[place["problem"]] for row in listed["rows"] if row[place["problem"]]}
        assert set(problems) == {f"{name}.py" for name in BROKEN}
        others = answer(await session.call_tool("calculate_volatility_regime", {"symbol": "BTCUSDT"}))
        assert others["rows"]
        words = answer(await session.call_tool("catalog_search", {"query": "buying share", "kind": "tool"}))
        assert "calculate_buying_share" in json.dumps(words)
    assert "no_such_package" in (folder.parent / "stderr.log").read_text()


def test_the_command_line_lists_it(folder: Path) -> None:
    done = CliRunner().invoke(main, ["tools", "--toolsets", "calculators", "--data-dir", str(folder)])
    assert done.exit_code == 0
    assert "calculate_buying_share" in done.stdout


def test_the_catalogue_has_it_and_what_is_left_out(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orderflow_assets.catalog", "--json", "--data-dir", str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        cwd=ROOT,
    )
    found = json.loads(done.stdout)
    entry = next(row for row in found["calculators"] if row["name"] == "buying_share")
    assert entry["plugin"] == "buying_share.py"
    assert [part["name"] for part in entry["parameters"]] == ["hours", "threshold"]
    assert {row["name"] for row in found["broken_plugins"]} == {f"{name}.py" for name in BROKEN}
