"""``orderflow-stream start``: collect one more market."""

from __future__ import annotations

from pathlib import Path

import click

from orderflow_streaming.control import ask, data_dir_option


@click.command("start")
@click.argument("market")
@data_dir_option
def command(market: str, data_dir: Path | None) -> None:
    """Have the running daemon collect MARKET too, at once and after its next start. Exit code 5 where none runs."""
    answer = ask("start", "write", {"market": market}, data_dir=data_dir)
    what = f"Collecting {', '.join(answer['markets'])}" if answer["changed"] else f"{market} was collected already"
    click.echo(f"{what} ({answer['kept']}).")
