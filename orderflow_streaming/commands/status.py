"""``orderflow-stream status``: how the running daemon is doing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from orderflow_streaming.control import ask


@click.command("status")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the database.  [default: data]")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def command(data_dir: Path | None, config: Path | None, as_json: bool) -> None:
    """Say how the running daemon is doing. Exit code 5 where none runs."""
    status = ask("status", "read", data_dir=data_dir, config=config)
    click.echo(json.dumps(status, indent=2)) if as_json else _show(status)


def _show(status: dict[str, Any]) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    health, writer = status["health"], status["writer"]
    console.print(
        f"{status['status']}  up {status['uptime_hours']:.2f} h, {status['active_connections']} sockets, "
        f"{health['messages_per_second']:,.0f} messages/s, {health['records_per_minute']:,.0f} rows/min, "
        f"{health['records_ingested']:,} rows, {writer['pending_records']:,} pending, store {status['store']}",
        highlight=False,
    )
    for issue in status["issues"]:
        console.print(f"  ! {issue}", highlight=False, markup=False)
    table = Table(
        "market", "stream", "age s", "msg/min", "rows", "rows/min", "lag ms", "dup", "gaps", "rejected", "out"
    )
    for stream in status["streams"]:
        table.add_row(
            stream["market"],
            stream["stream"],
            _figure(stream["last_message_age_s"], 1),
            _figure(stream["messages_per_min"]),
            _figure(stream["rows_stored"]),
            _figure(stream["rows_per_min"]),
            _figure(stream["lag_ms_p50"]),
            *(_figure(stream[name]) for name in ("duplicates", "gaps", "rejected", "unavailable")),
        )
    console.print(table)


def _figure(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
