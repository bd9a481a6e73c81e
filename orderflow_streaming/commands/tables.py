"""``orderflow-stream tables``: the isolated names the nine markets should fill."""

from __future__ import annotations

import click

from orderflow_streaming.markets import expected_tables


@click.command("tables")
@click.option("--index-prices/--no-index-prices", default=True, help="Include the index_prices tables (54).")
def command(index_prices: bool) -> None:
    """List the expected table names, one per line: 593, or 647 with index prices."""
    click.echo("\n".join(expected_tables(index_prices=index_prices)))
