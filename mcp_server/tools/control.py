"""Tools for the collection: its alerts, and changing what the running daemon collects."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mcp_server import windows
from mcp_server.arguments import Cursor, Limit, Market, Symbol, Time, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer, undeclared
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column
from orderflow_streaming.watching.alerts import ALERTS, LEVELS

TOOLSET = "control"
Level = Annotated[str, one_of(LEVELS)]
Stream = Annotated[str, one_of(STREAMS)]
Scope = Annotated[str, one_of((*MARKETS, "all"))]
_ALERTS = ("timestamp", "id", "level", "source", "message", "acknowledged", "cleared_at", "count", "details")


@tool(toolset=TOOLSET)
def alerts_list(
    context: Context,
    level: Level | None = None,
    acknowledged: bool | None = None,
    start: Time | None = None,
    end: Time | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Answer:
    """Alerts about the collection, newest first: level, what raised it, the message, whether a person acknowledged it,
    when its condition had passed (cleared_at NULL: it has not) and how often it was raised. Use it to see what somebody
    has to look at; streams_health has the state now, data_quality_get the gaps. timestamp is clock time, UTC."""
    equals: dict[str, Any] = {"level": level} if level else {}
    equals |= {} if acknowledged is None else {"acknowledged": acknowledged}
    return windows.newest(
        context,
        ALERTS,
        equals=equals,
        columns=_ALERTS,
        limit=limit,
        start=start,
        end=end,
        cursor=cursor,
    )


_CHANGED = (Column("part", "VARCHAR"), undeclared("value"))


def _change(context: Context, action: str, body: dict[str, Any]) -> Answer:
    """The daemon's answer to an action that changes something, a row per part."""
    told = context.change(action, {name: value for name, value in body.items() if value is not None})
    return Answer.rows(_CHANGED, told.items(), source="daemon", hoisted=False, meta={"action": action})


@tool(toolset=TOOLSET, writes=True)
def collection_start(context: Context, market: Market) -> Answer:
    """Have the running daemon collect a further market from now on, with the symbols and streams it is configured for;
    kept for its next start. Answers with what is collected now and what changed. To collect other symbols or streams
    use collection_configure; streams_health shows when rows arrive. The daemon itself is started with: orderflow-stream
    run."""
    return _change(context, "start", {"market": market})


@tool(toolset=TOOLSET, writes=True)
def collection_stop(context: Context, market: Scope) -> Answer:
    """Stop collecting a market, kept for the next start, or with all stop the daemon itself, which stores everything it
    has received before it ends; then no store answers until somebody starts it again with: orderflow-stream run. What
    is missed meanwhile is a gap in the data. Ask the user first."""
    return _change(context, "stop", {"market": None if market == "all" else market})


@tool(toolset=TOOLSET, writes=True)
def collection_configure(
    context: Context,
    markets: Annotated[list[Market], Field(min_length=1)] | None = None,
    symbols: Annotated[list[Symbol], Field(min_length=1)] | None = None,
    streams: Annotated[list[Stream], Field(min_length=1)] | None = None,
    journal_keep_hours: Annotated[float, Field(ge=0)] | None = None,
    reset: bool = False,
) -> Answer:
    """Change what the running daemon collects, at once and for its next start: each list given replaces the one before;
    what is left out stays. journal_keep_hours is how long raw frames are kept, 0 for none. reset forgets all such
    changes at the next start. Answers with the settings now, changed names what is different."""
    body: dict[str, Any] = {"markets": markets, "symbols": symbols, "stream_types": streams}
    body |= {"journal_keep_hours": journal_keep_hours, "reset": reset or None}
    return _change(context, "configure", body)


@tool(toolset=TOOLSET, writes=True)
def collection_reconnect(
    context: Context, market: Market | None = None, socket: Annotated[str, Field(max_length=40)] | None = None
) -> Answer:
    """Have the daemon open the connections of a market anew, of all markets without one; socket picks one of a market's
    connections, and an unknown one is answered with their names. Use it where streams_health shows a stream that is
    connected and yet silent. The seconds without a connection are recorded as a gap."""
    return _change(context, "reconnect", {"market": market, "socket": socket})


@tool(toolset=TOOLSET, writes=True, timeout_s=90)
def collection_flush(context: Context) -> Answer:
    """Have the daemon store everything it has received so far, now, instead of at its next turn. stored false means
    that some was still pending after a minute; pending counts those frames. Rarely needed: rows are stored within
    seconds by themselves, and a stopping daemon flushes first."""
    return _change(context, "flush", {})


@tool(toolset=TOOLSET, writes=True)
def alert_acknowledge(
    context: Context,
    alert_id: Annotated[str, Field(min_length=1, max_length=40, description="id of alerts_list")],
    by: Annotated[str, Field(min_length=1, max_length=80, description="the person's name")],
) -> Answer:
    """Record that a person has looked at an alert, so that it is no longer pending. by is that person's name; never
    acknowledge on your own account. The alert's condition goes on being watched and is raised again where it comes
    back. Answers with the alert and the person. alerts_list shows who acknowledged what."""
    return _change(context, "acknowledge", {"id": alert_id, "by": by})
