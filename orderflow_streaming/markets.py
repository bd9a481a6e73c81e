"""What is collected: symbols, markets and the streams each market offers.

Everything that depends on the list of markets (tables, subscriptions, Dagster series, MCP arguments)
is derived from :data:`MARKETS`. Adding a market is one entry here and one file under ``exchanges/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

MarketType = Literal["futures", "spot"]

SYMBOLS: tuple[str, ...] = (
    "BTCUSDT",
    "ETHUSDT",
    "SOLUSDT",
    "XRPUSDT",
    "ARUSDT",
    "BRETTUSDT",
    "POPCATUSDT",
    "WIFUSDT",
    "PNUTUSDT",
)
"""Exchange-neutral names, upper case, no separators; a venue's own spelling lives with its exchange."""

SPOT_STREAMS: tuple[str, ...] = ("prices", "orderbooks", "trades", "ticker_24h", "candles")
FUTURES_STREAMS: tuple[str, ...] = (
    "prices",
    "orderbooks",
    "trades",
    "mark_prices",
    "funding_rates",
    "open_interest",
    "ticker_24h",
    "candles",
    "index_prices",
)
"""Streams every futures market publishes; ``liquidations`` is added where a public feed exists."""


class UnknownNameError(ValueError):
    """A market, symbol or stream that is not declared; the message names what is allowed."""


@dataclass(frozen=True, slots=True)
class Market:
    """One venue and one kind of instrument on it."""

    exchange: str
    market_type: MarketType
    streams: tuple[str, ...]
    unlisted: frozenset[str] = frozenset()
    """Symbols of :data:`SYMBOLS` the venue is known not to list; discovery has the last word."""
    statistics: tuple[str, ...] = ()
    """Streams beside these of which there are no isolated tables: one table holds all series."""

    @property
    def collected(self) -> tuple[str, ...]:
        return (*self.streams, *self.statistics)

    @property
    def name(self) -> str:
        """``binance_futures``."""
        return f"{self.exchange}_{self.market_type}"

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(symbol for symbol in SYMBOLS if symbol not in self.unlisted)


_WITH_LIQUIDATIONS = (*FUTURES_STREAMS, "liquidations")
_STATISTICS = ("positioning",)

MARKETS: dict[str, Market] = {
    market.name: market
    for market in (
        Market("binance", "futures", _WITH_LIQUIDATIONS, statistics=_STATISTICS),
        Market("binance", "spot", SPOT_STREAMS, frozenset({"BRETTUSDT", "POPCATUSDT"})),
        Market("bybit", "futures", _WITH_LIQUIDATIONS, statistics=_STATISTICS),
        Market("bybit", "spot", SPOT_STREAMS),
        Market("okx", "futures", _WITH_LIQUIDATIONS, statistics=_STATISTICS),
        Market("gateio", "futures", _WITH_LIQUIDATIONS, statistics=_STATISTICS),
        Market("hyperliquid", "futures", FUTURES_STREAMS),
        Market("kucoin", "spot", SPOT_STREAMS),
        Market("kucoin", "futures", FUTURES_STREAMS),
    )
}


def suggestion(name: str, allowed: Iterator[str] | tuple[str, ...] | list[str]) -> str:
    """`` Did you mean 'x'?`` when something allowed is close to ``name``, else an empty string."""
    near = get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def market(name: str) -> Market:
    """The market called ``name``; raises :class:`UnknownNameError` with the nearest match."""
    try:
        return MARKETS[name]
    except KeyError:
        allowed = list(MARKETS)
        hint = suggestion(name, allowed)
        raise UnknownNameError(f"unknown market {name!r}.{hint} Allowed: {', '.join(allowed)}.") from None


def symbol(name: str) -> str:
    """The canonical spelling of ``name``; raises :class:`UnknownNameError` with the nearest match."""
    canonical = name.upper()
    if canonical in SYMBOLS:
        return canonical
    hint = suggestion(canonical, SYMBOLS)
    raise UnknownNameError(f"unknown symbol {name!r}.{hint} Allowed: {', '.join(SYMBOLS)}.")


def table_name(symbol: str, market: str, stream: str) -> str:
    """Name of the isolated table, ``btcusdt_binance_futures_prices``; works for any symbol.

    ``market`` is ``{exchange}_{market_type}``. Separators inside a symbol are dropped, so that the first
    three underscore parts are always symbol, exchange and market type and the rest is the stream.
    """
    neutral = "".join(character for character in symbol.lower() if character.isalnum())
    return f"{neutral}_{market}_{stream}"


def expected_tables(*, index_prices: bool = True) -> list[str]:
    """Every isolated name the nine markets should fill, market by market; 647 with index prices, else 593."""
    return [
        table_name(name, venue.name, stream)
        for venue in MARKETS.values()
        for name in venue.symbols
        for stream in venue.streams
        if index_prices or stream != "index_prices"
    ]
