"""Best quotes of many instruments, their changes, windows that end now, and trades and settlements of a coin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import Instrument, coin
from mcp_server.venues.reading import Cells, base, difference_bps, moment, number

_KINDS = {"futures": "future", "options": "option", "spot": "spot"}
"""Deribit's words for its sections."""
MOST_TRADES = 1_000


def best(client: Client, instruments: Sequence[Instrument], left_s: float) -> list[Cells]:
    """A row for each that the venue quotes; Hyperliquid tells the middle and no more of many."""
    method = "fetchBidsAsks" if client.venue.name == "binance" else "fetchTickers"
    told = client.ask_all(method, left_s=left_s)
    rows = [_quote(item, told[item["symbol"]]) for item in instruments if item["symbol"] in told]
    return [row for row in rows if row["mid_price"] is not None]


def _quote(instrument: Instrument, told: dict[str, Any]) -> Cells:
    bid, ask = number(told.get("bid")), number(told.get("ask"))
    middle = number(told["info"].get("midPx")) if bid is None or ask is None else (bid + ask) / 2
    return {
        "instrument": instrument["id"],
        "timestamp": moment(told.get("timestamp")),
        "bid_price": bid,
        "bid_qty": base(instrument, told.get("bidVolume"), bid),
        "ask_price": ask,
        "ask_qty": base(instrument, told.get("askVolume"), ask),
        "mid_price": middle,
        "spread_bps": difference_bps(ask, bid),
    }


def spreads(client: Client, instrument: Instrument, left_s: float) -> list[Cells]:
    """Changes of the best quotes, newest first."""
    if client.venue.name != "kraken" or client.kind != "spot":
        raise NotOfferedError(f"{client.name} tells no past quotes; kraken spot does")
    told = client.ask("publicGetSpread", {"pair": instrument["id"]}, left_s=left_s)["result"]
    changes = next(value for name, value in told.items() if name != "last")
    rows = []
    for at, bid, ask in reversed(changes):
        prices = number(bid), number(ask)
        rows.append(
            {
                "timestamp": moment(float(at) * 1_000),
                "bid_price": prices[0],
                "ask_price": prices[1],
                "spread_bps": difference_bps(prices[1], prices[0]),
            }
        )
    return rows


def window(client: Client, instrument: Instrument, length: str, left_s: float) -> Cells:
    if client.venue.name != "binance":
        raise NotOfferedError(f"{client.name} tells no windows of any length; binance spot does")
    told = client.ask("publicGetTicker", {"symbol": instrument["id"], "windowSize": length}, left_s=left_s)
    return {
        "open_time": moment(told["openTime"]),
        "close_time": moment(told["closeTime"]),
        "open": number(told["openPrice"]),
        "high": number(told["highPrice"]),
        "low": number(told["lowPrice"]),
        "last": number(told["lastPrice"]),
        "change_pct": number(told["priceChangePercent"]),
        "volume_base": number(told["volume"]),
        "volume_quote": number(told["quoteVolume"]),
        "vwap": number(told["weightedAvgPrice"]),
        "trades": int(told["count"]),
    }


def coin_trades(client: Client, text: str, limit: int, left_s: float) -> list[Cells]:
    """The latest in all instruments on a coin, newest first."""
    if client.venue.name != "deribit":
        raise NotOfferedError(f"{client.name} tells trades of one instrument at a time; deribit of a coin's")
    listed = {item["id"]: item for item in client.instruments(left_s) if item["base"] == coin(text)}
    question = {"kind": _KINDS[client.kind], "count": min(limit, MOST_TRADES), "sorting": "desc"}
    trades: list[Any] = []
    for currency in sorted({item["settleId"] for item in listed.values()}):
        told = client.ask("publicGetGetLastTradesByCurrency", {"currency": currency} | question, left_s=left_s)
        trades += [trade for trade in told["result"]["trades"] if trade["instrument_name"] in listed]
    trades.sort(key=lambda trade: -trade["timestamp"])
    return [_trade(listed[trade["instrument_name"]], trade) for trade in trades[:limit]]


def settlements(client: Client, text: str, limit: int, left_s: float) -> list[Cells]:
    """Of all instruments on a coin, newest first."""
    if client.venue.name != "deribit":
        raise NotOfferedError(f"{client.name} tells no settlements of all its contracts together; deribit does")
    told = client.ask("publicGetGetLastSettlementsByCurrency", {"currency": coin(text), "count": limit}, left_s=left_s)
    rows = [
        {
            "timestamp": moment(row["timestamp"]),
            "kind": row["type"],
            "instrument": row.get("instrument_name"),
            "mark_price": number(row.get("mark_price")),
            "index_price": number(row.get("index_price")),
            "position": number(row.get("position")),
            "profit_loss": number(row.get("profit_loss")),
            "session_profit_loss": number(row.get("session_profit_loss")),
        }
        for row in told["result"]["settlements"]
    ]
    return sorted(rows, key=lambda row: row["timestamp"], reverse=True)


def _trade(instrument: Instrument, trade: dict[str, Any]) -> Cells:
    price = number(trade["price"])
    return {
        "timestamp": moment(trade["timestamp"]),
        "instrument": instrument["id"],
        "price": price,
        "quantity": base(instrument, trade["amount"], price),
        "side": trade["direction"],
        "index_price": number(trade.get("index_price")),
        "iv": number(trade.get("iv")),
    }
