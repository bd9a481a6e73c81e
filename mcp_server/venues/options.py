"""What venues tell of the options on a coin, in one shape: implied volatility in percent, sizes in coin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mcp_server.errors import ToolError
from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import Instrument, coin
from mcp_server.venues.reading import Cells, base, moment, number
from orderflow_streaming.store.window import naive_utc

Told = Mapping[str, Any]
GREEKS = ("delta", "gamma", "theta", "vega")
_WAYS_TO_WRITE = ("%Y-%m-%d", "%d%b%y", "%y%m%d", "%Y%m%d")


def listed(client: Client, text: str, left_s: float) -> list[Instrument]:
    """The options on the coin that ``text`` names, by expiry and strike; raises :class:`ToolError` where it has none.

    Combinations, which have no strike, are left out.
    """
    options = [item for item in client.instruments(left_s) if item.get("strike") is not None]
    asked = coin(text)
    found = [item for item in options if item["base"] == asked]
    if not found:
        coins = ", ".join(sorted({item["base"] for item in options})) or "none"
        raise ToolError("unknown_name", f"{client.name} lists no options on {asked[:20]!r}.", f"It has: {coins}.")
    return sorted(found, key=lambda item: (item["expiry"], item["strike"], item["optionType"]))


def expiring(options: Sequence[Instrument], text: str) -> list[Instrument]:
    """Those that expire on the day that ``text`` names; raises :class:`ToolError` with the days that there are."""
    day = _day(text)
    found = [item for item in options if _expiry(item).date() == day.date()] if day else []
    if not found:
        days = list(dict.fromkeys(f"{_expiry(item):%Y-%m-%d}" for item in options))
        raise ToolError("unknown_name", f"No option expires on {text[:40]!r}.", f"There are: {', '.join(days)}.")
    return found


def _day(text: str) -> datetime | None:
    for way in _WAYS_TO_WRITE:
        try:
            return naive_utc(datetime.strptime(text.strip()[:10], way).replace(tzinfo=UTC))
        except ValueError:
            continue
    return moment(float(text) * 1_000) if text.strip().isdigit() else None


def _expiry(option: Instrument) -> datetime:
    return datetime.fromtimestamp(option["expiry"] / 1_000, UTC).replace(tzinfo=None)


def quotes(client: Client, options: Sequence[Instrument], left_s: float) -> list[Cells]:
    """A row for each option, in their order; those that the venue tells nothing of are left out."""
    if client.venue.name not in _READERS:
        raise NotOfferedError(f"{client.name} tells no option quotes; these do: {', '.join(_READERS)}")
    told = _READERS[client.venue.name](client, options, left_s)
    return [{**_named(option), **told[option["id"]]} for option in options if option["id"] in told]


def quote(client: Client, option: Instrument, left_s: float) -> Cells:
    """The row of one option, with all that its venue tells of it."""
    if client.venue.name == "deribit":
        told = client.ask("publicGetTicker", {"instrument_name": option["id"]}, left_s=left_s)["result"]
        return {**_named(option), **_deribit_quote({**told, **told["stats"]})}
    found = quotes(client, [option], left_s)
    if not found:
        raise NotOfferedError(f"{client.name} tells nothing of {option['id']} now")
    return found[0]


def _named(option: Instrument) -> Cells:
    return {
        "instrument": option["id"],
        "expiry": moment(option["expiry"]),
        "strike": number(option["strike"]),
        "option_type": option["optionType"],
        "price_currency": option["settle"],
    }


def _percent(fraction: Any) -> float | None:
    value = number(fraction)
    return None if value is None else value * 100


def _all(options: Sequence[Instrument], name: str) -> list[Any]:
    """The distinct values of ``name``, a field in the words of the venue."""
    return list(dict.fromkeys(option["info"][name] for option in options))


def _deribit(client: Client, options: Sequence[Instrument], left_s: float) -> dict[str, Cells]:
    rows: dict[str, Cells] = {}
    for currency in dict.fromkeys(option["settleId"] for option in options):
        question = {"currency": currency, "kind": "option"}
        told = client.ask("publicGetGetBookSummaryByCurrency", question, left_s=left_s)["result"]
        rows |= {row["instrument_name"]: _deribit_quote(row) for row in told}
    return rows


def _deribit_quote(row: Told) -> Cells:
    """Of the ticker of one option or of the summary of many, which has neither greeks nor sides' volatilities."""
    greeks = row.get("greeks") or {}
    return {
        "timestamp": moment(row.get("timestamp") or row.get("creation_timestamp")),
        "bid": number(row.get("best_bid_price", row.get("bid_price"))) or None,
        "ask": number(row.get("best_ask_price", row.get("ask_price"))) or None,
        "mark_price": number(row.get("mark_price")),
        "last": number(row.get("last_price", row.get("last"))),
        "mark_iv": number(row.get("mark_iv")),
        "bid_iv": number(row.get("bid_iv")) or None,
        "ask_iv": number(row.get("ask_iv")) or None,
        "underlying_price": number(row.get("underlying_price")),
        "open_interest": number(row.get("open_interest")),
        "volume_24h": number(row.get("volume")),
        **{name: number(greeks.get(name)) for name in GREEKS},
    }


def _bybit(client: Client, options: Sequence[Instrument], left_s: float) -> dict[str, Cells]:
    question = {"category": "option", "baseCoin": options[0]["baseId"]}
    told = client.ask("publicGetV5MarketTickers", question, left_s=left_s)
    at = moment(told.get("time"))
    return {row["symbol"]: {"timestamp": at, **_bybit_quote(row)} for row in told["result"]["list"]}


def _bybit_quote(row: Told) -> Cells:
    return {
        "bid": number(row["bid1Price"]) or None,
        "ask": number(row["ask1Price"]) or None,
        "mark_price": number(row["markPrice"]),
        "last": number(row["lastPrice"]) or None,
        "mark_iv": _percent(row["markIv"]),
        "bid_iv": _percent(row["bid1Iv"]) or None,
        "ask_iv": _percent(row["ask1Iv"]) or None,
        "underlying_price": number(row["underlyingPrice"]),
        "open_interest": number(row["openInterest"]),
        "volume_24h": number(row["volume24h"]),
        **{name: number(row[name]) for name in GREEKS},
    }


def _okx(client: Client, options: Sequence[Instrument], left_s: float) -> dict[str, Cells]:
    """Volatilities and greeks, quotes, and open interest are three answers."""
    rows: dict[str, Cells] = {}
    for underlying in _all(options, "uly"):
        question = {"uly": underlying}
        kind = {"instType": "OPTION"} | question
        for row in client.ask("publicGetPublicOptSummary", question, left_s=left_s)["data"]:
            rows.setdefault(row["instId"], {}).update(_okx_volatility(row))
        for row in client.ask("publicGetMarketTickers", kind, left_s=left_s)["data"]:
            rows.setdefault(row["instId"], {}).update(_okx_quote(row))
        for row in client.ask("publicGetPublicOpenInterest", kind, left_s=left_s)["data"]:
            rows.setdefault(row["instId"], {}).update({"open_interest": number(row["oiCcy"])})
    return rows


def _okx_volatility(row: Told) -> Cells:
    return {
        "mark_iv": _percent(row["markVol"]),
        "bid_iv": _percent(row["bidVol"]) or None,
        "ask_iv": _percent(row["askVol"]) or None,
        "underlying_price": number(row["fwdPx"]),
        **{name: number(row[f"{name}BS"]) for name in GREEKS},
    }


def _okx_quote(row: Told) -> Cells:
    return {
        "timestamp": moment(row["ts"]),
        "bid": number(row["bidPx"]) or None,
        "ask": number(row["askPx"]) or None,
        "last": number(row["last"]) or None,
        "volume_24h": number(row["volCcy24h"]),
    }


def _gateio(client: Client, options: Sequence[Instrument], left_s: float) -> dict[str, Cells]:
    known = {option["id"]: option for option in options}
    rows: dict[str, Cells] = {}
    for underlying in _all(options, "underlying"):
        told = client.ask("publicOptionsGetTickers", {"underlying": underlying}, left_s=left_s)
        rows |= {row["name"]: _gateio_quote(known[row["name"]], row) for row in told if row["name"] in known}
    return rows


def _gateio_quote(option: Instrument, row: Told) -> Cells:
    return {
        "bid": number(row["bid1_price"]) or None,
        "ask": number(row["ask1_price"]) or None,
        "mark_price": number(row["mark_price"]),
        "last": number(row["last_price"]) or None,
        "mark_iv": _percent(row["mark_iv"]),
        "bid_iv": _percent(row["bid_iv"]) or None,
        "ask_iv": _percent(row["ask_iv"]) or None,
        "underlying_price": number(row.get("index_price")),
        "open_interest": base(option, row["position_size"]),
        **{name: number(row[name]) for name in GREEKS},
    }


_READERS: Mapping[str, Callable[[Client, Sequence[Instrument], float], dict[str, Cells]]] = {
    "deribit": _deribit,
    "bybit": _bybit,
    "okx": _okx,
    "gateio": _gateio,
}
