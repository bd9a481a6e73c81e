"""``python -m orderflow_assets.backfill FROM TO``: computes a range of hours again, through the running Dagster.

It asks the web server for the same backfill as the button in the browser: runs of at most a day each, in order.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click
from dagster import AssetKey, AssetSelection

from orderflow_assets.partitions import hour_of, hourly
from orderflow_streaming.exit_codes import CONFIGURATION, NOT_RUNNING, CommandError

WEBSERVER = "http://127.0.0.1:3000"
SELECTION = "group:bars or group:features or group:signals or group:analytics"

_LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on PartitionKeysNotFoundError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill {
      status
      error { message }
      assetBackfillData {
        assetBackfillStatuses {
          ... on AssetPartitionsStatusCounts {
            numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed numPartitionsInProgress
          }
        }
      }
    }
    ... on PythonError { message }
  }
}
"""
FAILED = 1
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]
_RUNNING = {"REQUESTED", "CANCELING", "FAILING"}


def hours_between(start: datetime, end: datetime) -> list[str]:
    """Partition keys of the hours that begin in ``[start, end)``; raises CommandError where there are none."""
    keys = [key for key in hourly.get_partition_keys() if start <= hour_of(key) < end]
    if not keys:
        raise CommandError(
            f"no hour begins between {start} and {end} UTC. The hours run from {hourly.get_first_partition_key()} to "
            f"{hourly.get_last_partition_key()}.",
            CONFIGURATION,
        )
    return keys


def launch(webserver: str, keys: list[AssetKey], hours: list[str]) -> str:
    """Ask for the backfill and return its id."""
    params = {"partitionNames": hours, "assetSelection": [{"path": list(key.path)} for key in keys]}
    answer = _ask(webserver, _LAUNCH, {"params": params})["launchPartitionBackfill"]
    if "backfillId" not in answer:
        raise CommandError(f"Dagster refused: {answer.get('message', answer['__typename'])}", CONFIGURATION)
    return answer["backfillId"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a backfill is, in asset hours."""

    status: str
    done: int
    failed: int
    asked: int

    def __str__(self) -> str:
        return f"{self.done} of {self.asked} asset hours computed, {self.failed} failed"


def follow(webserver: str, backfill: str, *, every_s: float = 2.0) -> Iterator[Progress]:
    """The progress every few seconds, until the backfill has ended."""
    while True:
        answer = _ask(webserver, _STATUS, {"id": backfill})["partitionBackfillOrError"]
        if "status" not in answer:
            raise CommandError(f"backfill {backfill}: {answer.get('message', answer['__typename'])}", CONFIGURATION)
        counts = (answer["assetBackfillData"] or {"assetBackfillStatuses": []})["assetBackfillStatuses"]
        done, failed, asked = (
            sum(count.get(name, 0) for count in counts)
            for name in ("numPartitionsMaterialized", "numPartitionsFailed", "numPartitionsTargeted")
        )
        yield Progress(answer["status"], done, failed, asked)
        if answer["status"] not in _RUNNING:
            return
        time.sleep(every_s)


def _ask(webserver: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{webserver}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
    except (urllib.error.URLError, TimeoutError) as error:
        raise CommandError(
            f"Dagster does not answer at {webserver} ({error}). Start it with: dagster dev", NOT_RUNNING
        ) from error
    if answer.get("errors"):
        raise CommandError(f"Dagster refused: {answer['errors'][0]['message']}", CONFIGURATION)
    return answer["data"]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("start", type=click.DateTime(_FORMATS), metavar="FROM")
@click.argument("end", type=click.DateTime(_FORMATS), metavar="TO")
@click.option("--select", default=SELECTION, show_default=True, help="Assets, as Dagster selects them.")
@click.option("--webserver", default=WEBSERVER, show_default=True, help="Address of the running Dagster.")
def main(start: datetime, end: datetime, select: str, webserver: str) -> None:
    """Compute the hours that begin in [FROM, TO), UTC, again and wait for the end."""
    from orderflow_assets.definitions import build_defs

    graph = build_defs().resolve_asset_graph()
    chosen = AssetSelection.from_string(select).resolve(graph)
    keys = sorted(key for key in chosen if graph.get(key).is_materializable and graph.get(key).partitions_def == hourly)
    if not keys:
        raise CommandError(f"{select!r} selects no asset that is computed by the hour.", CONFIGURATION)
    hours = hours_between(start, end)
    click.echo(f"{len(keys)} assets, {len(hours)} hours: {hours[0]} to {hours[-1]} UTC")
    backfill = launch(webserver, keys, hours)
    click.echo(f"{webserver}/runs/b/{backfill}")
    said = ""
    for progress in follow(webserver, backfill):
        if str(progress) != said:
            said = str(progress)
            click.echo(f"{datetime.now(UTC):%H:%M:%S} {said}")
    if progress.status != "COMPLETED_SUCCESS":
        raise CommandError(f"the backfill ended as {progress.status}: {progress}.", FAILED)


if __name__ == "__main__":
    main()
