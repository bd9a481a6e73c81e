"""``orderflow-stream reconnect``: replace connections of the running daemon."""

from __future__ import annotations

from pathlib import Path

import click

from orderflow_streaming.control import ask, data_dir_option


@click.command("reconnect")
@click.argument("market", required=False)
@click.option("--socket", help="Only this socket, as the status names it.")
@data_dir_option
def command(market: str | None, socket: str | None, data_dir: Path | None) -> None:
    """Replace the connections of MARKET, or of all markets. A second connection takes over before the first is closed,
    so nothing is lost; where none is open, the next attempt is made at once. Exit code 5 where no daemon runs."""
    answer = ask("reconnect", "write", {"market": market, "socket": socket}, data_dir=data_dir)
    click.echo(f"Reconnecting {', '.join(answer['reconnecting']) or 'nothing'}.")
