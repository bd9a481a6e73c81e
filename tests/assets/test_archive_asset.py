"""The archive in Dagster: an hour is sealed, proven, dropped and redone through a served store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetSelection,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    RunRequest,
    SkipReason,
    build_schedule_context,
    define_asset_job,
)

from orderflow_assets.definitions import build_defs
from orderflow_assets.defs.operations.archive import ARCHIVE_KEY, every_hour
from orderflow_assets.resources import StoreResource
from tests.assets.planted import partition
from tests.streaming.archives import FIRST, FIRST_MS, HOUR, Node, hour_of_everything, opened
from tests.streaming.messages import trade

WHOLE = AssetSelection.assets(ARCHIVE_KEY)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A served node with two hours of ticks."""
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(*hour_of_everything(0), *hour_of_everything(1))
        node.server.start()
        yield node
        node.server.stop()


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def run(
    node: Node,
    instance: DagsterInstance,
    hour: datetime,
    selection: AssetSelection = WHOLE,
    *,
    raise_on_error: bool = True,
) -> ExecuteInProcessResult:
    defs = build_defs({"store": StoreResource(data_dir=str(node.folder))})
    # By tag and not by argument: Dagster takes a partition key only of a job that computes an asset.
    job = define_asset_job("archive_again", selection, tags={"dagster/partition": partition(hour)})
    return (
        Definitions.merge(defs, Definitions(jobs=[job]))
        .resolve_job_def("archive_again")
        .execute_in_process(instance=instance, raise_on_error=raise_on_error)
    )


def figures(result: ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_an_hour_is_sealed_dropped_and_proven(node: Node, instance: DagsterInstance) -> None:
    result = run(node, instance, FIRST)
    assert result.success
    told, (rows, size) = figures(result), node.rows("SELECT sum(rows)::BIGINT, sum(bytes)::BIGINT FROM ops.archive")[0]
    assert told["dagster/partition_row_count"] == told["rows_dropped"] == rows
    assert told["bytes"] == size
    assert (told["files_written"], told["hours_dropped"], told["older_hours_not_sealed"]) == (8, 1, 1)
    assert {record.data["stream"]: record.data["sha256"] for record in told["files"].records} == dict(
        node.rows("SELECT stream, sha256 FROM ops.archive")
    )
    assert (node.count("hot.trades"), node.count("trades")) == (40, 80)
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed
    assert evaluation.metadata["files"].value == 8


def test_redoing_an_hour_takes_late_rows_in(node: Node, instance: DagsterInstance) -> None:
    run(node, instance, FIRST)
    node.store(trade(FIRST_MS + 1, 777))
    told = figures(run(node, instance, FIRST))
    assert told["files_written"] == 1
    assert node.rows("SELECT rows, version FROM ops.archive WHERE stream = 'trades'") == [(41, 2)]
    assert figures(run(node, instance, FIRST))["files_written"] == 0


def test_an_hour_without_rows_is_no_failure(node: Node, instance: DagsterInstance) -> None:
    told = figures(run(node, instance, FIRST - 5 * HOUR))
    assert (told["dagster/partition_row_count"], told["files_written"], told["bytes"]) == (0, 0, 0)


def test_a_damaged_file_is_found_by_the_check_and_by_sealing_again(
    node: Node, instance: DagsterInstance, tmp_path: Path
) -> None:
    run(node, instance, FIRST)
    ((path,),) = node.rows("SELECT path FROM ops.archive WHERE stream = 'trades'")
    (tmp_path / "archive" / path).write_bytes(b"torn")
    checked = run(node, instance, FIRST, selection=AssetSelection.checks_for_assets(ARCHIVE_KEY))
    (evaluation,) = checked.get_asset_check_evaluations()
    assert not evaluation.passed
    assert "is not the file that was sealed" in (evaluation.description or "")
    redone = run(node, instance, FIRST, raise_on_error=False)
    (failure,) = redone.get_step_failure_events()
    error = failure.step_failure_data.error
    assert error is not None
    assert "1 stream hours failed and keep their rows" in error.message


def test_the_schedule_asks_for_the_hours_that_wait(node: Node, instance: DagsterInstance, tmp_path: Path) -> None:
    def tick(data_dir: Path) -> list[RunRequest] | SkipReason:
        resources = {"store": StoreResource(data_dir=str(data_dir))}
        now = datetime.now(UTC)
        return every_hour(build_schedule_context(instance, scheduled_execution_time=now, resources=resources))

    requests = tick(node.folder)
    assert [request.partition_key for request in requests] == [partition(FIRST), partition(FIRST + HOUR)]
    for hour in range(2):
        node.seal(hour)
    assert "No closed hour waits" in tick(node.folder).skip_message
    assert "does not answer" in tick(tmp_path / "nowhere").skip_message
    with opened(tmp_path / "plain", None) as plain:
        plain.server.start()
        assert "No archive is configured" in tick(plain.folder).skip_message
        plain.server.stop()
