"""What venues tell now of their contracts: funding, mark and index price, open interest. One row per instrument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import Instrument
from mcp_server.venues.reading import Cells, base, difference_bps, moment, number

Told = Mapping[str, Any]
"""One instrument in the words of the client library, with the venue's own under ``info``."""
_TELLING_MORE_OF_ONE = ("deribit",)
"""Venues whose answers about all leave out what they tell of one: the index, the time."""
MOST_ASKED = 10
"""How many instruments are asked for one after the other."""


def chosen(client: Client, symbol: str | None, left_s: float) -> list[Instrument]:
    """The instrument asked for, or all."""
    return [client.instrument(symbol, left_s)] if symbol else client.instruments(left_s)


def told(client: Client, method: str, instruments: list[Instrument], left_s: float) -> dict[str, Told]:
    """What ``method`` in the plural tells of all instruments, by symbol; where the venue lacks it, the singular of one.

    Raises :class:`~mcp_server.venues.client.NotOfferedError` where it takes a question per instrument and many are
    asked for.
    """
    alone = len(instruments) == 1 and client.venue.name in _TELLING_MORE_OF_ONE
    if client.offers(f"{method}s") and not alone:
        return client.ask_all(f"{method}s", left_s=left_s)
    if len(instruments) > 1 and client.offers(method):
        raise NotOfferedError(f"{client.name} tells this of one instrument at a time, so name a symbol")
    return {item["symbol"]: client.ask(method, item["symbol"], left_s=left_s) for item in instruments}


def funding(client: Client, instruments: list[Instrument], left_s: float) -> list[Cells]:
    """Funding in force. KuCoin tells it with its contracts, Binance the interval apart where it is not eight hours."""
    if client.venue.name == "kucoin":
        rows = told(client, "fetchTicker", instruments, left_s)
        return [_row(item, _kucoin_funding(rows[item["symbol"]]["info"])) for item in instruments if _in(rows, item)]
    rows = told(client, "fetchFundingRate", instruments, left_s)
    unusual = _binance_intervals(client, left_s) if client.venue.name == "binance" else None
    found = [(item, rows[item["symbol"]]) for item in instruments if _in(rows, item)]
    return [
        _row(item, _funding(row, _interval(row) if unusual is None else unusual.get(item["id"], _USUAL_H)))
        for item, row in found
    ]


_USUAL_H = 8.0
_FUNDING_INFO = {"futures": "fapiPublicGetFundingInfo", "inverse": "dapiPublicGetFundingInfo"}


def _binance_intervals(client: Client, left_s: float) -> dict[str, float]:
    """Hours between fundings, of those contracts that do not pay every eight."""
    listed = client.ask(_FUNDING_INFO[client.kind], left_s=left_s)
    return {row["symbol"]: float(row["fundingIntervalHours"]) for row in listed}


def _interval(told: Told) -> float | None:
    hours = told.get("interval")
    return float(str(hours).removesuffix("h")) if hours else None


def _in(rows: Mapping[str, Told], item: Instrument) -> bool:
    return item["symbol"] in rows


def _row(instrument: Instrument, cells: Cells) -> Cells:
    return {"instrument": instrument["id"], **cells}


def _funding(told: Told, hours: float | None) -> Cells:
    return _annualised(number(told.get("fundingRate")), hours) | {
        "timestamp": moment(told.get("timestamp")),
        "next_funding_at": moment(told.get("fundingTimestamp")),
        "mark_price": number(told.get("markPrice")),
        "index_price": number(told.get("indexPrice")),
    }


def _kucoin_funding(info: Told) -> Cells:
    interval = number(info.get("fundingRateGranularity"))
    return _annualised(number(info.get("fundingFeeRate")), interval and interval / 3_600_000) | {
        "next_funding_at": moment(info.get("nextFundingRateDateTime")),
        "mark_price": number(info.get("markPrice")),
        "index_price": number(info.get("indexPrice")),
    }


def _annualised(rate: float | None, hours: float | None) -> Cells:
    yearly = None if rate is None or not hours else rate * 8_760 / hours * 100
    return {"funding_rate": rate, "interval_h": hours, "annualized_pct": yearly}


_WHOLE_CHAINS = ("deribit",)
"""Venues that tell of the options on all coins at once."""


def _no_options(client: Client) -> None:
    if client.kind == "options" and client.venue.name not in _WHOLE_CHAINS:
        raise NotOfferedError(f"{client.name} are told coin by coin: venue_options_summary, venue_option_chain")


_MARKS = {"binance": "fetchMarkPrice", "okx": "fetchMarkPrice", "hyperliquid": "fetchFundingRate"}
"""What tells the mark price; tickers do at the others."""
OKX_TYPES = {"futures": "SWAP", "delivery": "FUTURES", "options": "OPTION", "spot": "MARGIN"}


def marks(client: Client, instruments: list[Instrument], left_s: float) -> list[Cells]:
    """Mark and index price, and what lies between them."""
    if client.venue.name == "okx":
        return _okx_marks(client, instruments, left_s)
    _no_options(client)
    rows = told(client, _MARKS.get(client.venue.name, "fetchTicker"), instruments, left_s)
    return [_row(item, _mark(rows[item["symbol"]])) for item in instruments if _in(rows, item)]


def _mark(told: Told, index: float | None = None) -> Cells:
    mark = number(told.get("markPrice"))
    index = number(told.get("indexPrice")) if index is None else index
    return {
        "timestamp": moment(told.get("timestamp")),
        "mark_price": mark,
        "index_price": index,
        "basis": None if mark is None or index is None else mark - index,
        "basis_bps": difference_bps(mark, index),
    }


def _okx_marks(client: Client, instruments: list[Instrument], left_s: float) -> list[Cells]:
    """OKX tells an index under its pair, one question for each currency that it is quoted in."""
    rows = client.ask("fetchMarkPrices", None, {"instType": OKX_TYPES[client.kind]}, left_s=left_s)
    found = [item for item in instruments if _in(rows, item)]
    indices: dict[str, float | None] = {}
    for quote in {item["quote"] for item in found}:
        answer = client.ask("publicGetMarketIndexTickers", {"quoteCcy": quote}, left_s=left_s)
        indices |= {row["instId"]: number(row["idxPx"]) for row in answer["data"]}
    return [_row(item, _mark(rows[item["symbol"]], indices.get(f"{item['base']}-{item['quote']}"))) for item in found]


_IN_TICKERS: Mapping[str, tuple[str, str | None]] = {
    "bybit": ("openInterest", "openInterestValue"),
    "gateio": ("total_size", None),
    "kraken": ("openInterest", None),
    "kucoin": ("openInterest", None),
}
"""Where a ticker tells open interest, in contracts, and its value."""


def interest(client: Client, instruments: list[Instrument], left_s: float) -> list[Cells]:
    """Open interest, largest value first: the value told, or else open interest times mark price."""
    _no_options(client)
    name = client.venue.name
    if name in _IN_TICKERS:
        read: Callable[[Instrument, Told], Cells] = _ticker_interest(*_IN_TICKERS[name])
        rows = told(client, "fetchTicker", instruments, left_s)
    elif name == "binance":
        read, instruments = _interest, _largest(client, instruments, left_s)
        rows = {item["symbol"]: client.ask("fetchOpenInterest", item["symbol"], left_s=left_s) for item in instruments}
    else:
        read, rows = _interest, told(client, "fetchOpenInterest", instruments, left_s)
    found = [_row(item, read(item, rows[item["symbol"]])) for item in instruments if _in(rows, item)]
    if any(row["open_interest_usd"] is None for row in found):
        prices = {row["instrument"]: row["mark_price"] for row in marks(client, instruments, left_s)}
        found = [_valued(row, prices.get(row["instrument"])) for row in found]
    return sorted(found, key=lambda row: -(row["open_interest_usd"] or 0.0))


def _valued(row: Cells, mark: float | None) -> Cells:
    told, coins = row["open_interest_usd"], row["open_interest"]
    return row if told is not None or coins is None or mark is None else row | {"open_interest_usd": coins * mark}


def _largest(client: Client, instruments: list[Instrument], left_s: float) -> list[Instrument]:
    """Those traded most, no more than may be asked for one after the other."""
    if len(instruments) == 1:
        return instruments
    tickers = client.ask_all("fetchTickers", left_s=left_s)
    traded = {item["symbol"]: number((tickers.get(item["symbol"]) or {}).get("quoteVolume")) for item in instruments}
    return sorted(instruments, key=lambda item: -(traded[item["symbol"]] or 0.0))[:MOST_ASKED]


def _ticker_interest(amount: str, value: str | None) -> Callable[[Instrument, Told], Cells]:
    def read(instrument: Instrument, told: Told) -> Cells:
        info, at = told["info"], moment(told.get("timestamp"))
        contracts, size = number(info.get(amount)), number(instrument.get("contractSize"))
        if instrument.get("linear") is False:
            dollars = None if contracts is None or size is None else contracts * size
            return {"timestamp": at, "open_interest": None, "open_interest_usd": dollars}
        worth = number(info.get(value)) if value else None
        return {"timestamp": at, "open_interest": base(instrument, contracts), "open_interest_usd": worth}

    return read


def _interest(instrument: Instrument, told: Told) -> Cells:
    return {
        "timestamp": moment(told.get("timestamp")),
        "open_interest": interest_base(instrument, told),
        "open_interest_usd": number(told.get("openInterestValue")),
    }


def interest_base(instrument: Instrument, told: Told) -> float | None:
    """Open interest in base coin: the library gives some venues' in contracts, OKX's in coins beside them."""
    coins, amount = number(told.get("baseVolume")), number(told.get("openInterestAmount"))
    if coins is not None and coins != amount:
        return coins
    contracts = float(instrument.get("contractSize") or 1.0) != 1.0
    return base(instrument, amount) if contracts else amount if instrument.get("linear") else None
