"""What venues tell of themselves: whether they run, what they trade, what they announce, how much all of it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from mcp_server.errors import ToolError
from mcp_server.venues import options, perpetuals
from mcp_server.venues.client import Client, NotOfferedError
from mcp_server.venues.instruments import coin
from mcp_server.venues.reading import Cells, moment, number, volume

CURRENCIES_S = 600.0
"""How long a list of currencies serves."""


def status(client: Client, left_s: float) -> Cells:
    """Whether the venue runs and what its clock shows; either is unknown where it tells only the other."""
    told: Mapping[str, Any] = _if_offered(client, "fetchStatus", left_s) or {}
    asked = datetime.now(UTC)
    clock = _if_offered(client, "fetchTime", left_s)
    answered = datetime.now(UTC)
    if not told and clock is None:
        raise NotOfferedError(f"{client.name} tells neither a status nor its time")
    halfway = (asked + (answered - asked) / 2).timestamp() * 1_000
    return {
        "status": told.get("status"),
        "until": moment(told.get("eta")),
        "venue_time": moment(clock),
        "clock_ahead_ms": None if clock is None else float(clock) - halfway,
        "round_trip_ms": None if clock is None else (answered - asked).total_seconds() * 1_000,
    }


def _if_offered(client: Client, method: str, left_s: float) -> Any:
    try:
        return client.ask(method, left_s=left_s, cached_s=0)
    except NotOfferedError:
        return None
    except ToolError as error:
        if error.retryable:
            raise
        return None


def currencies(client: Client, left_s: float) -> list[Cells]:
    """By code. Raises :class:`NotOfferedError` where only accounts are told."""
    told = client.ask("fetchCurrencies", left_s=left_s, cached_s=CURRENCIES_S)
    if not told:
        raise NotOfferedError(f"{client.name} tells its currencies only to accounts of its own")
    return [
        {
            "currency": code,
            "venue_name": item.get("id"),
            "name": item.get("name"),
            "active": item.get("active"),
            "deposit": item.get("deposit"),
            "withdraw": item.get("withdraw"),
            "smallest_step": number(item.get("precision")),
            "withdrawal_fee": number(item.get("fee")),
            "networks": list(item.get("networks") or {}) or None,
        }
        for code, item in sorted(told.items())
    ]


def _bybit_news(client: Client, limit: int, locale: str, left_s: float) -> list[Cells]:
    told = client.ask("publicGetV5AnnouncementsIndex", {"locale": locale, "limit": limit}, left_s=left_s)
    return [
        {
            "published": moment(row.get("publishTime") or row.get("dateTimestamp")),
            "kind": row["type"]["title"],
            "title": row["title"],
            "url": row["url"],
        }
        for row in told["result"]["list"]
    ]


def _okx_news(client: Client, limit: int, locale: str, left_s: float) -> list[Cells]:
    told = client.ask("publicGetSupportAnnouncements", {}, left_s=left_s)
    rows = [row for page in told["data"] for row in page["details"]]
    return [
        {"published": moment(row["pTime"]), "kind": row["annType"], "title": row["title"], "url": row["url"]}
        for row in rows
    ]


def _kucoin_news(client: Client, limit: int, locale: str, left_s: float) -> list[Cells]:
    question = {"pageSize": limit, "lang": locale.replace("-", "_")}
    told = client.ask("publicGetAnnouncements", question, left_s=left_s)
    return [
        {
            "published": moment(row["cTime"]),
            "kind": ", ".join(row["annType"]),
            "title": row["annTitle"],
            "url": row["annUrl"],
        }
        for row in told["data"]["items"]
    ]


_NEWS: Mapping[str, Callable[[Client, int, str, float], list[Cells]]] = {
    "bybit": _bybit_news,
    "okx": _okx_news,
    "kucoin": _kucoin_news,
}


def announcements(client: Client, limit: int, locale: str, left_s: float) -> list[Cells]:
    """Newest first."""
    if client.venue.name not in _NEWS:
        raise NotOfferedError(f"{client.name} publishes no announcements here; these do: {', '.join(_NEWS)}")
    found = _NEWS[client.venue.name](client, limit, locale, left_s)
    return sorted(found, key=lambda row: (row["published"] is not None, row["published"]), reverse=True)[:limit]


def totals(client: Client, text: str | None, left_s: float) -> list[Cells]:
    """Open interest and volume of a section by coin, largest first; of one coin where ``text`` names one."""
    rows = _options(client, text, left_s) if client.kind == "options" else _contracts(client, text, left_s)
    found = [{"section": client.kind, "coin": name, **_summed(held)} for name, held in _by_coin(rows).items()]
    return sorted(found, key=lambda row: -(row["open_interest_usd"] or row["volume_24h_usd"] or 0.0))


def _contracts(client: Client, text: str | None, left_s: float) -> list[Cells]:
    """What the venue tells in coin only is valued at the mark price, without one at the last."""
    listed = [item for item in client.instruments(left_s) if text is None or item["base"] == coin(text)]
    tickers = client.ask_all("fetchTickers", left_s=left_s)
    interest = {row["instrument"]: row for row in perpetuals.interest(client, listed, left_s)} if listed else {}
    rows = []
    for item in listed:
        ticker = tickers.get(item["symbol"]) or {}
        held = interest.get(item["id"], {})
        price = ticker.get("markPrice") or ticker.get("last")
        rows.append(
            {
                "coin": item["base"],
                "held_base": held.get("open_interest"),
                "held_usd": _valued(held.get("open_interest_usd"), held.get("open_interest"), price),
                "traded_usd": _valued(number(ticker.get("quoteVolume")), volume(item, ticker.get("baseVolume")), price),
            }
        )
    return rows


def _options(client: Client, text: str | None, left_s: float) -> list[Cells]:
    """Options are valued at their underlying, both what is open and what was traded."""
    rows = []
    for name in sorted({item["base"] for item in client.instruments(left_s) if item.get("strike") is not None}):
        if text is not None and name != coin(text):
            continue
        for row in options.quotes(client, options.listed(client, name, left_s), left_s):
            price = row.get("underlying_price")
            rows.append(
                {
                    "coin": name,
                    "held_base": row.get("open_interest"),
                    "held_usd": _valued(None, row.get("open_interest"), price),
                    "traded_usd": _valued(None, row.get("volume_24h"), price),
                }
            )
    return rows


def _valued(value: float | None, coins: float | None, price: Any) -> float | None:
    if value is not None or coins is None or price is None:
        return value
    return coins * float(price)


def _by_coin(rows: list[Cells]) -> dict[str, list[Cells]]:
    found: dict[str, list[Cells]] = {}
    for row in rows:
        found.setdefault(row["coin"], []).append(row)
    return found


def _summed(rows: list[Cells]) -> Cells:
    held = [row for row in rows if row["held_usd"] is not None]
    return {
        "instruments": len(rows),
        "instruments_summed": len(held),
        "open_interest": total(row["held_base"] for row in rows),
        "open_interest_usd": total(row["held_usd"] for row in rows),
        "volume_24h_usd": total(row["traded_usd"] for row in rows),
    }


def total(values: Iterable[float | None]) -> float | None:
    """Of those that are told; None where none is."""
    told = [value for value in values if value is not None]
    return sum(told) if told else None


def okx_volume_usd(client: Client, left_s: float) -> float | None:
    """What OKX itself says was traded on all of it in 24 hours."""
    told = client.ask("publicGetMarketPlatform24Volume", {}, left_s=left_s)["data"]
    return number(told["volUsd"] if isinstance(told, Mapping) else told[0]["volUsd"])


def index_names(client: Client, left_s: float) -> list[str]:
    if client.venue.name != "deribit":
        raise NotOfferedError(f"{client.name} lists no indices here; deribit does")
    return sorted(client.ask("publicGetGetIndexPriceNames", {}, left_s=left_s)["result"])
