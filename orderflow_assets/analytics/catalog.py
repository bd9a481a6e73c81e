"""The analytics with one row per symbol and minute: what checks, tools and documents iterate over."""

from __future__ import annotations

from orderflow_assets.analytics.alpha_declarations import ALPHA
from orderflow_assets.analytics.cross_declarations import CROSS_EXCHANGE
from orderflow_assets.analytics.leverage_declarations import LEVERAGE
from orderflow_assets.analytics.order_flow_declarations import ORDER_FLOW
from orderflow_assets.analytics.symbols import SymbolGroup

ANALYTICS: dict[str, SymbolGroup] = {group.name: group for group in (CROSS_EXCHANGE, ORDER_FLOW, LEVERAGE, ALPHA)}
