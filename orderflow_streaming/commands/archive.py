"""``orderflow-stream archive``: seal closed hours and drop what the retention allows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from orderflow_streaming.control import data_dir_option
from orderflow_streaming.exit_codes import CONFIGURATION, NOT_RUNNING, CommandError
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.settings import SettingsError, load
from orderflow_streaming.store import (
    InvalidActionError,
    Store,
    StoreAuthError,
    StoreError,
    StoreUnavailableError,
    connect,
)

_HOUR = timedelta(hours=1)
_NO_ARCHIVE = "no archive is configured. Set archive (a path or URL) or retention_hours, and start the daemon again."
_TIME = click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d-%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H", "%Y-%m-%d"])


@click.command("archive")
@click.option("--hour", type=_TIME, help="Seal this hour, UTC, again where rows came since.")
@click.option("--from", "start", type=_TIME, help="Seal the hours from here on, UTC.")
@click.option("--to", "end", type=_TIME, help="End of the hours, not included.  [default: the last hour that is over]")
@click.option("--drop/--no-drop", default=True, help="Drop what is sealed and older than retention_hours.")
@click.option("--status", is_flag=True, help="Only say what is sealed and what waits.")
@click.option("--json", "as_json", is_flag=True, help="Everything that was done, as JSON.")
@data_dir_option
def command(
    hour: datetime | None,
    start: datetime | None,
    end: datetime | None,
    drop: bool,
    status: bool,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Seal hours into the archive of the running daemon, without options all that wait for it.

    Each file is read back before it counts. Rows leave the database only with retention_hours set, and only when
    their file proves to hold them. Exit code 1 where an hour failed, 5 where no daemon runs.
    """
    try:
        settings, _ = load(flags={"data_dir": data_dir})
        with connect(settings.data_dir, scope="write", embedded=False) as store:
            told = store.action("archive_status")
            if not told["configured"]:
                raise CommandError(_NO_ARCHIVE, CONFIGURATION)
            if status:
                click.echo(json.dumps(told, indent=2)) if as_json else _show_status(told)
                return
            sealed = list(_sealed(store, _chosen(told, hour, start, end), quiet=as_json))
            dropped = store.action("drop") if drop else {"hours": [], "unsealed": []}
    except StoreUnavailableError as error:
        raise CommandError(str(error), NOT_RUNNING) from error
    except (SettingsError, StoreAuthError, InvalidActionError) as error:
        raise CommandError(str(error), CONFIGURATION) from error
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"sealed": sealed, "dropped": dropped["hours"], "unsealed": dropped["unsealed"]}))
    else:
        _show(told, sealed, dropped)
    failed = [outcome for outcome in (*sealed, *dropped["hours"]) if outcome["done"] == "failed"]
    if failed:
        why = "; ".join(dict.fromkeys(outcome["why"] for outcome in failed))
        raise click.ClickException(f"{len(failed)} stream hours failed and keep their rows: {why}")


def _chosen(
    told: dict[str, Any], hour: datetime | None, start: datetime | None, end: datetime | None
) -> list[datetime]:
    """The hours that were asked for."""
    for time in (hour, start, end):
        if time and (time.minute or time.second):
            raise CommandError(f"{time:%H:%M} is not the start of an hour. Give whole hours, UTC.", CONFIGURATION)
    if hour and (start or end):
        raise CommandError("give --hour alone, or --from with --to.", CONFIGURATION)
    if hour:
        return [hour]
    if end and not start:
        raise CommandError("--to needs --from.", CONFIGURATION)
    if not start:
        return [datetime.fromisoformat(text) for text in told["waiting"]]
    now = datetime.now(UTC).replace(tzinfo=None)
    until = min(end or now, now - _HOUR)
    hours, following = [], start
    while following < until:
        hours.append(following)
        following += _HOUR
    if not hours:
        raise CommandError(f"no hour from {start:%Y-%m-%d %H:%M} on is over. Give an earlier --from.", CONFIGURATION)
    return hours


def _sealed(store: Store, hours: list[datetime], *, quiet: bool) -> Iterator[dict[str, Any]]:
    columns = (TextColumn("sealing {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=len(hours) * len(STREAMS))
        for hour in hours:
            for stream in STREAMS:
                progress.update(task, description=f"{hour:%Y-%m-%d %H:%M} {stream}")
                body = {"hour": hour.isoformat(), "stream": stream}
                yield from store.action("seal", body)["hours"]
                progress.advance(task)


def _show(told: dict[str, Any], sealed: list[dict[str, Any]], dropped: dict[str, Any]) -> None:
    written = [outcome for outcome in sealed if outcome["done"].startswith("sealed")]
    gone = [outcome for outcome in dropped["hours"] if outcome["dropped"]]
    kept = sum(outcome["done"] == "unchanged" for outcome in sealed)
    click.echo(
        f"{told['archive']} as {told['node']}: {len(written)} files written, {sum(o['rows'] for o in written):,} rows, "
        f"{sum(o['bytes'] for o in written):,} bytes; {kept} were up to date"
    )
    if told["retention_hours"]:
        click.echo(
            f"dropped {sum(outcome['rows'] for outcome in gone):,} rows of {len(gone)} stream hours older than "
            f"{told['retention_hours']:g} h"
        )
    if dropped["unsealed"]:
        click.echo(f"{len(dropped['unsealed'])} older stream hours are not sealed and stay. Seal them: --from")


def _show_status(told: dict[str, Any]) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    kept = f"dropped after {told['retention_hours']:g} h" if told["retention_hours"] else "kept in the database"
    console.print(f"{told['archive']} as {told['node']}; sealed rows are {kept}", highlight=False)
    table = Table("node", "stream", "hours", "rows", "bytes", "dropped")
    for total in told["sealed"]:
        figures = (f"{total[name]:,}" for name in ("hours", "rows", "bytes", "dropped"))
        table.add_row(total["node"], total["stream"], *figures)
    console.print(table)
    waiting = told["waiting"]
    said = f"{len(waiting)} hours, {waiting[0]} to {waiting[-1]}" if waiting else "none"
    console.print(f"hours that wait to be sealed: {said}", highlight=False)
