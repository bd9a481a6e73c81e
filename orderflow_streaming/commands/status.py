"""``orderflow-stream status``: how the running daemon is doing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from orderflow_streaming.control import ask, data_dir_option
from orderflow_streaming.exit_codes import CONFIGURATION, CommandError
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.markets import market as known_market

_MARKETS = {
    "sockets": "sockets",
    "tables": "filled",
    "msg/min": "messages_per_min",
    "rows": "rows_stored",
    "rows/min": "rows_per_min",
    "dup": "duplicates",
    "gaps": "gaps",
    "resyncs": "resyncs",
    "reconn": "reconnects",
    "rejected": "rejected",
    "dropped": "dropped",
    "refused": "refused",
}
_STREAMS = {
    "symbols": "symbols",
    "age s": "last_message_age_s",
    "msg/min": "messages_per_min",
    "rows": "rows_stored",
    "rows/min": "rows_per_min",
    "lag p50": "lag_ms_p50",
    "p99 ms": "lag_ms_p99",
    "dup": "duplicates",
    "gaps": "gaps",
    "resyncs": "resyncs",
    "reconn": "reconnects",
    "rejected": "rejected",
    "refused": "refused",
}
_SHOWN = 5
"""Names of tables and issues of one kind that are listed; --json has all."""


@click.command("status")
@click.option("--market", "-m", help="Only this market.")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@data_dir_option
def command(market: str | None, data_dir: Path | None, config: Path | None, as_json: bool) -> None:
    """Say how the running daemon is doing: a line per market, and one per market and stream. Exit code 5 where none
    runs."""
    try:
        name = known_market(market).name if market else None
    except UnknownNameError as error:
        raise CommandError(str(error), CONFIGURATION) from error
    status = ask("status", "read", data_dir=data_dir, config=config)
    if name is not None:
        status = _of_market(status, name)
    click.echo(json.dumps(status, indent=2)) if as_json else _show(status)


def _of_market(status: dict[str, Any], market: str) -> dict[str, Any]:
    kept = {
        kind: [entry for entry in status[kind] if entry["market"] == market]
        for kind in ("markets", "sockets", "streams", "unavailable")
    }
    tables = {
        kind: [name for name in names if f"_{market}_" in name] if isinstance(names, list) else names
        for kind, names in status["tables"].items()
    }
    issues = [issue for issue in status["issues"] if issue.startswith(market)]
    return {**status, **kept, "tables": tables, "issues": issues}


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
    for line in _differences(status["tables"]):
        console.print(f"  {line}", highlight=False, markup=False)
    if len(status["markets"]) > 1:
        console.print(_table(["market"], _MARKETS, [_with_totals(market) for market in status["markets"]]))
    console.print(_table(["market", "stream"], _STREAMS, status["streams"]))


def _differences(tables: Mapping[str, Any]) -> list[str]:
    lines = []
    for kind, meaning in (
        ("unlisted", "tables expected of symbols the venue does not list"),
        ("refused", "tables of topics the venue refuses"),
        ("unexpected", "tables of symbols the venue lists and that were not expected"),
    ):
        if names := tables[kind]:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"{len(names)} {meaning}: {', '.join(names[:_SHOWN])}{more}")
    return lines


def _with_totals(market: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **market,
        "sockets": f"{market['connected']}/{market['sockets']}",
        "filled": f"{market['filled']}/{market['tables']}",
    }


def _table(keys: Sequence[str], columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(*keys)
    for title in columns:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*(row[key] for key in keys), *(_figure(row[name]) for name in columns.values()))
    return table


def _figure(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "-"
    return f"{value:,.1f}" if isinstance(value, float) and value < 100 else f"{value:,.0f}"
