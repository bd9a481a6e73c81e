"""From what the client library tells to rows: times as UTC, amounts in base coin, unknown where it is not told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mcp_server.context import Context
from mcp_server.results import Answer
from mcp_server.venues.client import Client, NotOfferedError, NotSimulatedError
from mcp_server.venues.instruments import Instrument
from mcp_server.venues.venue import VENUES, Kind
from orderflow_streaming.tables import Column

Cells = dict[str, Any]
"""A row by column name; what is absent is unknown."""


def answered(
    context: Context,
    exchange: str,
    market: Kind,
    columns: Sequence[Column],
    read: Callable[[Client], tuple[Sequence[Cells], Mapping[str, Any]]],
    *,
    time: str | None = None,
    limit: int | None = None,
) -> Answer:
    """The rows that ``read`` makes of a venue's answers, with what it says of them.

    Empty, with the reason, where the venue does not offer them. Raises :class:`~mcp_server.errors.ToolError`.
    """
    asked_at = datetime.now(UTC).replace(tzinfo=None)
    about: dict[str, Any] = {"exchange": exchange, "market": market}
    source = f"{exchange} {market} REST"
    try:
        rows, said = read(context.venues.client(VENUES[exchange], market))
    except NotSimulatedError as error:
        hint = f"The simulator that answers in this demo has none: {error}."
        return Answer.rows(columns, [], source=source, hint=hint, meta=about)
    except NotOfferedError as error:
        return Answer.rows(columns, [], source=source, hint=f"Not supported by this venue: {error}.", meta=about)
    shown = rows[: context.rows(limit or context.max_rows)]
    cells = [[row.get(column.name) for column in columns] for row in shown]
    answer = Answer.rows(columns, cells, source=source, time=time, truncated=len(shown) < len(rows))
    answer.meta = about | {"asked_at": f"{asked_at.isoformat(timespec='milliseconds')}Z"} | dict(said)
    if not rows:
        answer.hint = f"{exchange} {market} answered with nothing."
    return answer


def named(instrument: Instrument) -> dict[str, Any]:
    """What ``meta`` says of the instrument asked about: our spelling and the venue's own."""
    return {"symbol": instrument["symbol"], "instrument": instrument["id"]}


def moment(value: float | int | str | None) -> datetime | None:
    """Milliseconds since 1970 as naive UTC."""
    return None if value is None else datetime.fromtimestamp(float(value) / 1_000, UTC).replace(tzinfo=None)


def milliseconds(moment: datetime | None) -> int | None:
    """The reverse of :func:`moment`."""
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1_000)


def number(value: Any) -> float | None:
    return None if value is None or value == "" else float(value)


def base(instrument: Instrument, amount: Any, price: float | None = None) -> float | None:
    """An amount of the library in base coin; of futures settled in coin, which are dollars, at ``price``.

    Amounts are contracts where there are contracts, but for venues whose instruments say that they count in coin.
    None where it depends on a price that is not given.
    """
    if amount is None:
        return None
    if not instrument.get("contract"):
        return float(amount)
    size = 1.0 if instrument.get("amounts") == "coin" else instrument.get("contractSize")
    if not size:
        return None
    if instrument.get("linear") or instrument["type"] == "option":
        return float(amount) * float(size)
    return float(amount) * float(size) / price if price else None


def volume(instrument: Instrument, told: Any) -> float | None:
    """What was traded, in base coin; venues that count in coin tell it so of all instruments."""
    return number(told) if instrument.get("amounts") == "coin" else base(instrument, told)


def difference_bps(first: float | None, second: float | None) -> float | None:
    """``first`` over ``second`` in 1/10,000 of ``second``."""
    return None if first is None or not second else (first / second - 1) * 10_000
