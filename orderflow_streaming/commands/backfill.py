"""``orderflow-stream backfill``: fill the past from what the venues give over REST."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from orderflow_streaming import log
from orderflow_streaming.control import ask, data_dir_option
from orderflow_streaming.daemon import Daemon
from orderflow_streaming.exit_codes import CONFIGURATION, LOCKED, CommandError
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.past.backfill_order import BackfillError, Order
from orderflow_streaming.settings import Settings, SettingsError, load
from orderflow_streaming.store import (
    InvalidActionError,
    Store,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
    connect,
)

_POLL_S = 0.25
_START_TIMEOUT_S = 60.0


@click.command("backfill")
@click.option("--from", "start", metavar="TIME", help="Begin here, such as 2026-01-31 or 2026-01-31T12:00 (UTC).")
@click.option("--to", "end", metavar="TIME", help="End here, not included.  [default: now]")
@click.option("--markets", "-m", help="Separated by commas.  [default: those of the settings]")
@click.option("--symbols", "-s", help="Separated by commas.  [default: those of the settings]")
@click.option("--streams", help="Of candles, funding_rates, open_interest, trades.  [default: all four]")
@click.option("--again", is_flag=True, help="Ask also for what was filled before.")
@click.option("--stop", is_flag=True, help="End the backfill that runs in the daemon; given again it goes on.")
@click.option("--json", "as_json", is_flag=True, help="The outcome as JSON.")
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Settings file.")
@click.option("--simulator", "simulator_url", metavar="URL", help="Ask a simulator, where no daemon runs.")
@data_dir_option
def command(
    start: str | None,
    end: str | None,
    markets: str | None,
    symbols: str | None,
    streams: str | None,
    again: bool,
    stop: bool,
    as_json: bool,
    config: Path | None,
    simulator_url: str | None,
    data_dir: Path | None,
) -> None:
    """Fill candles, funding rates, open interest and trades of the past over REST.

    The running daemon does it beside its work; where none runs, this process does. What was filled is written down,
    so that the same command goes on where it was cut off. Exit code 1 where a part failed.
    """
    if stop:
        outcome = ask("backfill_stop", "write", data_dir=data_dir, config=config)
    else:
        names = {"markets": markets, "symbols": symbols, "streams": streams}
        body = {"from": start, "to": end, "again": again} | {key: _split(value) for key, value in names.items()}
        try:
            settings, _ = load(config, flags={"data_dir": data_dir, "simulator_url": simulator_url})
            outcome = _carried_out(settings, _checked(body, settings), show=not as_json)
        except (SettingsError, BackfillError, UnknownNameError, InvalidActionError) as error:
            raise CommandError(str(error), CONFIGURATION) from error
        except StoreLockedError as error:
            raise CommandError(str(error), LOCKED) from error
        except StoreError as error:
            raise click.ClickException(str(error)) from error
    click.echo(json.dumps(outcome, indent=2)) if as_json else _show(outcome)
    if outcome["state"] == "failed":
        raise SystemExit(1)


def _split(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _checked(body: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The body with every name spelled out, so that it means the same to whoever carries it out."""
    if body["from"] is None:
        raise BackfillError("say from when on with --from, such as --from 2026-01-31.")
    order = Order.parse(body, settings)
    times = {key: body[key] for key in ("from", "to") if body[key] is not None}
    names = {"markets": order.markets, "symbols": order.symbols, "streams": order.streams}
    return {**times, **{key: list(value) for key, value in names.items()}, "again": order.again}


def _carried_out(settings: Settings, body: Mapping[str, Any], *, show: bool) -> dict[str, Any]:
    """What came of it, by the daemon that runs, or by one that collects nothing."""
    with ExitStack() as closing:
        try:
            store = closing.enter_context(connect(settings.data_dir, scope="write", embedded=False))
        except StoreUnavailableError:
            store = closing.enter_context(_own_store(settings))
        store.action("backfill", dict(body))
        try:
            return _followed(store, show=show)
        except KeyboardInterrupt:
            return store.action("backfill_stop")


@contextmanager
def _own_store(settings: Settings) -> Iterator[Store]:
    """The store of a daemon in this process that collects no market."""
    log.configure("WARNING")
    alone = {"markets": (), "stream_types": (), "store_port": 0, "http_port": None, "alert_channels": ()}
    daemon, started = Daemon(settings.model_copy(update=alone)), threading.Event()
    running = threading.Thread(target=daemon.run, args=(started.set,), name="daemon")
    running.start()
    try:
        if not started.wait(_START_TIMEOUT_S):
            raise StoreUnavailableError(f"the store did not open within {_START_TIMEOUT_S:g} s.")
        with connect(settings.data_dir, scope="write", embedded=False) as store:
            yield store
    finally:
        with connect(settings.data_dir, scope="write", embedded=False) as store:
            store.action("stop")
        running.join()


def _followed(store: Store, *, show: bool) -> dict[str, Any]:
    """Wait for the end and show how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as progress:
        task = progress.add_task("", total=None, rows=0)
        while True:
            state = store.action("backfill_status")
            finished = state["done"] + state["known"] + state["failed"]
            what = state["now"][0] if state["now"] else ""
            progress.update(task, description=what, total=state["chunks"], completed=finished, rows=state["rows"])
            if state["state"] != "running":
                return state
            time.sleep(_POLL_S)


def _show(outcome: Mapping[str, Any]) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    table = Table("market", "stream", "chunks", "done", "before", "failed", "rows", "remarks")
    for part in outcome["parts"]:
        figures = (f"{part[name]:,}" for name in ("chunks", "done", "known", "failed", "rows"))
        table.add_row(part["market"], part["stream"], *figures, "; ".join(part["remarks"]))
    console.print(table)
    console.print(
        f"{outcome['state']}: {outcome['from']} to {outcome['to']}, {outcome['rows']:,} rows with "
        f"{outcome['requests']:,} requests",
        highlight=False,
    )
