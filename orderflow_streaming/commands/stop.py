"""``orderflow-stream stop``: end the running daemon, or the collection of one market."""

from __future__ import annotations

from pathlib import Path

import click

from orderflow_streaming.control import ask, data_dir_option


@click.command("stop")
@click.argument("market", required=False)
@data_dir_option
def command(market: str | None, data_dir: Path | None) -> None:
    """Have the running daemon store everything and end. With MARKET, it ends only the collection of that one, at once
    and after its next start. Exit code 5 where none runs."""
    answer = ask("stop", "write", {"market": market}, data_dir=data_dir)
    if market is None:
        click.echo("Stopping.")
        return
    left = ", ".join(answer["markets"]) or "no market; the store is still served"
    click.echo(f"Stopped {market}. Collecting {left} ({answer['kept']}).")
