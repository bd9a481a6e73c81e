"""All signals, in the order they are evaluated."""

from __future__ import annotations

from typing import Any

from orderflow_assets.signals.signal import Signal
from orderflow_assets.signals.smart_money import SMART_MONEY_INDEX
from orderflow_streaming.markets import UnknownNameError, suggestion

SIGNALS: dict[str, Signal] = {signal.name: signal for signal in (SMART_MONEY_INDEX,)}


def signal(name: str) -> Signal:
    """The signal called ``name``; raises :class:`~orderflow_streaming.markets.UnknownNameError`."""
    try:
        return SIGNALS[name]
    except KeyError:
        hint = suggestion(name, list(SIGNALS))
        raise UnknownNameError(f"unknown signal {name!r}.{hint} Allowed: {', '.join(SIGNALS)}.") from None


def glossary() -> list[dict[str, Any]]:
    """A plain row per signal."""
    return [item.describe() for item in SIGNALS.values()]
