"""What venues tell of their contracts' terms: how large positions may be, what covers losses, what an index says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import Instrument
from mcp_server.venues.perpetuals import OKX_TYPES, marks
from mcp_server.venues.reading import Cells, moment, number


def tiers(client: Client, instrument: Instrument, left_s: float) -> list[Cells]:
    """Smallest positions first. OKX tells sizes in contracts, the others in currency."""
    contracts = client.venue.name == "okx"
    return [
        {
            "tier": int(tier["tier"]) if tier.get("tier") is not None else None,
            "min_size": number(tier.get("minNotional")),
            "max_size": number(tier.get("maxNotional")),
            "size_in": "contracts" if contracts else tier.get("currency"),
            "maintenance_margin": number(tier.get("maintenanceMarginRate")),
            "max_leverage": number(tier.get("maxLeverage")),
        }
        for tier in client.ask("fetchMarketLeverageTiers", instrument["symbol"], left_s=left_s)
    ]


def _binance_fund(client: Client, instrument: Instrument, left_s: float) -> list[Cells]:
    told = client.ask("fapiPublicGetInsuranceBalance", {"symbol": instrument["id"]}, left_s=left_s)
    return [
        {
            "timestamp": moment(asset.get("updateTime")),
            "coin": asset["asset"],
            "balance": number(asset.get("marginBalance")),
            "covers": len(group["symbols"]),
        }
        for group in (told if isinstance(told, list) else [told])
        for asset in group["assets"]
    ]


def _bybit_fund(client: Client, instrument: Instrument, left_s: float) -> list[Cells]:
    told = client.ask("publicGetV5MarketInsurance", {"coin": instrument["settle"]}, left_s=left_s)["result"]
    return [
        {
            "timestamp": moment(told.get("updatedTime")),
            "coin": row["coin"],
            "balance": number(row.get("balance")),
            "balance_usd": number(row.get("value")),
            "covers": len(row["symbols"].split(",")) if row.get("symbols") else None,
        }
        for row in told["list"]
    ]


def _okx_fund(client: Client, instrument: Instrument, left_s: float) -> list[Cells]:
    question = {"instType": OKX_TYPES[client.kind], "instFamily": f"{instrument['base']}-{instrument['quote']}"}
    told = client.ask("publicGetPublicInsuranceFund", question, left_s=left_s)["data"]
    return [
        {"timestamp": moment(row.get("ts")), "coin": row.get("ccy"), "balance": number(row.get("balance"))}
        for group in told
        for row in group["details"]
    ]


def _gateio_fund(client: Client, instrument: Instrument, left_s: float) -> list[Cells]:
    told = client.ask("publicFuturesGetSettleInsurance", {"settle": instrument["settleId"]}, left_s=left_s)
    return [
        {"timestamp": moment(float(row["t"]) * 1_000), "coin": instrument["settle"], "balance": number(row["b"])}
        for row in told
    ]


_FUNDS: Mapping[str, Callable[[Client, Instrument, float], list[Cells]]] = {
    "binance": _binance_fund,
    "bybit": _bybit_fund,
    "okx": _okx_fund,
    "gateio": _gateio_fund,
}


def insurance(client: Client, instrument: Instrument, left_s: float) -> list[Cells]:
    """The fund that covers an instrument, newest balance first."""
    if client.venue.name not in _FUNDS:
        raise NotOfferedError(f"{client.name} tells no insurance fund; these do: {', '.join(_FUNDS)}")
    rows = _FUNDS[client.venue.name](client, instrument, left_s)
    return sorted(rows, key=lambda row: str(row["timestamp"]), reverse=True)


def index(client: Client, text: str, left_s: float) -> list[Cells]:
    """An index by the pair that ``text`` names; with its day where the venue tells that."""
    if client.venue.name == "okx" and client.kind == "futures":
        return _okx_index(client, text, left_s)
    if client.venue.name == "gateio" and client.kind == "options":
        told = client.ask("publicOptionsGetUnderlyingTickersUnderlying", {"underlying": text.upper()}, left_s=left_s)
        return [{"index": text.upper(), "index_price": number(told.get("index_price"))}]
    return [
        {"index": row["instrument"], "timestamp": row["timestamp"], "index_price": row["index_price"]}
        for row in marks(client, [client.instrument(text, left_s)], left_s)
    ]


def _okx_index(client: Client, text: str, left_s: float) -> list[Cells]:
    instrument = client.instrument(text, left_s)
    pair: dict[str, Any] = {"instId": f"{instrument['base']}-{instrument['quote']}"}
    return [
        {
            "index": row["instId"],
            "timestamp": moment(row.get("ts")),
            "index_price": number(row.get("idxPx")),
            "open_24h": number(row.get("open24h")),
            "high_24h": number(row.get("high24h")),
            "low_24h": number(row.get("low24h")),
        }
        for row in client.ask("publicGetMarketIndexTickers", pair, left_s=left_s)["data"]
    ]


def coin(client: Client, name: str, period: str, left_s: float) -> list[Cells]:
    """Open interest and trading of all contracts of a coin, newest first."""
    if client.venue.name != "okx" or client.kind != "futures":
        raise NotOfferedError(f"{client.name} tells no sums over all contracts of a coin; okx does")
    question = {"ccy": name.upper(), "period": {"1h": "1H", "1d": "1D"}.get(period, period)}
    told = client.ask("publicGetRubikStatContractsOpenInterestVolume", question, left_s=left_s)["data"]
    rows = [
        {"timestamp": moment(at), "open_interest_usd": number(interest), "volume_usd": number(volume)}
        for at, interest, volume in told
    ]
    return sorted(rows, key=lambda row: str(row["timestamp"]), reverse=True)
