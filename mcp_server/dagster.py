"""What is asked of Dagster's web server, in its GraphQL, and what goes wrong with that."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mcp_server import catalog
from mcp_server.context import Context
from mcp_server.errors import ToolError

IMPLICIT_JOB = "__ASSET_JOB"
"""Job by which Dagster materializes any assets."""

KEYS = "query { assetNodes { assetKey { path } } }"
NODE = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
  __typename
  ... on AssetNode {
    assetKey { path } isMaterializable isPartitioned partitionKeys jobNames repository { name location { name } }
  }
} }"""
LAUNCH = """
mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId status jobName } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on Error { message }
} }"""
BACKFILL = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename
  ... on LaunchBackfillSuccess { backfillId }
  ... on Error { message }
} }"""


def ask(context: Context, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The data of the answer; raises :class:`ToolError` where Dagster is away or cannot answer."""
    request = urllib.request.Request(
        f"{context.dagster_url.rstrip('/')}/graphql",
        json.dumps({"query": query, "variables": dict(variables or {})}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=context.left_s) as response:
            answer = json.load(response)
    except (OSError, urllib.error.URLError, ValueError):
        raise ToolError(
            "dagster_unavailable",
            "The Dagster web server does not answer.",
            "Start it with: dagster dev, or set ORDERFLOW_DAGSTER_URL. tables_list says how fresh the tables are.",
            retryable=True,
        ) from None
    data: dict[str, Any] | None = answer.get("data")
    if answer.get("errors") or not data:
        raise ToolError("dagster", "The Dagster web server could not answer.", "Look at its log.", retryable=True)
    return data


def path(asset: str) -> list[str]:
    """``bars.bars_1m`` or ``bars/bars_1m`` as the parts of a key."""
    return asset.strip().replace("/", ".").split(".")


def named(parts: Sequence[str]) -> str:
    return ".".join(parts)


def node(context: Context, asset: str) -> dict[str, Any]:
    """The asset as Dagster declares it; raises :class:`ToolError` with the nearest name."""
    found: dict[str, Any] = ask(context, NODE, {"key": {"path": path(asset)}})["assetNodeOrError"]
    if found["__typename"] == "AssetNode":
        return found
    known = ask(context, KEYS)["assetNodes"]
    raise catalog.unknown("asset", asset, sorted(named(one["assetKey"]["path"]) for one in known))


def launch(
    context: Context,
    of: Mapping[str, Any],
    job: str,
    partition: str | None,
    *,
    assets: Sequence[Sequence[str]] = (),
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Start a run of ``job`` of the repository of the asset ``of``; its id, status and job."""
    selector: dict[str, Any] = {
        "repositoryName": of["repository"]["name"],
        "repositoryLocationName": of["repository"]["location"]["name"],
        "jobName": job,
    }
    if assets:
        selector["assetSelection"] = [{"path": list(parts)} for parts in assets]
    tags = [{"key": "dagster/partition", "value": partition}] if partition else []
    params = {
        "selector": selector,
        "runConfigData": dict(config or {}),
        "mode": "default",
        "executionMetadata": {"tags": tags},
    }
    run: dict[str, Any] = _done(ask(context, LAUNCH, {"params": params})["launchRun"], "LaunchRunSuccess")["run"]
    return run


def backfill(context: Context, asset: Sequence[str], partitions: Sequence[str]) -> str:
    """Start to materialize many partitions; the id of the backfill."""
    params = {"assetSelection": [{"path": list(asset)}], "partitionNames": list(partitions)}
    answer = ask(context, BACKFILL, {"params": params})["launchPartitionBackfill"]
    return str(_done(answer, "LaunchBackfillSuccess")["backfillId"])


def _done(answer: dict[str, Any], success: str) -> dict[str, Any]:
    if answer["__typename"] == success:
        return answer
    said = answer.get("message") or "; ".join(error["message"] for error in answer.get("errors", ()))
    first = next(iter(said.splitlines()), answer["__typename"])
    raise ToolError("dagster", f"Dagster refused: {first[:300]}", "Nothing was started. Correct the arguments.")


def time_of(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as naive UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
