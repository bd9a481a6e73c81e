"""Which instrument of a venue a text means: the venue's own name, or a coin or pair in any usual spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Instrument = Mapping[str, Any]
_SEPARATORS = re.compile(r"[-_/:. ]")
_SAME = {"XBT": "BTC", "XDG": "DOGE"}
"""Coins that some venues spell differently."""
_SUFFIXES = ("PERPETUAL", "PERP", "SWAP")
_STABLE = ("USDT", "USDC", "USD")


def find(instruments: Sequence[Instrument], text: str, quotes: Sequence[str]) -> Instrument | None:
    """The instrument that ``text`` names; None where none does.

    The venue's own name wins, then the pair, then the coin in the first of ``quotes`` that it is quoted in: where
    BTCUSDT is asked of a venue that quotes in USDC, that is what there is. Perpetual ones win over dated ones.
    """
    asked = text.strip().upper()
    for instrument in instruments:
        if asked in (str(instrument["id"]).upper(), str(instrument["symbol"]).upper()):
            return instrument
    ordered = sorted(instruments, key=lambda item: (item["type"] not in ("swap", "spot"), item.get("linear") is False))
    pair = _compact(asked)
    for instrument in ordered:
        if pair == f"{instrument['base']}{instrument['quote']}".upper():
            return instrument
    sought = coin(asked)
    return next(
        (
            instrument
            for quote in quotes
            for instrument in ordered
            if (str(instrument["base"]).upper(), instrument["quote"]) == (sought, quote)
        ),
        None,
    )


def coin(text: str) -> str:
    """The coin that a coin or pair in any spelling names: ``btc``, ``BTC-USD`` and ``XBTUSDT`` are ``BTC``."""
    pair = _compact(text.strip().upper())
    return next((pair.removesuffix(quote) for quote in _STABLE if pair.endswith(quote) and pair != quote), pair)


def _compact(text: str) -> str:
    """``BTC-USDT-SWAP``, ``btc_usdt`` and ``XBTUSDT`` as ``BTCUSDT``."""
    joined = _SEPARATORS.sub("", text)
    for suffix in _SUFFIXES:
        joined = joined.removesuffix(suffix)
    for theirs, ours in _SAME.items():
        if joined.startswith(theirs):
            joined = ours + joined.removeprefix(theirs)
    return joined
