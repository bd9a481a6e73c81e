"""Tools for what Dagster does: what assets are made of, runs and their logs, and starting them with consent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from mcp_server import catalog, dagster
from mcp_server.arguments import Cursor, Limit
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer
from orderflow_streaming.tables import Column

TOOLSET = "dagster"
MOST_PARTITIONS = 1_000
SOURCE = "Dagster"
Asset = Annotated[str, Field(min_length=1, max_length=120, description="such as bars.bars_1m; assets_status lists")]
Key = Annotated[str, Field(min_length=1, max_length=120, description="partition key")]
Confirm = Annotated[str, Field(max_length=120, description="the asset's key again: the user agreed")]
Status = Literal["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "SUCCESS", "FAILURE", "CANCELING", "CANCELED"]

LINEAGE = "query { assetNodes { assetKey { path } groupName dependencyKeys { path } } }"
_LINEAGE = (
    Column("asset", "VARCHAR"),
    Column("direction", "VARCHAR", "upstream or downstream of the asset asked for"),
    Column("distance", "BIGINT", "least number of steps between them", "steps"),
    Column("group", "VARCHAR"),
    Column("made_of", "JSON", "assets it is made of"),
)


@tool(toolset=TOOLSET, open_world=True)
def asset_lineage(
    context: Context,
    asset: Asset,
    direction: Literal["upstream", "downstream", "both"] = "both",
    depth: Annotated[int, Field(ge=1, le=20)] = 1,
) -> Answer:
    """What a Dagster asset is made of (upstream) and what is made of it (downstream), up to depth steps away, nearest
    first. Use it to find where a wrong or stale figure comes from, or what a repair has to be followed by;
    assets_status says how fresh each one is, catalog_describe what its columns mean. Needs the Dagster web server."""
    nodes = {dagster.named(one["assetKey"]["path"]): one for one in dagster.ask(context, LINEAGE)["assetNodes"]}
    start = dagster.named(dagster.path(asset))
    if start not in nodes:
        raise catalog.unknown("asset", asset, sorted(nodes))
    made_of = {name: [dagster.named(key["path"]) for key in one["dependencyKeys"]] for name, one in nodes.items()}
    makes: dict[str, list[str]] = {name: [] for name in nodes}
    for name, inputs in made_of.items():
        for one in inputs:
            makes.setdefault(one, []).append(name)
    rows = []
    for side, steps in (("upstream", made_of), ("downstream", makes)):
        if direction in (side, "both"):
            reached = _reached(start, steps, depth)
            rows += [
                (name, side, distance, nodes.get(name, {}).get("groupName"), made_of.get(name, []))
                for name, distance in sorted(reached.items(), key=lambda item: (item[1], item[0]))
            ]
    limit = context.rows(context.max_rows)
    hint = None if rows else f"{start} has nothing {'on either side' if direction == 'both' else direction}."
    return Answer.rows(
        _LINEAGE, rows[:limit], source=SOURCE, truncated=len(rows) > limit, hint=hint, meta={"asset": start}
    )


def _reached(start: str, steps: Mapping[str, list[str]], depth: int) -> dict[str, int]:
    """What is at most ``depth`` steps from ``start``, with how many."""
    found = {start: 0}
    edge = [start]
    for distance in range(1, depth + 1):
        edge = [name for name in dict.fromkeys(n for one in edge for n in steps.get(one, ())) if name not in found]
        found |= dict.fromkeys(edge, distance)
    del found[start]
    return found


RUNS = """
query($filter: RunsFilter, $cursor: String, $limit: Int) {
  runsOrError(filter: $filter, cursor: $cursor, limit: $limit) {
    __typename
    ... on Runs { results {
      runId jobName status creationTime startTime endTime assetSelection { path } tags { key value }
    } }
    ... on Error { message }
} }"""
_RUNS = (
    *(Column(name, "VARCHAR") for name in ("run_id", "job", "status", "partition", "backfill")),
    Column("assets", "JSON", "assets asked for; NULL for all of the job's"),
    *(Column(name, "TIMESTAMP", unit="UTC") for name in ("created_at", "started_at", "ended_at")),
)


@tool(toolset=TOOLSET, open_world=True)
def runs_list(
    context: Context,
    run_id: Annotated[str, Field(max_length=64)] | None = None,
    job: Annotated[str, Field(max_length=120)] | None = None,
    status: Status | None = None,
    backfill: Annotated[str, Field(max_length=64, description="id that asset_backfill gave")] | None = None,
    limit: Limit = 20,
    cursor: Cursor | None = None,
) -> Answer:
    """Dagster runs, newest first: job, status, partition, assets, when they were created, started and ended. Poll a run
    that was started here by its run_id, or all runs of a backfill by its id. SUCCESS, FAILURE and CANCELED are final.
    run_log says what a run said and why it failed. Assets without own runs: assets_status. Times UTC."""
    limit = context.rows(limit)
    wanted: dict[str, Any] = {"runIds": [run_id] if run_id else None, "pipelineName": job}
    wanted |= {"statuses": [status] if status else None}
    wanted |= {"tags": [{"key": "dagster/backfill", "value": backfill}] if backfill else None}
    chosen = {name: value for name, value in wanted.items() if value is not None}
    asked = {"filter": chosen, "cursor": cursor, "limit": limit + 1}
    answer = dagster.ask(context, RUNS, asked)["runsOrError"]
    if answer["__typename"] != "Runs":
        raise ToolError("argument", f"Dagster: {answer['message'][:200]}", "Send meta.next_cursor as cursor.")
    found = answer["results"]
    ids = [run["runId"] for run in found]
    return Answer.rows(
        _RUNS,
        [_run(run) for run in found[:limit]],
        source=SOURCE,
        time="created_at",
        truncated=len(found) > limit,
        cursor=lambda index: ids[index],
        hint=None if found else "There is no such run.",
    )


def _run(run: Mapping[str, Any]) -> tuple[Any, ...]:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    times = (dagster.time_of(run[name]) for name in ("creationTime", "startTime", "endTime"))
    chosen = run["assetSelection"]
    assets = None if chosen is None else [dagster.named(key["path"]) for key in chosen]
    where = (tags.get("dagster/partition"), tags.get("dagster/backfill"))
    return (run["runId"], run["jobName"], run["status"], *where, assets, *times)


LOG = """
query($run: ID!, $after: String, $limit: Int) { logsForRun(runId: $run, afterCursor: $after, limit: $limit) {
  __typename
  ... on EventConnection {
    events { ... on MessageEvent { timestamp level message stepKey eventType } ... on ErrorEvent { error { message } } }
    cursor hasMore
  }
  ... on Error { message }
} }"""
_LOG = (
    Column("timestamp", "TIMESTAMP", unit="UTC"),
    *(Column(name, "VARCHAR") for name in ("level", "event", "step", "message", "error")),
)


@tool(toolset=TOOLSET, open_world=True)
def run_log(
    context: Context,
    run_id: Annotated[str, Field(min_length=1, max_length=64)],
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Answer:
    """What a Dagster run said, oldest first, page by page: level, event, step, message, and error where something
    failed. Use it to see why a run from runs_list failed or how far it is; a run that goes on has more to say later.
    For failing checks of an asset use assets_status. Needs the Dagster web server. timestamp is clock time, UTC."""
    asked = {"run": run_id, "after": cursor, "limit": context.rows(limit)}
    answer = dagster.ask(context, LOG, asked)["logsForRun"]
    if answer["__typename"] != "EventConnection":
        raise ToolError("argument", f"run_id: {run_id!r} is no run.", "runs_list lists runs.")
    rows = [
        (
            dagster.time_of(float(event["timestamp"]) / 1_000),
            event["level"],
            event["eventType"],
            event["stepKey"],
            event["message"],
            (event.get("error") or {}).get("message"),
        )
        for event in answer["events"]
    ]
    return Answer.rows(
        _LOG,
        rows,
        source=SOURCE,
        time="timestamp",
        truncated=answer["hasMore"],
        cursor=lambda index: answer["cursor"],
        meta={"run_id": run_id},
        hint=None if rows else "The run has not said anything more yet.",
    )


STARTED = (
    *(Column(name, "VARCHAR") for name in ("run_id", "job", "status", "partition")),
    Column("follow", "VARCHAR", "how to see what becomes of it"),
)


def started(run: Mapping[str, Any], partition: str | None, meta: dict[str, Any]) -> Answer:
    """What a tool answers that started a run."""
    follow = f"runs_list(run_id='{run['runId']}'), run_log(run_id='{run['runId']}')"
    row = (run["runId"], run["jobName"], run["status"], partition, follow)
    return Answer.rows(STARTED, [row], source=SOURCE, meta=meta)


def consent(confirm: str, wanted: str) -> None:
    """Raises :class:`ToolError` where ``confirm`` does not repeat what is to be started."""
    if confirm.strip().replace("/", ".") != wanted:
        raise ToolError(
            "consent", f"confirm: {confirm[:80]!r} does not repeat {wanted!r}.", "Ask the user, then send it."
        )


@tool(toolset=TOOLSET, writes=True, open_world=True)
def asset_materialize(context: Context, asset: Asset, confirm: Confirm, partition: Key | None = None) -> Answer:
    """Start a Dagster run that computes one asset anew and replaces its rows, and answer at once with the run's id.
    confirm repeats the asset's key once the user has agreed. A partitioned asset needs partition: an hour such as
    2026-11-24-09:00, a day, or a series such as BTCUSDT|binance_futures. Follow it with runs_list and run_log; for many
    partitions use asset_backfill."""
    found = dagster.node(context, asset)
    name = dagster.named(found["assetKey"]["path"])
    _materializable(found, name)
    if found["isPartitioned"]:
        if partition is None:
            raise ToolError("argument", f"{name} is partitioned.", f"Name one: {_examples(found)}.")
        _known_partition(found, partition)
    elif partition is not None:
        raise ToolError("argument", f"{name} has no partitions.", "Leave partition out.")
    consent(confirm, name)
    job = next(one for one in found["jobNames"] if one.startswith(dagster.IMPLICIT_JOB))
    run = dagster.launch(context, found, job, partition, assets=[found["assetKey"]["path"]])
    return started(run, partition, {"asset": name})


_BACKFILL = (
    Column("backfill", "VARCHAR"),
    Column("partitions", "BIGINT", "partitions asked for", "count"),
    *(Column(name, "VARCHAR") for name in ("first", "last", "follow")),
)


@tool(toolset=TOOLSET, writes=True, open_world=True)
def asset_backfill(context: Context, asset: Asset, first: Key, last: Key, confirm: Confirm) -> Answer:
    """Start to compute the partitions of an asset from first to last (both included, at most 1,000) anew, in Dagster
    runs, and answer at once with the backfill's id. confirm repeats the asset's key once the user has agreed. Hours
    look like 2026-11-24-09:00, days like 2026-11-24. Follow it with runs_list(backfill=id); for one partition use
    asset_materialize."""
    found = dagster.node(context, asset)
    name = dagster.named(found["assetKey"]["path"])
    _materializable(found, name)
    if not found["isPartitioned"]:
        raise ToolError("argument", f"{name} has no partitions.", "Use asset_materialize.")
    keys = found["partitionKeys"]
    begin, end = (keys.index(_known_partition(found, key)) for key in (first, last))
    chosen = keys[begin : end + 1]
    if not 0 < len(chosen) <= MOST_PARTITIONS:
        raise ToolError("argument", f"From {first} to {last} are {len(chosen)} partitions.", "Take 1 to 1,000.")
    consent(confirm, name)
    made = dagster.backfill(context, found["assetKey"]["path"], chosen)
    row = (made, len(chosen), chosen[0], chosen[-1], f"runs_list(backfill='{made}')")
    return Answer.rows(_BACKFILL, [row], source=SOURCE, meta={"asset": name})


def _materializable(found: Mapping[str, Any], name: str) -> None:
    if not found["isMaterializable"]:
        raise ToolError(
            "argument", f"{name} is not computed by Dagster: the daemon writes it.", "Choose one made of it."
        )


def _known_partition(found: Mapping[str, Any], key: str) -> str:
    if key not in found["partitionKeys"]:
        raise ToolError("argument", f"{key[:80]!r} is no partition.", f"Partitions: {_examples(found)}.")
    return key


def _examples(found: Mapping[str, Any]) -> str:
    """The newest partition keys, in words."""
    keys = found["partitionKeys"]
    return ", ".join(keys[-3:]) or "there are none yet"
