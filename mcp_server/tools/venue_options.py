"""Tools that ask a venue itself, right now, for its options: chains, expiries, single options, volatility."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mcp_server.arguments import DEFAULT_ROWS, Instrument, Limit, one_of
from mcp_server.context import Context
from mcp_server.registry import tool
from mcp_server.results import Answer
from mcp_server.tools.venue_prices import TOOLSET
from mcp_server.venues import options, volatility
from mcp_server.venues.client import Client
from mcp_server.venues.options import GREEKS
from mcp_server.venues.reading import Cells, answered, moment
from mcp_server.venues.venue import VENUES
from orderflow_streaming.tables import Column

DEFAULT_EXCHANGE = "deribit"
Coin = Annotated[str, Field(min_length=1, max_length=20, description="coin, or a pair with it")]
OptionExchange = Annotated[str, one_of(name for name, venue in VENUES.items() if "options" in venue.sections)]
Expiry = Annotated[str, Field(max_length=20, description="only this day: 2026-12-25, 25DEC26 or 261225")]
Kind = Annotated[
    Literal["call", "put"], BeforeValidator(lambda value: value.lower().strip() if isinstance(value, str) else value)
]

_QUOTE = (
    Column("instrument", "VARCHAR", "the venue's own name"),
    Column("timestamp", "TIMESTAMP", "event time; NULL where the venue tells none", "UTC"),
    Column("expiry", "TIMESTAMP", "of the option", "UTC"),
    Column("strike", "DOUBLE", "strike", "quote"),
    Column("option_type", "VARCHAR", "call or put"),
    Column("price_currency", "VARCHAR", "of bid, ask, mark and last"),
    Column("bid", "DOUBLE", "best bid", "price currency"),
    Column("ask", "DOUBLE", "best ask", "price currency"),
    Column("mark_price", "DOUBLE", "mark price", "price currency"),
    Column("last", "DOUBLE", "last trade", "price currency"),
    Column("mark_iv", "DOUBLE", "implied volatility at mark", "% a year"),
    Column("bid_iv", "DOUBLE", "at the bid", "% a year"),
    Column("ask_iv", "DOUBLE", "at the ask", "% a year"),
    Column("underlying_price", "DOUBLE", "of the underlying", "quote"),
    Column("open_interest", "DOUBLE", "open contracts", "base"),
    Column("volume_24h", "DOUBLE", "traded in 24 hours", "base"),
    *(Column(name, "DOUBLE", name, "as told") for name in GREEKS),
)
_ORDERS = {"strike": None, "open_interest": "open_interest", "volume": "volume_24h"}


@tool(toolset=TOOLSET, open_world=True)
def venue_option_chain(
    context: Context,
    exchange: OptionExchange = DEFAULT_EXCHANGE,
    coin: Coin = "BTC",
    expiry: Expiry | None = None,
    option_type: Kind | None = None,
    order: Literal["strike", "open_interest", "volume"] = "strike",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now for its options on a coin: quotes, mark, implied volatility in percent, open interest and volume
    in coin, greeks where told for many. By expiry and strike, or largest first. Prices are in price_currency. For one
    option with all greeks use venue_option_ticker, for totals venue_options_summary."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        listed = options.listed(client, coin, context.left_s)
        chosen = options.expiring(listed, expiry) if expiry else listed
        chosen = [item for item in chosen if option_type in (None, item["optionType"])]
        rows = options.quotes(client, chosen, context.left_s)
        if column := _ORDERS[order]:
            rows.sort(key=lambda row: -(row.get(column) or 0.0))
        return rows, {"listed": len(listed), "expiries": len({item["expiry"] for item in listed})}

    return answered(context, exchange, "options", _QUOTE, read, limit=limit)


@tool(toolset=TOOLSET, open_world=True)
def venue_option_ticker(context: Context, symbol: Instrument, exchange: OptionExchange = DEFAULT_EXCHANGE) -> Answer:
    """Ask a venue now for one option by its own name, such as BTC-25DEC26-100000-C: quotes, mark, implied volatility at
    bid, ask and mark in percent, greeks as the venue tells them, open interest and volume in coin. Prices are in
    price_currency. Names come from venue_option_chain or venue_instruments."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        option = client.instrument(symbol, context.left_s)
        return [options.quote(client, option, context.left_s)], {"symbol": option["symbol"]}

    return answered(context, exchange, "options", _QUOTE, read, time="timestamp")


_EXPIRIES = (
    Column("expiry", "TIMESTAMP", "of the options", "UTC"),
    Column("strikes", "INTEGER", "different strikes", "count"),
    Column("calls", "INTEGER", "listed", "count"),
    Column("puts", "INTEGER", "listed", "count"),
    Column("call_open_interest", "DOUBLE", "open contracts", "base"),
    Column("put_open_interest", "DOUBLE", "open contracts", "base"),
    Column("put_call_ratio", "DOUBLE", "put over call open interest", "ratio"),
    Column("call_volume_24h", "DOUBLE", "traded in 24 hours", "base"),
    Column("put_volume_24h", "DOUBLE", "traded in 24 hours", "base"),
    Column("underlying_price", "DOUBLE", "of the underlying", "quote"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_options_summary(
    context: Context, exchange: OptionExchange = DEFAULT_EXCHANGE, coin: Coin = "BTC", limit: Limit = DEFAULT_ROWS
) -> Answer:
    """Ask a venue now for its options on a coin summed by expiry: strikes, calls and puts, their open interest and
    24-hour volume in coin, put_call_ratio = put over call open interest; the same over all expiries in meta.all. Also
    the list of expiries. For single options use venue_option_chain."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        rows = options.quotes(client, options.listed(client, coin, context.left_s), context.left_s)
        summed = [
            {"expiry": at, **_summed(list(quoted))} for at, quoted in groupby(rows, key=lambda row: row["expiry"])
        ]
        whole = _summed(rows)
        del whole["underlying_price"]
        return summed, {"all": {name: value for name, value in whole.items() if value is not None}}

    return answered(context, exchange, "options", _EXPIRIES, read, limit=limit)


def _summed(rows: Sequence[Cells]) -> Cells:
    sides = {kind: [row for row in rows if row["option_type"] == kind] for kind in ("call", "put")}
    held = {kind: _total(side, "open_interest") for kind, side in sides.items()}
    calls, puts = held["call"], held["put"]
    return {
        "strikes": len({row["strike"] for row in rows}),
        "calls": len(sides["call"]),
        "puts": len(sides["put"]),
        "call_open_interest": calls,
        "put_open_interest": puts,
        "put_call_ratio": puts / calls if calls and puts is not None else None,
        "call_volume_24h": _total(sides["call"], "volume_24h"),
        "put_volume_24h": _total(sides["put"], "volume_24h"),
        "underlying_price": next((row["underlying_price"] for row in rows if row.get("underlying_price")), None),
    }


def _total(rows: Sequence[Cells], name: str) -> float | None:
    """None where the venue tells none of them."""
    told = [row[name] for row in rows if row.get(name) is not None]
    return sum(told) if told else None


_UNDERLYINGS = (
    Column("coin", "VARCHAR", "underlying"),
    Column("settled_in", "VARCHAR", "currency of premium and settlement"),
    Column("options", "INTEGER", "listed", "count"),
    Column("expiries", "INTEGER", "different", "count"),
    Column("first_expiry", "TIMESTAMP", "next", "UTC"),
    Column("last_expiry", "TIMESTAMP", "furthest", "UTC"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_option_underlyings(context: Context, exchange: OptionExchange = DEFAULT_EXCHANGE) -> Answer:
    """Ask a venue now which coins it lists options on: how many of them, in which currency they settle, how many
    expiries, the next and the furthest. Call it before venue_option_chain or venue_options_summary when unsure which
    coins a venue has options on."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        listed = [item for item in client.instruments(context.left_s) if item.get("strike") is not None]
        pairs = sorted({(item["base"], item["settle"]) for item in listed})
        rows = []
        for base, settle in pairs:
            expiries = [item["expiry"] for item in listed if (item["base"], item["settle"]) == (base, settle)]
            rows.append(
                {
                    "coin": base,
                    "settled_in": settle,
                    "options": len(expiries),
                    "expiries": len(set(expiries)),
                    "first_expiry": moment(min(expiries)),
                    "last_expiry": moment(max(expiries)),
                }
            )
        return rows, {}

    return answered(context, exchange, "options", _UNDERLYINGS, read)


_REALIZED = (
    Column("timestamp", "TIMESTAMP", "of the measurement", "UTC"),
    Column("volatility_pct", "DOUBLE", "realised", "% a year"),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_volatility_history(
    context: Context,
    exchange: OptionExchange = DEFAULT_EXCHANGE,
    coin: Coin = "BTC",
    days: Annotated[int | None, Field(ge=7, le=270, description="Bybit only: 7 14 21 30 60 90 180 270")] = None,
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask a venue now how volatile a coin was, as the venue itself measures it, newest first, in percent a year.
    Deribit and Bybit publish it. For what options expect use venue_volatility_index, for volatility of stored prices
    the price features."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        return volatility.realized(client, coin, days, context.left_s), {"coin": coin} | (
            {"days": days} if days else {}
        )

    return answered(context, exchange, "options", _REALIZED, read, time="timestamp", limit=limit)


_RESOLUTIONS = {"1m": 60, "1h": 3_600, "12h": 43_200}
_INDEX = (
    Column("timestamp", "TIMESTAMP", "opening edge", "UTC"),
    *(Column(name, "DOUBLE", f"{name} of the period", "% a year") for name in ("open", "high", "low", "close")),
)


@tool(toolset=TOOLSET, open_world=True)
def venue_volatility_index(
    context: Context,
    coin: Coin = "BTC",
    exchange: OptionExchange = DEFAULT_EXCHANGE,
    hours: Annotated[float, Field(gt=0, le=1_000)] = 24,
    interval: Literal["1m", "1h", "12h"] = "1h",
    limit: Limit = DEFAULT_ROWS,
) -> Answer:
    """Ask Deribit now for DVOL, its index of the volatility that options on a coin imply over the next 30 days:
    candles, newest first, in percent a year. Only Deribit has one. For what the coin did use
    venue_volatility_history, for one option's volatility venue_option_ticker."""

    def read(client: Client) -> tuple[list[Cells], dict[str, Any]]:
        rows = volatility.index(client, coin, hours, _RESOLUTIONS[interval], context.left_s)
        return rows, {"coin": coin, "interval": interval}

    return answered(context, exchange, "options", _INDEX, read, time="timestamp", limit=limit)
