"""Asking about what is sealed: the same answers as before, whichever side the rows lie on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mcp.conftest import Ask, asking
from tests.streaming.archives import FIRST, FIRST_MS, HOUR_MS, Node, hour_of_everything, opened
from tests.streaming.messages import quote, trade

QUESTIONS: dict[str, Callable[[Ask], dict[str, Any]]] = {
    "newest trades of the last hour": lambda ask: ask("trades_recent", symbol="BTCUSDT", limit=5),
    "more trades than are hot": lambda ask: ask("trades_recent", symbol="BTCUSDT", limit=50),
    "trades of a sealed hour": lambda ask: ask(
        "trades_recent", symbol="BTCUSDT", start=f"{FIRST.isoformat()}Z", end=f"{FIRST.replace(minute=20).isoformat()}Z"
    ),
    "newest quote of every series": lambda ask: ask("price_latest"),
    "newest book": lambda ask: ask("book_latest", symbol="BTCUSDT"),
    "open interest": lambda ask: ask("open_interest_get", symbol="BTCUSDT"),
    "stored rows": lambda ask: ask("tables_list", schema_name="main"),
}


def answers(node: Node) -> dict[str, tuple[Any, ...]]:
    """What does not change from one moment to the next."""
    found = {name: question(asking(node.folder)) for name, question in QUESTIONS.items()}
    told = {}
    for name, answer in found.items():
        columns = [column for column in answer["columns"] if column != "age_s"]
        rows = [[row[answer["columns"].index(column)] for column in columns] for row in answer["rows"]]
        constants = {key: value for key, value in answer.get("constants", {}).items() if key != "age_s"}
        told[name] = (rows, columns, constants)
    return told


@pytest.fixture
def node(tmp_path: Path) -> Any:
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(*hour_of_everything(0), *hour_of_everything(1))
        node.store(*(trade(FIRST_MS + 2 * HOUR_MS + n, 5_000 + n) for n in range(20)))
        node.store(quote(FIRST_MS + 2 * HOUR_MS, 5_000))
        node.server.start()
        yield node
        node.server.stop()


def test_answers_are_the_same_when_hours_are_sealed_and_when_they_are_dropped(node: Node) -> None:
    before = answers(node)
    assert len(before["newest quote of every series"][0]) == 2, "one series is quiet since the hour before"
    for hour in (0, 1):
        node.seal(hour)
    assert answers(node) == before
    node.act("drop")
    assert node.count("hot.trades") == 20
    assert answers(node) == before
