"""The isolated tables a configuration should fill, against what the venues turn out to offer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from orderflow_streaming.markets import table_name
from orderflow_streaming.reading.market_reader import MarketReader, Plan


def expected(plan: Plan) -> set[str]:
    """Names of the tables of one market, by what is declared of it."""
    return _tables(plan, plan.exchange.market.symbols)


def offered(reader: MarketReader) -> set[str]:
    """Names of the tables of one market, by what the venue lists; as declared where it never told."""
    return _tables(reader.plan, reader.listed) if reader.listed else expected(reader.plan)


def _tables(plan: Plan, symbols: Collection[str]) -> set[str]:
    return {
        table_name(symbol, plan.market, stream)
        for symbol in plan.symbols
        if symbol in symbols
        for stream in plan.streams
        if stream in plan.exchange.market.streams
    }


def differences(readers: Mapping[str, MarketReader], refused: Collection[str]) -> dict[str, Any]:
    """Tables expected and offered; ``refused`` are tables whose topics the venue refuses."""
    wanted, found = set(), set()
    for reader in readers.values():
        wanted |= expected(reader.plan)
        found |= offered(reader)
    available = found - set(refused)
    return {
        "expected": len(wanted),
        "offered": len(available),
        "unlisted": sorted(wanted - found),
        "refused": sorted(found & set(refused)),
        "unexpected": sorted(available - wanted),
    }
