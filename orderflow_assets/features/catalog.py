"""All features by group: what the glossary, the documentation and the checks iterate over."""

from __future__ import annotations

from typing import Any

from orderflow_assets.features.arbitrage.declarations import BASIS_ARBITRAGE, FUNDING_ARBITRAGE
from orderflow_assets.features.feature import Feature, Group
from orderflow_assets.features.funding.declarations import FUNDING
from orderflow_assets.features.liquidations.declarations import LIQUIDATIONS
from orderflow_assets.features.mark_prices.declarations import MARK_PRICES
from orderflow_assets.features.oi.declarations import OI
from orderflow_assets.features.orderbook.declarations import ORDERBOOK
from orderflow_assets.features.prices.declarations import PRICES
from orderflow_assets.features.ticker.declarations import TICKER
from orderflow_assets.features.trades.declarations import TRADES
from orderflow_streaming.markets import UnknownNameError, suggestion

GROUPS: dict[str, Group] = {
    group.name: group
    for group in (
        PRICES,
        ORDERBOOK,
        TRADES,
        TICKER,
        FUNDING,
        MARK_PRICES,
        FUNDING_ARBITRAGE,
        BASIS_ARBITRAGE,
        OI,
        LIQUIDATIONS,
    )
}


def feature(name: str) -> tuple[Group, Feature]:
    """The feature or companion called ``group.name`` or, where only one group has it, ``name``.

    Raises :class:`~orderflow_streaming.markets.UnknownNameError` with the nearest name.
    """
    known = {f"{group.name}.{item.name}": (group, item) for group in GROUPS.values() for item in group.columns}
    found = [value for key, value in known.items() if name in (key, value[1].name)]
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(f"{group.name}.{item.name}" for group, item in found)
        raise UnknownNameError(f"feature {name!r} is in several groups. Name one of: {choices}.")
    names = [*known, *(item.name for _, item in known.values())]
    raise UnknownNameError(f"unknown feature {name!r}.{suggestion(name, names)} Groups: {', '.join(GROUPS)}.")


def glossary() -> list[dict[str, Any]]:
    """A plain row per feature, features before companions, groups in order."""
    return [
        {
            "feature": f"{group.name}.{item.name}",
            "group": group.name,
            "kind": "feature" if item in group.features else "companion",
            "unit": item.unit,
            "range": "true or false" if item.dtype == "flag" else item.interval,
            "window": item.window,
            "stream": item.stream,
            "definition": item.definition,
            "source": item.source,
        }
        for group in GROUPS.values()
        for item in group.columns
    ]
