"""``orderflow-stream simulate``: an exchange on loopback."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path

import click

from orderflow_streaming import markets
from orderflow_streaming.exit_codes import CONFIGURATION, CommandError
from orderflow_streaming.simulator import faults
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.server import Plan, Simulator


@click.command(short_help="Serve simulated exchanges on loopback.")
@click.option("--market", "names", multiple=True, help="Market to simulate; repeat for several.  [default: all]")
@click.option("--port", default=8900, show_default=True, type=click.IntRange(0, 65_535), help="0 takes a free one.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0))
@click.option("--speed", default=1.0, show_default=True, help="Simulated seconds per second; 1 is real time.")
@click.option("--start", type=click.DateTime(), help="Simulated time (UTC) at the start.  [default: now]")
@click.option(
    "--history",
    default=0.0,
    type=click.FloatRange(min=0),
    help="Begin this many hours ago and run as fast as the clients take it until now.",
)
@click.option(
    "--late",
    type=click.FloatRange(min=0),
    help="With --history: markets after the first open this many hours ago only, and refuse requests until then.",
)
@click.option("--symbols", default=",".join(markets.SYMBOLS), show_default=True, help="Separated by commas.")
@click.option("--activity", default=1.0, show_default=True, help="Scales the rates of orders.")
@click.option("--book-interval-ms", default=100, show_default=True, help="Time between two book snapshots.")
@click.option(
    "--wait-for-subscribers",
    type=click.IntRange(min=0),
    help="Sockets with subscriptions before the clock starts.  [with --history: one on each route]",
)
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Write a line per frame sent.")
@click.option("--fault", "given", multiple=True, help="Such as skip,topic=btcusdt@aggTrade,count=3,after=10; repeat.")
def command(
    names: tuple[str, ...],
    port: int,
    seed: int,
    speed: float,
    start: datetime | None,
    history: float,
    late: float | None,
    symbols: str,
    activity: float,
    book_interval_ms: int,
    wait_for_subscribers: int | None,
    log: Path | None,
    given: tuple[str, ...],
) -> None:
    """Serve simulated exchanges that speak the real ones' protocols, from one seeded latent market.

    POST /control takes a fault as JSON at run time, GET /control/status tells clock, frames and subscribers.
    """
    if start is not None and history:
        raise CommandError("--start and --history exclude each other; leave one out.", CONFIGURATION)
    try:
        plan = Plan(
            seed=seed,
            start_us=None if start is None else round(start.replace(tzinfo=UTC).timestamp() * 1e6),
            history_hours=history,
            opening_hours={} if late is None else dict.fromkeys(_markets(names)[1:], min(late, history)),
            speed=speed,
            markets=_markets(names),
            symbols=[markets.symbol(name.strip()) for name in symbols.split(",") if name.strip()],
            activity=activity,
            book_interval_ms=book_interval_ms,
            wait_for_subscribers=wait_for_subscribers,
            log=log,
            faults=[faults.parse(text) for text in given],
        )
    except ValueError as error:
        raise CommandError(str(error), CONFIGURATION) from error
    asyncio.run(_serve(plan, port))


def _markets(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if markets.market(name).name not in DIALECTS:
            raise ValueError(f"no simulator for {name!r} yet. Allowed: {', '.join(DIALECTS)}.")
    return names or tuple(DIALECTS)


async def _serve(plan: Plan, port: int) -> None:
    try:
        simulator = Simulator(plan)
    except ValueError as error:
        raise CommandError(str(error), CONFIGURATION) from error
    except OSError as error:
        raise CommandError(f"the log {plan.log} cannot be written: {error.strerror}.", CONFIGURATION) from error
    try:
        try:
            bound = await simulator.start(port)
        except OSError as error:
            raise CommandError(
                f"port {port} cannot be used: {error.strerror}. Choose another --port.", CONFIGURATION
            ) from error
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, simulator.stop)
        address = f"http://127.0.0.1:{bound}"
        click.echo(f"Simulating {', '.join(plan.markets)} at {address} (seed {plan.seed}, speed {plan.speed:g}).")
        click.echo(f"Collect it with: orderflow-stream run --simulator {address}")
        if plan.history_hours and plan.wait_for_subscribers is None:
            click.echo("The history begins once every route has a subscriber (--wait-for-subscribers N changes that).")
        await simulator.run()
    finally:
        await simulator.close()
