"""``python -m orderflow_assets.forecasting``: what serves, why, and how to go back."""

from __future__ import annotations

import getpass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table as Printed

from orderflow_assets.forecasting.publication import publish
from orderflow_assets.forecasting.registry import Registry, RegistryError
from orderflow_assets.forecasting.router import PRIORITIES, RouteError, route
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.resources import default_data_dir
from orderflow_streaming.exit_codes import CONFIGURATION, CommandError
from orderflow_streaming.store import connect

_TARGET = click.Choice(list(TARGETS))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--data-dir", type=click.Path(path_type=Path), default=default_data_dir, help="Folder of the store.")
@click.pass_context
def main(context: click.Context, data_dir: Path) -> None:
    """Models that serve, their history, and the choice between them."""
    context.obj = data_dir


@main.command()
@click.pass_obj
def champions(data_dir: Path) -> None:
    """Every version that serves; where a series has none, naive does."""
    rows = [version for version in Registry(data_dir).versions() if version.alias == "champion"]
    _print(
        ("series", "target", "model", "version", "trained until", "why"),
        [
            (row.series, row.target, row.model, str(row.version), f"{row.data_to:%Y-%m-%d %H:%M}", row.reason or "")
            for row in rows
        ],
    )


@main.command()
@click.argument("series")
@click.option("--target", type=_TARGET, help="Only this target.")
@click.pass_obj
def history(data_dir: Path, series: str, target: str | None) -> None:
    """What happened to the versions and aliases of SERIES, oldest first."""
    names = ("at", "target", "version", "model", "event", "by", "reason")
    events = Registry(data_dir).events(series, target)
    _print(names, [tuple(str(event[name]) for name in names) for event in events])


@main.command()
@click.argument("series")
@click.argument("target", type=_TARGET)
@click.option("--reason", required=True, help="Why; it is kept with the event.")
@click.pass_obj
def rollback(data_dir: Path, series: str, target: str, reason: str) -> None:
    """Let the version that served SERIES before the present champion serve again."""
    registry = Registry(data_dir)
    try:
        version = registry.rollback(series, target, getpass.getuser(), reason)
    except RegistryError as error:
        raise CommandError(str(error), CONFIGURATION) from error
    with connect(data_dir, scope="write") as store:
        publish(store, registry, series)
    click.echo(f"{series} {target}: version {version} serves again")


@main.command("route")
@click.argument("series")
@click.argument("target", type=_TARGET)
@click.option("--priority", type=click.Choice(list(PRIORITIES)), default="balanced", show_default=True)
@click.option("--step", type=int, help="Bars of five minutes ahead; by default the farthest.")
@click.option("--budget-ms", type=float, help="Tightens the deadline of the priority.")
@click.pass_obj
def routed(data_dir: Path, series: str, target: str, priority: str, step: int | None, budget_ms: float | None) -> None:
    """Which model to ask for SERIES, with reasons."""
    with connect(data_dir, scope="read") as store:
        try:
            found = route(store, series, target, priority, step=step, budget_ms=budget_ms)
        except RouteError as error:
            raise CommandError(str(error), CONFIGURATION) from error
    click.echo(f"{found.model}, then {', then '.join(found.fallback)}   [{found.elapsed_ms:.1f} ms]")
    for reason in found.reasons:
        click.echo(f"  {reason}")
    for name, reason in found.rejected.items():
        click.echo(f"  not {name}: {reason}")


def _print(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    printed = Printed(*names)
    for row in rows:
        printed.add_row(*row)
    Console().print(printed if rows else "nothing yet")


if __name__ == "__main__":
    main()
