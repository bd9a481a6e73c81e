"""``orderflow-stream``: finds the command's module by name and imports only that one."""

from __future__ import annotations

import importlib
import pkgutil

import click

from orderflow_streaming import commands


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f"{commands.__name__}.{name}").command


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 part of the work failed, 2 configuration, 3 database locked, "
    "4 no market reachable, 5 daemon not running.",
)
@click.version_option(package_name="orderflow")
def main() -> None:
    """Collect order flow from the exchanges' own feeds into DuckDB, and look after it."""
