"""``orderflow-stream flush``: store now what was read so far."""

from __future__ import annotations

from pathlib import Path

import click

from orderflow_streaming.control import ask, data_dir_option


@click.command("flush")
@data_dir_option
def command(data_dir: Path | None) -> None:
    """Have the running daemon store everything it has read. Exit code 5 where none runs."""
    answer = ask("flush", "write", data_dir=data_dir)
    if not answer["stored"]:
        raise click.ClickException(f"not everything could be stored; {answer['pending']} frames wait. See the log.")
    click.echo("Stored.")
