"""What each venue lists, asked at the start and daily, kept in ``ops.instruments``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from orderflow_streaming.exchanges.protocol import Exchange, Instrument, as_request, decoded
from orderflow_streaming.reading.rest import RestClient, RestError
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.window import Window

log = logging.getLogger(__name__)

REFRESH_S = 24 * 3600.0
RETRY_S = 300.0
NEEDED_RETRY_S = 5.0
"""Between attempts while nothing can be read without them."""


async def refresh(exchange: Exchange, client: RestClient, engine: Engine) -> list[Instrument]:
    """Ask the venue, replace its rows, and return them; raises :class:`RestError`."""
    answers = [await client.ask(as_request(path)) for path in exchange.instrument_paths()]
    try:
        found = exchange.instruments([decoded(answer) for answer in answers])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RestError(f"the answer cannot be read: {error!r}") from error
    if not found:
        raise RestError("it lists none of our symbols")
    await asyncio.to_thread(_replace, exchange, found, engine)
    return found


async def keep(
    exchange: Exchange, client: RestClient, engine: Engine, *, known: bool, refreshed: Callable[[], None] = lambda: None
) -> None:
    """Refresh daily until cancelled; soon where they are not ``known`` yet. ``refreshed`` hears of each time."""
    while True:
        await asyncio.sleep(REFRESH_S if known else RETRY_S)
        try:
            await refresh(exchange, client, engine)
            known = True
            refreshed()
        except RestError as error:
            log.warning("%s: the instruments could not be asked for: %s", exchange.market.name, error)
            known = False


def stored_symbols(engine: Engine, exchange: Exchange) -> list[str]:
    """Symbols the venue listed when it was last asked; empty where it never was."""
    market = exchange.market
    sql = "SELECT symbol FROM ops.instruments WHERE exchange = ? AND market_type = ?"
    cursor = engine.cursor()
    try:
        return [row[0] for row in cursor.execute(sql, [market.exchange, market.market_type]).fetchall()]
    finally:
        cursor.close()


def _replace(exchange: Exchange, instruments: Sequence[Instrument], engine: Engine) -> None:
    market = exchange.market
    identity = {"exchange": market.exchange, "market_type": market.market_type}
    as_of = datetime.now(UTC).replace(tzinfo=None)
    rows = [
        {**identity, "as_of": as_of}
        | {name: getattr(instrument, name) for name in INSTRUMENTS.names if hasattr(instrument, name)}
        for instrument in instruments
    ]
    engine.write(INSTRUMENTS, pa.Table.from_pylist(rows, schema=INSTRUMENTS.arrow_schema), Window(equals=identity))
