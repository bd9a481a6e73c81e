"""What a venue tells of one instrument right now, part by part: ticker, book, trades, funding and more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.venues import perpetuals, volatility
from mcp_server.venues.client import Client, NotOfferedError, NotSimulatedError
from mcp_server.venues.instruments import Instrument
from mcp_server.venues.reading import Cells, base, difference_bps, moment, number, volume

LEVELS = 20
"""Levels of each side of the book that are asked for."""
TRADES = 100
"""Latest trades that are asked for."""

UNITS: Mapping[str, str] = {
    "last": "quote",
    "high_24h": "quote",
    "low_24h": "quote",
    "change_24h_pct": "%",
    "volume_24h_base": "base",
    "volume_24h_quote": "quote",
    "mark_price": "quote",
    "index_price": "quote",
    "bid_price": "quote",
    "ask_price": "quote",
    "mid_price": "quote",
    "spread_bps": "bps",
    "bid_qty_sum": "base",
    "ask_qty_sum": "base",
    "depth_imbalance": "-1 to 1",
    "levels": "per side",
    "trades": "count",
    "stretch_s": "s",
    "buy_share": "fraction",
    "funding_rate": "fraction per interval",
    "interval_h": "h",
    "annualized_pct": "% a year",
    "open_interest": "base",
    "open_interest_usd": "usd",
    "realized_pct": "% a year",
    "implied_pct": "% a year",
}
"""Every figure and its unit."""


@dataclass(frozen=True, slots=True)
class Part:
    """``figures`` by name, None where not told; ``time`` is the venue's, None where it tells none."""

    figures: Mapping[str, float | None]
    time: datetime | None


@dataclass(slots=True)
class Portrait:
    """The parts that a venue told, and why others are missing."""

    instrument: Instrument
    parts: dict[str, Part] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def figure(self, part: str, name: str) -> float | None:
        return self.parts[part].figures.get(name) if part in self.parts else None

    @property
    def about(self) -> dict[str, Any]:
        """For ``meta``."""
        said = {"symbol": self.instrument["symbol"], "instrument": self.instrument["id"]}
        return said | ({"missing": self.missing} if self.missing else {})


def portrait(context: Context, client: Client, symbol: str) -> Portrait:
    """Raises :class:`~mcp_server.errors.ToolError` where the venue cannot be reached; a part that it refuses or does
    not have is missing.
    """
    found = Portrait(client.instrument(symbol, context.left_s))
    for name, read in PARTS.items():
        try:
            found.parts[name] = read(context, client, found.instrument)
        except NotSimulatedError as error:
            found.missing[name] = f"not in the simulator: {error}"
        except NotOfferedError as error:
            found.missing[name] = f"not offered: {error}"
        except ToolError as error:
            if error.retryable:
                raise
            found.missing[name] = error.fact
    if not found.parts:
        raise NotOfferedError(f"{client.name} tells nothing of {found.instrument['id']}: {found.missing}")
    return found


def _ticker(context: Context, client: Client, instrument: Instrument) -> Part:
    told = client.ask("fetchTicker", instrument["symbol"], left_s=context.left_s)
    figures = {
        "last": number(told.get("last")),
        "high_24h": number(told.get("high")),
        "low_24h": number(told.get("low")),
        "change_24h_pct": number(told.get("percentage")),
        "volume_24h_base": volume(instrument, told.get("baseVolume")),
        "volume_24h_quote": number(told.get("quoteVolume")),
        "mark_price": number(told.get("markPrice")),
        "index_price": number(told.get("indexPrice")),
    }
    return Part(figures, moment(told.get("timestamp")))


def _book(context: Context, client: Client, instrument: Instrument) -> Part:
    """Bids and asks are compared in the venue's own amounts, which need no price to be compared."""
    told = client.ask("fetchOrderBook", instrument["symbol"], LEVELS, left_s=context.left_s)
    bids, asks = told["bids"][:LEVELS], told["asks"][:LEVELS]
    bid, ask = (number(side[0][0]) if side else None for side in (bids, asks))
    bought, sold = (sum(level[1] for level in side) for side in (bids, asks))
    figures = {
        "bid_price": bid,
        "ask_price": ask,
        "mid_price": None if bid is None or ask is None else (bid + ask) / 2,
        "spread_bps": difference_bps(ask, bid),
        "bid_qty_sum": _coins(instrument, bids),
        "ask_qty_sum": _coins(instrument, asks),
        "depth_imbalance": (bought - sold) / (bought + sold) if bought + sold else None,
        "levels": max(len(bids), len(asks)),
    }
    return Part(figures, moment(told.get("timestamp")))


def _coins(instrument: Instrument, levels: Sequence[Any]) -> float | None:
    sizes = [base(instrument, amount, price) for price, amount, *_ in levels]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _trades(context: Context, client: Client, instrument: Instrument) -> Part:
    """``buy_share`` is that of the amount bought by takers."""
    told = client.ask("fetchTrades", instrument["symbol"], None, TRADES, left_s=context.left_s)[-TRADES:]
    sided = [trade for trade in told if trade.get("side") and trade.get("amount") is not None]
    bought, all_of_it = (
        sum(trade["amount"] for trade in sided if trade["side"] in sides) for sides in (("buy",), ("buy", "sell"))
    )
    times = sorted(trade["timestamp"] for trade in told if trade.get("timestamp") is not None)
    figures = {
        "trades": len(told),
        "stretch_s": (times[-1] - times[0]) / 1_000 if times else None,
        "buy_share": bought / all_of_it if all_of_it else None,
    }
    return Part(figures, moment(times[-1]) if times else None)


def _funding(context: Context, client: Client, instrument: Instrument) -> Part:
    if instrument["type"] != "swap":
        raise NotOfferedError("only perpetual futures have funding")
    return _told(
        perpetuals.funding(client, [instrument], context.left_s), "funding_rate", "interval_h", "annualized_pct"
    )


def _open_interest(context: Context, client: Client, instrument: Instrument) -> Part:
    if not instrument.get("contract"):
        raise NotOfferedError("only contracts have open interest")
    return _told(perpetuals.interest(client, [instrument], context.left_s), "open_interest", "open_interest_usd")


def _told(rows: Sequence[Cells], *names: str) -> Part:
    row = next(iter(rows), {})
    return Part({name: row.get(name) for name in names}, row.get("timestamp"))


def _spot(context: Context, client: Client, instrument: Instrument) -> Part:
    """The book of the venue's own pair of the same two currencies, which a contract is compared with."""
    if client.kind == "spot":
        raise NotOfferedError("it is the pair")
    spot = context.venues.client(client.venue, "spot")
    pair = spot.instrument(f"{instrument['base']}/{instrument['quote']}", context.left_s)
    if pair["quote"] != instrument["quote"]:
        raise NotOfferedError(f"no pair of {instrument['base']} in {instrument['quote']}, only {pair['symbol']}")
    return _book(context, spot, pair)


def _volatility(context: Context, client: Client, instrument: Instrument) -> Part:
    """The newest that the venue measures of the coin, and what its index says that options imply."""
    realized = volatility.realized(client, instrument["base"], None, context.left_s)[:1]
    figures = {"realized_pct": next((row["volatility_pct"] for row in realized), None)}
    if client.venue.name == volatility.INDEXED:
        implied = volatility.index(client, instrument["base"], 1, 60, context.left_s)[:1]
        figures["implied_pct"] = next((row["close"] for row in implied), None)
    return Part(figures, next((row["timestamp"] for row in realized), None))


PARTS: Mapping[str, Callable[[Context, Client, Instrument], Part]] = {
    "ticker": _ticker,
    "book": _book,
    "trades": _trades,
    "funding": _funding,
    "open_interest": _open_interest,
    "spot": _spot,
    "volatility": _volatility,
}
