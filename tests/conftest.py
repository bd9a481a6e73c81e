"""Fixtures every test may use: the recorded material, a store with a served and an embedded face, and the account of
what faults cost, which is printed when the tests are over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.workermanage import WorkerController

from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.end_to_end.faults import Account

ROOT = Path(__file__).resolve().parents[1]
# How fast examples are made says something of the machine, not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Daemons of tests run side by side.
os.environ.setdefault("ORDERFLOW_HTTP_PORT", "0")

ACCOUNTS = pytest.StashKey[list[Account]]()
REAL_TIME = {"streaming", "mcp", "end_to_end"}
"""Folders whose tests wait for real sockets, processes and clocks."""
REQUIRED = os.environ.get("ORDERFLOW_REQUIRE_SHARED") == "1"


def _recorded(name: str) -> Path:
    folder = Path(os.environ.get("ORDERFLOW_SHARED", ROOT.parent / "shared")) / name
    if folder.is_dir():
        return folder
    reason = f"the recorded material is not here ({name}); set ORDERFLOW_SHARED to the folder that holds it"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a failed test of sockets and processes once more, and list it: one stalled machine is not two failures."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests") and item.path.relative_to(ROOT / "tests").parts[0] in REAL_TIME:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def wire() -> Path:
    """Folder of recorded exchange messages."""
    return _recorded("wire")


@pytest.fixture(scope="session")
def known_operations() -> Path:
    """Folder of the list of operations that people know by name."""
    return _recorded("spec")


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Folder of recorded candles."""
    return _recorded("market_data")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[StoreServer]:
    """A store served over Flight from this process; ``tmp_path`` is its data folder."""
    engine = Engine(database_path(tmp_path), memory_limit="512MB")
    server = StoreServer(engine, tmp_path)
    server.start()
    yield server
    server.stop()
    engine.close()


@pytest.fixture(params=["served", "embedded"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A writable store, once through the server and once opened in process."""
    if request.param == "served":
        request.getfixturevalue("served")
    with connect(tmp_path, scope="write") as store:
        yield store


@pytest.fixture(scope="session")
def accounts(request: pytest.FixtureRequest) -> list[Account]:
    """What the faults cost."""
    return request.config.stash.setdefault(ACCOUNTS, [])


@pytest.hookimpl
def pytest_sessionfinish(session: pytest.Session) -> None:
    if (sent := getattr(session.config, "workeroutput", None)) is not None:
        sent["accounts"] = [asdict(account) for account in session.config.stash.get(ACCOUNTS, [])]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    told = getattr(node, "workeroutput", {}).get("accounts", ())
    node.config.stash.setdefault(ACCOUNTS, []).extend(Account(**account) for account in told)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if accounts := terminalreporter.config.stash.get(ACCOUNTS, []):
        terminalreporter.section("what each fault cost")
        terminalreporter.write_line(Account.table(accounts))
