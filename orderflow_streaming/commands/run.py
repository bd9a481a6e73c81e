"""``orderflow-stream run``: collect until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orderflow_streaming import log
from orderflow_streaming.daemon import Daemon, Report
from orderflow_streaming.exit_codes import CONFIGURATION, LOCKED, UNREACHABLE, CommandError
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.reading.collector import NoMarketReachedError, StoreBrokenError
from orderflow_streaming.settings import Settings, SettingsError, load
from orderflow_streaming.store import StoreError, StoreLockedError
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.server import PortInUseError
from orderflow_streaming.watching import coverage
from orderflow_streaming.watching.alerting import announce

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
EMPTY_SHOWN = 15
"""Names of empty tables in the closing report."""
_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)


@click.command("run")
@click.option("--config", "-c", type=_FILE, help="Settings file.  [default: streaming_config.json]")
@click.option("--symbols", "-s", help="Separated by commas.  [default: all]")
@click.option("--markets", "-m", help="Separated by commas, such as binance_futures.")
@click.option("--streams", "stream_types", help="Separated by commas, such as trades,prices.  [default: all]")
@click.option("--data-dir", type=_FOLDER, help="Folder of the database.  [default: data]")
@click.option("--simulator", "simulator_url", metavar="URL", help="Collect a simulator instead of the venues.")
@click.option("--port", "store_port", type=int, help="Port of the store on loopback.  [default: 8815]")
@click.option("--http-port", help="Port of /health and /metrics on loopback, or off.  [default: 9108]")
@click.option("--flush-interval", "flush_interval_seconds", type=float, help="Seconds between flushes.  [default: 5]")
@click.option("--log-level", type=_LEVELS, help="[default: INFO]")
def command(config: Path | None, **flags: Any) -> None:
    """Collect the configured markets into DuckDB and serve the store, until Ctrl-C or `orderflow-stream stop`."""
    settings = _settings(config, flags)
    daemon = _opened(settings)
    try:
        report = daemon.run(started=lambda: click.echo(_banner(daemon)))
    except NoMarketReachedError as error:
        raise _failed(settings, str(error), UNREACHABLE) from error
    except StoreBrokenError as error:
        told = f"the store cannot go on: {error} Start again: what is synced is kept."
        announce(settings, "controller", told)
        raise click.ClickException(told) from error
    click.echo(_closing(report))


def _settings(config: Path | None, flags: dict[str, Any]) -> Settings:
    try:
        settings, notice = load(config, flags=flags)
        log.configure(settings.log_level, settings.log_file)
    except SettingsError as error:
        raise CommandError(str(error), CONFIGURATION) from error
    except OSError as error:
        raise CommandError(f"log_file {error.filename}: {error.strerror}", CONFIGURATION) from error
    if notice:
        click.echo(notice)
    return settings


def _opened(settings: Settings) -> Daemon:
    try:
        return Daemon(settings)
    except (UnknownNameError, PortInUseError) as error:
        raise _failed(settings, str(error), CONFIGURATION) from error
    except StoreLockedError as error:
        raise _failed(settings, str(error), LOCKED) from error
    except (StoreError, OSError) as error:
        raise _failed(settings, f"the data folder cannot be used: {error}", CONFIGURATION) from error


def _failed(settings: Settings, message: str, exit_code: int) -> CommandError:
    """The error that ends the command, once the channels were told."""
    announce(settings, "controller", message)
    return CommandError(message, exit_code)


def _banner(daemon: Daemon) -> str:
    settings, plans = daemon.settings, daemon.plans.values()
    streams = sum(len(coverage.expected(plan)) for plan in plans)
    source = f" from the simulator at {settings.simulator_url}" if settings.simulator_url else ""
    return "\n".join(
        (
            f"Collecting {len(settings.markets)} markets{source}",
            f"  symbols   {', '.join(settings.symbols)}",
            *(f"  streams   {plan.market}: {', '.join(plan.streams)}" for plan in plans),
            f"  {len(settings.symbols)} symbols x {len(settings.markets)} markets = {streams} streams",
            f"  database  {database_path(settings.data_dir)}",
            f"  store     {daemon.address}",
            f"  http      {daemon.http_address or 'off'}",
        )
    )


def _closing(report: Report) -> str:
    lines = [
        f"Collection report: {report.uptime_s / 3600:.2f} hours",
        f"  tables      {report.total('filled')} of {report.total('expected')} filled, {report.total('rows'):,} rows",
        f"  this run    {report.total('stored'):,} rows stored, {report.total('duplicates'):,} repeated, "
        f"{report.total('rejected'):,} rejected",
        f"  connection  {report.total('reconnects'):,} reconnects, {report.total('gaps'):,} gaps",
    ]
    lines += [
        f"  {market.market:19} {market.filled:3} of {market.expected:3} tables, {market.rows:12,} rows, "
        f"{market.stored:,} in this run, {market.duplicates:,} repeated, {market.rejected:,} rejected, "
        f"{market.reconnects:,} reconnects, {market.gaps:,} gaps"
        for market in report.markets
    ]
    empty = [table for market in report.markets for table in market.empty]
    if empty:
        more = f" and {len(empty) - EMPTY_SHOWN} more" if len(empty) > EMPTY_SHOWN else ""
        lines.append(f"  empty       {', '.join(empty[:EMPTY_SHOWN])}{more}")
    return "\n".join(lines)
