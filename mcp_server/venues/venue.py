"""The venues that can be asked, each with its markets. Adding one is one entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["futures", "spot", "inverse", "delivery", "options"]
"""Inverse are perpetual futures settled in their coin, delivery dated ones."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a venue that has instruments of its own.

    ``client`` is the class of the client library, ``options`` what it is told, ``types`` the kinds of instrument it
    loads. ``simulated`` is the market of the simulator that answers instead in a demo, None where it has none.
    ``quotes`` are the currencies a bare coin is quoted in, the usual one first. ``all`` is what a question about all
    instruments at once must say.
    """

    client: str
    types: tuple[str, ...]
    quotes: tuple[str, ...] = ("USDT", "USDC", "USD")
    simulated: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    all: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Venue:
    name: str
    sections: Mapping[Kind, Section]


def _only(kind: str, **further: Any) -> dict[str, Any]:
    """Options by which a client loads and asks one kind of instrument."""
    return {"fetchMarkets": {"types": [kind]}, "defaultType": kind} | further


_COIN = ("USD", "USDT", "USDC")


def _settled(currency: str) -> dict[str, Any]:
    return {"swap": {"fetchMarkets": {"settlementCurrencies": [currency]}}}


VENUES: Mapping[str, Venue] = {
    venue.name: venue
    for venue in (
        Venue(
            "binance",
            {
                "futures": Section("binanceusdm", ("swap",), simulated="binance_futures"),
                "spot": Section(
                    "binance",
                    ("spot",),
                    simulated="binance_spot",
                    options=_only("spot"),
                ),
                "inverse": Section("binancecoinm", ("swap",), quotes=_COIN),
            },
        ),
        Venue(
            "bybit",
            {
                "futures": Section(
                    "bybit", ("swap",), simulated="bybit_futures", options=_only("linear") | {"defaultType": "swap"}
                ),
                "spot": Section("bybit", ("spot",), simulated="bybit_spot", options=_only("spot")),
                "inverse": Section(
                    "bybit",
                    ("swap",),
                    quotes=_COIN,
                    options=_only("inverse") | {"defaultType": "swap", "defaultSubType": "inverse"},
                ),
                "options": Section("bybit", ("option",), options=_only("option")),
            },
        ),
        Venue(
            "okx",
            {
                "futures": Section("okx", ("swap",), simulated="okx_futures", options=_only("swap")),
                "spot": Section("okx", ("spot",), options=_only("spot")),
                "delivery": Section("okx", ("future",), options=_only("future")),
                "options": Section("okx", ("option",), options=_only("option")),
            },
        ),
        Venue(
            "gateio",
            {
                "futures": Section(
                    "gate", ("swap",), simulated="gateio_futures", options=_only("swap", **_settled("usdt"))
                ),
                "spot": Section("gate", ("spot",), options=_only("spot")),
                "inverse": Section(
                    "gate",
                    ("swap",),
                    quotes=_COIN,
                    options=_only("swap", **_settled("btc")),
                    all={"settle": "btc"},
                ),
                "delivery": Section("gate", ("future",), options=_only("future"), all={"settle": "usdt"}),
                "options": Section("gate", ("option",), options=_only("option")),
            },
        ),
        Venue(
            "kraken",
            {
                "futures": Section("krakenfutures", ("swap", "future"), quotes=("USD",)),
                "spot": Section("kraken", ("spot",), quotes=("USD", "USDT", "USDC", "EUR")),
            },
        ),
        Venue(
            "hyperliquid",
            {
                "futures": Section(
                    "hyperliquid",
                    ("swap",),
                    quotes=("USDC",),
                    simulated="hyperliquid_futures",
                    options=_only("swap"),
                ),
                "spot": Section("hyperliquid", ("spot",), quotes=("USDC",), options=_only("spot")),
            },
        ),
        Venue(
            "deribit",
            {
                "futures": Section(
                    "deribit", ("swap", "future"), quotes=("USD", "USDC", "USDT"), all={"kind": "future"}
                ),
                "spot": Section("deribit", ("spot",), quotes=("USDC", "USDT"), all={"kind": "spot"}),
                "options": Section("deribit", ("option",), quotes=("USD", "USDC"), all={"kind": "option"}),
            },
        ),
        Venue(
            "kucoin",
            {
                "futures": Section("kucoinfutures", ("swap",), simulated="kucoin_futures"),
                "spot": Section(
                    "kucoin",
                    ("spot",),
                    simulated="kucoin_spot",
                    options={"fetchMarkets": {"types": ["spot"], "fetchTickersFees": False}},
                ),
            },
        ),
    )
}
