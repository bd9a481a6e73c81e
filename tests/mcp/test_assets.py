"""Asset states: the question fits Dagster's schema, and its answers are read right."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mcp_server.errors import ToolError
from mcp_server.tools.operations import GRAPHQL
from tests.mcp.conftest import asking
from tests.mcp.test_tools import cells


def _node(path: list[str], group: str, materialized: str | None, freshness: str | None, *states: str) -> dict[str, Any]:
    return {
        "assetKey": {"path": path},
        "groupName": group,
        "assetMaterializations": [{"timestamp": materialized}] if materialized else [],
        "freshnessStatusInfo": {"freshnessStatus": freshness} if freshness else None,
        "assetChecksOrError": {
            "__typename": "AssetChecks",
            "checks": [
                {"name": f"check_{number}", "executionForLatestMaterialization": {"status": state} if state else None}
                for number, state in enumerate(states)
            ],
        },
    }


NODES = [
    _node(["bars", "bars_1m"], "bars", "1793836800000", "HEALTHY", "SUCCEEDED", "FAILED", ""),
    _node(["raw", "trades"], "raw", None, "UNKNOWN"),
    _node(["models", "champions"], "models", None, None),
]


class Answers(BaseHTTPRequestHandler):
    body = json.dumps({"data": {"assetNodes": NODES}}).encode()

    def do_POST(self) -> None:
        assert self.path == "/graphql"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def dagster_url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_question_fits_the_schema_of_the_installed_dagster() -> None:
    pytest.importorskip("dagster_graphql", reason="Dagster is not installed")
    from dagster_graphql.schema import create_schema
    from graphql import parse, validate

    assert validate(create_schema().graphql_schema, parse(GRAPHQL)) == []


def test_state_freshness_checks_and_stored_rows_stand_side_by_side(
    planted: tuple[Path, datetime], dagster_url: str
) -> None:
    answer = asking(planted[0], dagster_url=dagster_url)("assets_status")
    assert cells(answer, "asset") == ["bars.bars_1m", "models.champions", "raw.trades"]
    assert cells(answer, "materialized_at") == ["2026-11-05T00:00:00Z", None, None]
    assert cells(answer, "freshness") == ["HEALTHY", None, "UNKNOWN"]
    assert cells(answer, "checks")[0] == {"SUCCEEDED": 1, "FAILED": 1, "NOT_RUN": 1}
    newest = f"{(planted[1] - timedelta(minutes=1)).isoformat()}Z"
    assert cells(answer, "newest_row") == [newest, None, newest]
    assert answer["meta"]["failing_checks"] == ["bars.bars_1m"]
    assert answer["meta"]["never_materialized"] == 2


def test_without_a_store_the_assets_still_have_a_state(tmp_path: Path, dagster_url: str) -> None:
    answer = asking(tmp_path, dagster_url=dagster_url)("assets_status", group="bars")
    assert cells(answer, "asset") == ["bars.bars_1m"]
    assert cells(answer, "newest_row") == [None]


def test_an_unknown_group_is_corrected(planted: tuple[Path, datetime], dagster_url: str) -> None:
    with pytest.raises(ToolError, match="'bars'"):
        asking(planted[0], dagster_url=dagster_url)("assets_status", group="bar")


def test_an_answer_that_is_no_graphql_is_an_error(planted: tuple[Path, datetime], dagster_url: str) -> None:
    Answers.body, body = b"<html>", Answers.body
    try:
        with pytest.raises(ToolError) as failure:
            asking(planted[0], dagster_url=dagster_url)("assets_status")
    finally:
        Answers.body = body
    assert failure.value.code == "dagster_unavailable"
