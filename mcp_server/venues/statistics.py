"""What venues tell of past periods: open interest, who is long and short, what takers did. Newest first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import Instrument
from mcp_server.venues.perpetuals import interest_base
from mcp_server.venues.reading import Cells, base, difference_bps, moment, number

Reader = Callable[[Client, Instrument, str, int, float], list[Cells]]
"""Asks a client about an instrument: the period, how many of them, and the seconds left."""
_BYBIT = {"5m": "5min", "15m": "15min", "30m": "30min"}
_OKX = {"1h": "1H", "2h": "2H", "4h": "4H", "6h": "6H", "12h": "12H", "1d": "1D"}


def _newest_first(rows: list[Cells], limit: int) -> list[Cells]:
    return sorted(rows, key=lambda row: row["timestamp"], reverse=True)[:limit]


def interest(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    found = client.ask("fetchOpenInterestHistory", instrument["symbol"], period, None, limit, left_s=left_s)
    rows = [
        {
            "timestamp": moment(told["timestamp"]),
            "open_interest": interest_base(instrument, told),
            "open_interest_usd": number(told.get("openInterestValue")),
        }
        for told in found
    ]
    return _newest_first(rows, limit)


def basis(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    """Closes of the candles of mark and of index price that open at the same time."""
    closes = [
        {at: number(close) for at, _, _, _, close, *_ in candles}
        for method in ("fetchMarkOHLCV", "fetchIndexOHLCV")
        for candles in (client.ask(method, instrument["symbol"], period, None, limit, left_s=left_s),)
    ]
    marks, indices = closes
    rows = [
        {
            "timestamp": moment(at),
            "mark_price": mark,
            "index_price": index,
            "basis": None if mark is None or index is None else mark - index,
            "basis_bps": difference_bps(mark, index),
        }
        for at, mark in marks.items()
        for index in (indices.get(at),)
    ]
    return _newest_first(rows, limit)


def _merged(parts: Mapping[str, Mapping[Any, Any]]) -> list[Cells]:
    """Rows by time in milliseconds, of several columns that come one by one."""
    times = {at for part in parts.values() for at in part}
    return [{"timestamp": moment(at), **{name: number(part.get(at)) for name, part in parts.items()}} for at in times]


_BINANCE_RATIOS = {
    "accounts": "fapiDataGetGlobalLongShortAccountRatio",
    "top_accounts": "fapiDataGetTopLongShortAccountRatio",
    "top_positions": "fapiDataGetTopLongShortPositionRatio",
}
_OKX_RATIOS = {
    "accounts": "publicGetRubikStatContractsLongShortAccountRatioContract",
    "top_accounts": "publicGetRubikStatContractsLongShortAccountRatioContractTopTrader",
    "top_positions": "publicGetRubikStatContractsLongShortPositionRatioContractTopTrader",
}


def _binance_ratios(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    question = {"symbol": instrument["id"], "period": period, "limit": limit}
    return _merged(
        {
            of: {row["timestamp"]: row["longShortRatio"] for row in client.ask(endpoint, question, left_s=left_s)}
            for of, endpoint in _BINANCE_RATIOS.items()
        }
    )


def _okx_ratios(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    question = {"instId": instrument["id"], "period": _OKX.get(period, period), "limit": min(limit, 100)}
    return _merged(
        {of: dict(client.ask(endpoint, question, left_s=left_s)["data"]) for of, endpoint in _OKX_RATIOS.items()}
    )


def _bybit_ratios(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    question = {
        "category": "linear" if instrument["linear"] else "inverse",
        "symbol": instrument["id"],
        "period": _BYBIT.get(period, period),
        "limit": limit,
    }
    told = client.ask("publicGetV5MarketAccountRatio", question, left_s=left_s)["result"]["list"]
    return [
        {"timestamp": moment(row["timestamp"]), "accounts": float(row["buyRatio"]) / float(row["sellRatio"])}
        for row in told
        if float(row["sellRatio"])
    ]


def _gateio(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[dict[str, Any]]:
    question = {
        "settle": instrument["settleId"],
        "contract": instrument["id"],
        "interval": period,
        "limit": min(limit, 100),
    }
    return list(client.ask("publicFuturesGetSettleContractStats", question, left_s=left_s))


def _gateio_ratios(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    return [
        {
            "timestamp": moment(float(row["time"]) * 1_000),
            "accounts": number(row.get("lsr_account")),
            "top_accounts": number(row.get("top_lsr_account")),
            "top_positions": number(row.get("top_lsr_size")),
        }
        for row in _gateio(client, instrument, period, limit, left_s)
    ]


def _binance_takers(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    question = {"symbol": instrument["id"], "period": period, "limit": limit}
    told = client.ask("fapiDataGetTakerlongshortRatio", question, left_s=left_s)
    return [_takers(row["timestamp"], number(row["buyVol"]), number(row["sellVol"])) for row in told]


_OKX_IN_COINS = "0"


def _okx_takers(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    question = {"instId": instrument["id"], "period": _OKX.get(period, period), "limit": min(limit, 100)}
    told = client.ask("publicGetRubikStatTakerVolumeContract", question | {"unit": _OKX_IN_COINS}, left_s=left_s)
    return [_takers(at, number(bought), number(sold)) for at, sold, bought in told["data"]]


def _takers(at: Any, bought: float | None, sold: float | None) -> Cells:
    return {
        "timestamp": moment(at),
        "buy_qty": bought,
        "sell_qty": sold,
        "net_qty": None if bought is None or sold is None else bought - sold,
        "buy_sell_ratio": None if bought is None or not sold else bought / sold,
    }


def _gateio_takers(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    return [
        {"timestamp": moment(float(row["time"]) * 1_000), "buy_sell_ratio": number(row.get("lsr_taker"))}
        for row in _gateio(client, instrument, period, limit, left_s)
    ]


def _gateio_stats(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
    return [
        {
            "timestamp": moment(float(row["time"]) * 1_000),
            "mark_price": number(row.get("mark_price")),
            "open_interest": base(instrument, number(row.get("open_interest"))),
            "open_interest_usd": number(row.get("open_interest_usd")),
            "accounts": number(row.get("lsr_account")),
            "takers": number(row.get("lsr_taker")),
            "top_accounts": number(row.get("top_lsr_account")),
            "top_positions": number(row.get("top_lsr_size")),
            "long_liquidated_usd": number(row.get("long_liq_usd")),
            "short_liquidated_usd": number(row.get("short_liq_usd")),
        }
        for row in _gateio(client, instrument, period, limit, left_s)
    ]


def liquidations(client: Client, instruments: Sequence[Instrument], limit: int, left_s: float) -> list[Cells]:
    """The latest forced closures of one instrument or of all."""
    if client.venue.name != "gateio" or not _tells(client):
        offered = "futures of gateio do, and liquidations_get has what all venues stream"
        raise NotOfferedError(f"{client.name} tells no liquidations over REST; {offered}")
    by_name = {item["id"]: item for item in instruments}
    question = {"settle": instruments[0]["settleId"], "limit": limit}
    if len(by_name) == 1:
        question["contract"] = instruments[0]["id"]
    told = client.ask("publicFuturesGetSettleLiqOrders", question, left_s=left_s)
    return _newest_first([_closed(by_name[row["contract"]], row) for row in told if row["contract"] in by_name], limit)


def _closed(instrument: Instrument, row: Mapping[str, Any]) -> Cells:
    """A forced closure; the sign of its size is that of the position."""
    size = float(row["size"])
    price, quantity = number(row.get("fill_price")), base(instrument, abs(size))
    return {
        "timestamp": moment(float(row["time"]) * 1_000),
        "instrument": instrument["id"],
        "side": "long" if size > 0 else "short",
        "price": price,
        "quantity": quantity,
        "value": None if price is None or quantity is None else price * quantity,
    }


_RATIOS: Mapping[str, Reader] = {
    "binance": _binance_ratios,
    "bybit": _bybit_ratios,
    "okx": _okx_ratios,
    "gateio": _gateio_ratios,
}
_TAKERS: Mapping[str, Reader] = {"binance": _binance_takers, "okx": _okx_takers, "gateio": _gateio_takers}
_STATS: Mapping[str, Reader] = {"gateio": _gateio_stats}


_INVERSE_ALIKE = ("bybit", "gateio")
"""Venues that tell of futures settled in coin under the same addresses."""


def _tells(client: Client) -> bool:
    """Whether the section is one of perpetual futures that the endpoints above know."""
    return client.kind == "futures" or (client.kind == "inverse" and client.venue.name in _INVERSE_ALIKE)


def _of(readers: Mapping[str, Reader], what: str) -> Reader:
    """Asks those venues that have it."""

    def read(client: Client, instrument: Instrument, period: str, limit: int, left_s: float) -> list[Cells]:
        name = client.venue.name
        if name not in readers or not _tells(client):
            raise NotOfferedError(f"{client.name} tells no {what}; futures of these do: {', '.join(readers)}")
        return _newest_first(readers[name](client, instrument, period, limit, left_s), limit)

    return read


ratios = _of(_RATIOS, "long/short ratio")
takers = _of(_TAKERS, "taker volume")
stats = _of(_STATS, "contract statistics")
