"""Arguments that several tools share, each declared once with its schema and how a value is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetPydanticSchema
from pydantic_core import core_schema

from mcp_server.errors import ToolError
from mcp_server.venues.venue import VENUES, Kind
from orderflow_streaming.markets import MARKETS, SYMBOLS
from orderflow_streaming.store.window import naive_utc

DEFAULT_ROWS = 100
MOST_ROWS = 1_000
DEFAULT_MARKET = "binance_futures"

_DURATION = re.compile(r"-?(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


def one_of(names: Iterable[str]) -> GetPydanticSchema:
    """Restricts a string to ``names``, as an enum in the schema."""
    schema = core_schema.literal_schema(list(names))
    return GetPydanticSchema(lambda source, handler: schema)


def named(names: Iterable[str], said: str) -> GetPydanticSchema:
    """Restricts a string to ``names`` which the schema does not spell out: ``said`` tells where they are listed."""
    schema = core_schema.literal_schema(list(names))
    return GetPydanticSchema(
        lambda source, handler: schema, lambda core, handler: {"type": "string", "description": said}
    )


Symbol = Annotated[str, one_of(SYMBOLS), BeforeValidator(_upper)]
Market = Annotated[str, one_of(MARKETS)]
NamedMarket = Annotated[str, named(MARKETS, "such as binance_futures, see markets_list")]
"""For tools outside the core that have many arguments."""
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS)]
Time = Annotated[str, Field(description="ISO 8601 UTC, or ago: 15m 2h 7d")]
Cursor = Annotated[str, Field(description="meta.next_cursor")]
Format = Literal["concise", "detailed"]


def moment(name: str, text: str | None) -> datetime | None:
    """The naive UTC time that ``text`` names; raises :class:`ToolError`."""
    if text is None:
        return None
    duration = _DURATION.fullmatch(text.strip())
    try:
        if duration:
            back = timedelta(seconds=float(duration[1]) * _SECONDS[duration[2]])
            return datetime.now(UTC).replace(tzinfo=None) - back
        return naive_utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        raise ToolError(
            "argument",
            f"{name}: {text[:80]!r} is not a time.",
            "Write 2026-11-24T09:00:00Z, or a stretch back from now such as 15m, 2h or 7d.",
        ) from None


def span(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """Both edges of ``[start, end)``; raises :class:`ToolError` where they are the wrong way round."""
    first, last = moment("start", start), moment("end", end)
    if first and last and first >= last:
        raise ToolError("argument", "start is not before end.", "Swap them, or leave one out.")
    return first, last


Exchange = Annotated[str, one_of(VENUES)]
Section = Kind
Instrument = Annotated[
    str, Field(min_length=1, max_length=40, description="the venue's own name, or a pair or coin in any spelling")
]
