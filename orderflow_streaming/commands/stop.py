"""``orderflow-stream stop``: end the running daemon."""

from __future__ import annotations

from pathlib import Path

import click

from orderflow_streaming.control import ask


@click.command("stop")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the database.  [default: data]")
def command(data_dir: Path | None) -> None:
    """Have the running daemon store everything and end. Exit code 5 where none runs."""
    ask("stop", "write", data_dir=data_dir)
    click.echo("Stopping.")
