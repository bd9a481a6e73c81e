"""``orderflow-stream alerts``: what waits for a person, and ``alerts ack``: it was seen."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from orderflow_streaming.control import ask, data_dir_option
from orderflow_streaming.exit_codes import CONFIGURATION, CommandError
from orderflow_streaming.settings import SettingsError, load
from orderflow_streaming.store import StoreError, connect
from orderflow_streaming.watching.alerts import ALERTS, OPEN


@click.group("alerts", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a line.")
@click.option("--all", "everything", is_flag=True, help="Also what is over or was acknowledged.")
@data_dir_option
@click.pass_context
def command(context: click.Context, as_json: bool, everything: bool, data_dir: Path | None) -> None:
    """List the alerts that wait for a person, the newest first. Works without a running daemon."""
    context.obj = data_dir
    if context.invoked_subcommand is None:
        rows = _alerts(data_dir, everything)
        if as_json:
            for row in rows:
                click.echo(json.dumps(row | {"details": json.loads(row["details"] or "{}")}, default=_iso))
        else:
            _show(rows, everything)


@command.command("ack")
@click.argument("alert_id", metavar="ID")
@click.option("--by", required=True, metavar="NAME", help="Who has seen it.")
@data_dir_option
@click.pass_obj
def acknowledge(outer: Path | None, alert_id: str, by: str, data_dir: Path | None) -> None:
    """Say that a person has seen the alert ID: it is not repeated. Exit code 5 where no daemon runs."""
    answer = ask("acknowledge", "write", {"id": alert_id, "by": by}, data_dir=data_dir or outer)
    click.echo(f"Alert {answer['acknowledged']} acknowledged by {answer['by']}.")


def _alerts(data_dir: Path | None, everything: bool) -> list[dict[str, Any]]:
    try:
        settings, _ = load(flags={"data_dir": data_dir})
        with connect(settings.data_dir) as store:
            if not store.exists(ALERTS):
                return []
            where = "true" if everything else OPEN
            return store.query(f"SELECT * FROM ops.alerts WHERE {where} ORDER BY timestamp DESC").to_pylist()
    except (SettingsError, StoreError) as error:
        raise CommandError(str(error), CONFIGURATION) from error


def _show(rows: list[dict[str, Any]], everything: bool) -> None:
    if not rows:
        click.echo("No alerts." if everything else "No alerts wait. Use --all for those that are over.")
        return
    console = Console(width=None if Console().is_terminal else 160)
    table = Table("id", "raised (UTC)", "level", "count", "message", "state")
    for row in rows:
        raised = row["timestamp"].strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(row["id"], raised, row["level"], str(row["count"] or 1), row["message"], _state(row))
    console.print(table)


def _state(row: dict[str, Any]) -> str:
    parts = [f"seen by {row['acknowledged_by']}"] if row["acknowledged"] else []
    parts += ["over"] if row["cleared_at"] else []
    return ", ".join(parts) or "open"


def _iso(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='milliseconds')}Z"
    raise TypeError(f"{value!r} is no JSON value")
