"""What the stored analytics say of a symbol at a time, in short: bias, condition, risk, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from orderflow_assets.analytics.alpha_declarations import LEAST_KNOWN, PRESSURE_WEIGHTS
from orderflow_assets.analytics.catalog import ANALYTICS
from orderflow_streaming import markets
from orderflow_streaming.store.reader import Reader, exists
from orderflow_streaming.store.window import naive_utc

STALE = timedelta(minutes=10)
"""A table whose newest row is older than this against the newest of all is warned of."""

HIGH, EXTREME_SIGMA = 0.9, 2.0
_LOUD = 0.5
"""Size from which a part of the pressure is named as a key signal."""

_RISKS = {"cascade_risk": "leverage", "liquidity_vacuum": "order_flow", "squeeze": "alpha"}
Row = dict[str, Any]


def summary(store: Reader, symbol: str, end: datetime | None = None) -> dict[str, Any]:
    """The newest stored analytics of ``symbol`` at ``end`` (now where it is not given), put in words and numbers.

    ``scores`` are the stored columns as they are. ``missing`` names the tables without a row. Raises
    :class:`~orderflow_streaming.markets.UnknownNameError` for an unknown symbol.
    """
    symbol = markets.symbol(symbol)
    end = naive_utc(end or datetime.now(UTC))
    rows = {name: row for name in ANALYTICS if (row := _newest(store, name, symbol, end)) is not None}
    alpha, leverage, flow, cross = (
        rows.get(name, {}) for name in ("alpha", "leverage", "order_flow", "cross_exchange")
    )
    newest = max((row["bar_ts"] for row in rows.values()), default=None)
    return {
        "symbol": symbol,
        "as_of": newest,
        "bias": {
            "label": alpha.get("bias"),
            "score": alpha.get("composite"),
            "pressure": alpha.get("institutional_pressure"),
            "confidence": alpha.get("confidence"),
            "agreement": alpha.get("agreement"),
        },
        "condition": {
            "basis": leverage.get("basis_regime"),
            "squeeze_side": alpha.get("squeeze_side"),
            "absorbing_side": alpha.get("absorbing_side"),
            "liquidity_vacuum": flow.get("liquidity_vacuum"),
        },
        "risk": _risk(rows),
        "key_signals": _key_signals(alpha),
        "opportunities": _opportunities(cross),
        "warnings": _warnings(rows, newest),
        "scores": {name: _numbers(row) for name, row in rows.items()},
        "missing": [ANALYTICS[name].table.qualified for name in ANALYTICS if name not in rows],
    }


def _newest(store: Reader, name: str, symbol: str, end: datetime) -> Row | None:
    table = ANALYTICS[name].table
    if not exists(store, table.qualified):
        return None
    rows = store.query(
        f"SELECT * FROM {table.qualified} WHERE symbol = ? AND bar_ts <= ? ORDER BY bar_ts DESC LIMIT 1", [symbol, end]
    ).to_pylist()
    return rows[0] if rows else None


def _numbers(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("symbol", "open_time") and value is not None}


def _risk(rows: Mapping[str, Row]) -> Row:
    """The mean of the known risks, each in [0, 1]; not a probability."""
    parts = {name: rows.get(table, {}).get(name) for name, table in _RISKS.items()}
    known = [value for value in parts.values() if value is not None]
    return {"score": sum(known) / len(known) if known else None, "parts": parts}


def _key_signals(alpha: Row) -> list[Row]:
    parts = [(name, alpha.get(name)) for name in PRESSURE_WEIGHTS]
    loud = [(name, value) for name, value in parts if value is not None and abs(value) >= _LOUD]
    loud.sort(key=lambda item: -abs(item[1]) * PRESSURE_WEIGHTS[item[0]])
    return [{"signal": name, "value": value, "side": "buy" if value > 0 else "sell"} for name, value in loud]


def _opportunities(cross: Row) -> list[Row]:
    """Pairs of venues whose spread pays after base-tier taker fees, at the touch or at the stated size."""
    found = []
    for size, prefix in (("touch", ""), ("stated size", "sized_")):
        net = cross.get(f"{prefix}net_spread_bps")
        if net is not None and net > 0:
            pair = {side: cross[f"{prefix}{side}_market"] for side in ("buy", "sell")}
            found.append({"kind": "executable spread", "at": size, **pair, "net_bps": net})
    return found


def _warnings(rows: Mapping[str, Row], newest: datetime | None) -> list[str]:
    alpha, leverage, flow = (rows.get(name, {}) for name in ("alpha", "leverage", "order_flow"))
    said = [
        f"{ANALYTICS[name].table.qualified} ends at {row['bar_ts']} UTC, before the newest row at {newest}"
        for name, row in rows.items()
        if newest and newest - row["bar_ts"] > STALE
    ]
    if alpha and alpha["confidence"] < LEAST_KNOWN:
        said.append(f"only {alpha['confidence']:.0%} of the weight of the pressure is known")
    if _above(flow, "liquidity_vacuum", HIGH):
        said.append(f"books are thinner than in {flow['liquidity_vacuum']:.0%} of the week before")
    if _above(leverage, "cascade_risk", 0.5):
        said.append("the liquidation map holds more within one sigma than the book can take (a model)")
    if abs(leverage.get("funding_stress") or 0) >= EXTREME_SIGMA:
        said.append(f"funding is {leverage['funding_stress']:+.1f} sigma from its own past")
    return said


def _above(row: Row, name: str, edge: float) -> bool:
    value = row.get(name)
    return value is not None and value >= edge
