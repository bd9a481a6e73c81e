"""``orderflow-stream configure``: change what the running daemon collects."""

from __future__ import annotations

from pathlib import Path

import click

from orderflow_streaming.control import ask, data_dir_option
from orderflow_streaming.exit_codes import CONFIGURATION, CommandError


@click.command("configure")
@click.option("--symbols", "-s", help="Separated by commas, such as BTCUSDT,ETHUSDT.")
@click.option("--markets", "-m", help="Separated by commas, such as binance_futures,okx_futures.")
@click.option("--streams", "stream_types", help="Separated by commas, such as trades,prices; 'all' for all.")
@click.option("--reset", is_flag=True, help="Forget earlier changes: the next start goes by the configuration alone.")
@data_dir_option
def command(
    symbols: str | None, markets: str | None, stream_types: str | None, reset: bool, data_dir: Path | None
) -> None:
    """Change symbols, markets and streams while the daemon runs, and for its next start.

    Only the sockets that the change concerns are replaced. Exit code 5 where no daemon runs.
    """
    changes = {"symbols": symbols, "markets": markets, "stream_types": "" if stream_types == "all" else stream_types}
    if reset == any(value is not None for value in changes.values()):
        raise CommandError("give --reset, or at least one of --symbols, --markets and --streams.", CONFIGURATION)
    answer = ask("configure", "write", {"reset": True} if reset else changes, data_dir=data_dir)
    if not reset:
        click.echo(f"markets  {', '.join(answer['markets']) or 'none'}")
        click.echo(f"symbols  {', '.join(answer['symbols'])}")
        click.echo(f"streams  {', '.join(answer['stream_types']) or 'all'}")
    click.echo(f"{'changed' if reset or answer['changed'] else 'nothing changed'}; {answer['kept']}")
