"""How much a coin moved, and how much its options expect it to move, in percent a year."""

from __future__ import annotations

import time

from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import coin
from mcp_server.venues.reading import Cells, moment, number

INDEXED = "deribit"
"""The venue that has an index of implied volatility."""
_FRACTIONS = ("bybit",)
"""Venues that tell fractions."""
_OWN_DAYS = ("bybit",)
"""Venues that can be asked for a number of days."""


def realized(client: Client, text: str, days: int | None, left_s: float) -> list[Cells]:
    """What the venue measures, newest first, over ``days`` where it can be asked for them."""
    name = client.venue.name
    if days is not None and name not in _OWN_DAYS:
        raise NotOfferedError(f"{client.name} measures over days of its own; leave days out")
    asked = {} if days is None else {"period": days}
    told = client.ask("fetchVolatilityHistory", coin(text), asked, left_s=left_s)
    scale = 100 if name in _FRACTIONS else 1
    rows = [
        {"timestamp": moment(row["timestamp"]), "volatility_pct": float(row["volatility"]) * scale}
        for row in told
        if row["volatility"] is not None
    ]
    return sorted(rows, key=lambda row: row["timestamp"], reverse=True)


def index(client: Client, text: str, hours: float, resolution_s: int, left_s: float) -> list[Cells]:
    """Candles of the venue's index of implied volatility over the last ``hours``, newest first."""
    if client.venue.name != INDEXED:
        raise NotOfferedError(f"{client.name} has no volatility index; {INDEXED} has")
    until = int(time.time() // 60) * 60_000 + 60_000
    question = {
        "currency": coin(text),
        "start_timestamp": until - int(hours * 3_600_000),
        "end_timestamp": until,
        "resolution": resolution_s,
    }
    told = client.ask("publicGetGetVolatilityIndexData", question, left_s=left_s)["result"]["data"]
    names = ("open", "high", "low", "close")
    rows = [{"timestamp": moment(at), **dict(zip(names, map(number, prices), strict=True))} for at, *prices in told]
    return sorted(rows, key=lambda row: row["timestamp"], reverse=True)
