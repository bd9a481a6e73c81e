"""``orderflow-stream markets``: what each market offers and how it is collected, from the declarations alone."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from orderflow_streaming.exchanges import PROTOCOLS, exchange
from orderflow_streaming.exchanges.protocol import Exchange


@click.command("markets")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with the topics and requests of every stream.")
def command(as_json: bool) -> None:
    """List the markets: streams and where they come from, sockets, what REST gives of the past, limits."""
    told = [describe(exchange(name)) for name in PROTOCOLS]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    console = Console(width=None if Console().is_terminal else 160)
    table = Table("market", "symbols", "streams", "sockets", "polled", "local books", "past over REST", "sizes in")
    for market in told:
        table.add_row(
            market["market"],
            str(len(market["symbols"])),
            str(len(market["streams"])),
            ", ".join(market["sockets"]),
            ", ".join(stream for stream, source in market["streams"].items() if source["requests"]),
            ", ".join(channel for channel in market["merged"]) or "-",
            ", ".join(market["past"]),
            "base coin" if market["counts_base_coin"] else "contracts",
        )
    console.print(table)


def describe(protocol: Exchange) -> dict[str, Any]:
    """A market as plain JSON values; topics and requests of its first symbol."""
    market = protocol.market
    first = market.symbols[:1]
    sockets = protocol.sockets(first, market.streams, protocol.endpoints)
    topics = [topic for socket in sockets for topic in socket.topics]
    polls = protocol.polls(first, market.collected)
    limits = protocol.limits
    return {
        "market": market.name,
        "symbols": list(market.symbols),
        "streams": {
            stream: {
                "topics": [topic.name for topic in topics if stream in topic.streams],
                "requests": [
                    poll.path
                    for poll in polls
                    if any(rows.kind == stream for rows in protocol.channels[poll.channel].rows)
                ],
            }
            for stream in market.collected
        },
        "sockets": {socket.name: socket.url for socket in sockets},
        "merged": sorted({topic.channel for topic in topics if topic.merged}),
        "rest": protocol.endpoints.rest,
        "past": {stream: history.reach_s for stream, history in protocol.histories.items()},
        "counts_base_coin": protocol.counts_base,
        "limits": {
            "messages_per_s": limits.messages_per_s,
            "topics_per_request": limits.topics_per_request,
            "topics_per_socket": limits.topics_per_socket,
            "connection_lifetime_h": limits.connection_lifetime_h,
            "rest_weight_per_min": limits.rest_weight_per_min,
        },
    }
