"""The stored columns of each stream as SQL over its base fields, the same for all exchanges.

An exchange delivers *base fields* (:attr:`orderflow_streaming.exchanges.protocol.Rows.fields`); what follows from
them by arithmetic is declared here once. Columns of a stream that are neither derived nor delivered are NULL, and
so is everything undefined: a ratio over zero, a mid price with one side missing, a rate per year when the funding
interval is unknown.

In scope of the expressions: the base fields, ``received_at``, ``funding_interval_hours``, and ``{size}`` and
``{per_size}``, which multiply and divide a quantity by the base coin per venue unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orderflow_streaming.schema import LARGE_LIQUIDATION_USD, LEVELS

SMALLEST = 1e-100
LARGEST = 1e100
"""Magnitudes beyond these are taken as malformed, so that no arithmetic on accepted numbers overflows."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """Base fields of a stream and the SQL of the columns that follow from them."""

    required: tuple[str, ...]
    """Base fields without which there is no row."""
    optional: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    """Required base fields that are prices or sizes, hence above zero."""
    layers: tuple[Mapping[str, str], ...] = ()
    """Columns in layers; a layer sees the base fields and the columns of the layers before it."""

    @property
    def fields(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)


def _ratio(numerator: str, denominator: str, factor: float = 1.0) -> str:
    scaled = f"({numerator})" if factor == 1 else f"({numerator}) * {factor}"
    return f"CASE WHEN abs({denominator}) >= {SMALLEST} THEN {scaled} / ({denominator}) END"


_ANNUAL = "funding_rate * (24 / nullif(funding_interval_hours, 0)) * 365 * 100"


def _book() -> tuple[Mapping[str, str], ...]:
    levels = {
        f"{side}_{level}_{what}": f"{side}s[{level}][{index}]{scale}"
        for side in ("bid", "ask")
        for level in range(1, LEVELS + 1)
        for what, index, scale in (("price", 1, ""), ("qty", 2, "{size}"))
    }
    tails = {f"{side}_tail": f"{side}s[{LEVELS + 1}:]" for side in ("bid", "ask")}
    depths = {
        f"total_{side}_depth": " + ".join(f"coalesce({side}_{level}_qty, 0)" for level in range(1, LEVELS + 1))
        for side in ("bid", "ask")
    }
    summary = {
        "raw_bid_depth": "total_bid_depth{per_size}",
        "raw_ask_depth": "total_ask_depth{per_size}",
        "bid_ask_ratio": _ratio("total_bid_depth", "total_ask_depth"),
        "spread": "ask_1_price - bid_1_price",
        "spread_pct": _ratio("(ask_1_price - bid_1_price) * 200", "ask_1_price + bid_1_price"),
        "mid_price": "(ask_1_price + bid_1_price) / 2",
    }
    return levels | tails, depths, summary


DERIVATIONS: dict[str, Derivation] = {
    "prices": Derivation(
        required=("timestamp", "bid_price", "ask_price"),
        optional=("raw_bid_qty", "raw_ask_qty", "last_price", "source_seq"),
        positive=("bid_price", "ask_price"),
        layers=(
            {
                "mid_price": "(bid_price + ask_price) / 2",
                "spread": "ask_price - bid_price",
                "spread_bps": _ratio("(ask_price - bid_price) * 20000", "ask_price + bid_price"),
                "bid_qty": "raw_bid_qty{size}",
                "ask_qty": "raw_ask_qty{size}",
            },
        ),
    ),
    "orderbooks": Derivation(required=("timestamp", "bids", "asks"), optional=("source_seq",), layers=_book()),
    "trades": Derivation(
        required=("timestamp", "price", "raw_quantity", "is_buyer_maker"),
        optional=("trade_id", "source_seq"),
        positive=("price", "raw_quantity"),
        layers=(
            {
                "quantity": "raw_quantity{size}",
                "quote_value": "price * raw_quantity{size}",
                "side": "CASE WHEN is_buyer_maker THEN 'sell' ELSE 'buy' END",
            },
        ),
    ),
    "mark_prices": Derivation(
        required=("timestamp", "mark_price"),
        optional=("index_price", "funding_rate", "source_seq"),
        positive=("mark_price",),
        layers=(
            {
                "basis": "mark_price - index_price",
                "basis_pct": _ratio("(mark_price - index_price) * 100", "index_price"),
                "annualized_rate": _ANNUAL,
            },
        ),
    ),
    "funding_rates": Derivation(
        required=("timestamp", "funding_rate"),
        optional=("next_funding_time", "source_seq"),
        layers=(
            {
                "funding_pct": "funding_rate * 100",
                "annualized_pct": _ANNUAL,
                "countdown_secs": "CASE WHEN next_funding_time >= timestamp "
                "THEN TRY_CAST((epoch_ms(next_funding_time) - epoch_ms(timestamp)) // 1000 AS INTEGER) END",
                "funding_interval_hours": "funding_interval_hours",
            },
        ),
    ),
    "open_interest": Derivation(
        required=("timestamp", "raw_quantity"),
        optional=("open_interest_usd", "source_seq"),
        layers=({"open_interest": "raw_quantity{size}"},),
    ),
    "ticker_24h": Derivation(
        required=("timestamp", "last_price"),
        optional=(
            "raw_volume_24h",
            "quote_volume_24h",
            "trade_count_24h",
            "high_24h",
            "low_24h",
            "open_24h",
            "price_change",
            "price_change_pct",
            "vwap_24h",
            "source_seq",
        ),
        positive=("last_price",),
        layers=(
            {
                "volume_24h": "raw_volume_24h{size}",
                "price_change": "coalesce(price_change, last_price - open_24h)",
                "price_change_pct": "coalesce(price_change_pct, "
                + _ratio("(last_price - open_24h) * 100", "open_24h")
                + ")",
                "vwap_24h": f"coalesce(vwap_24h, {_ratio('quote_volume_24h', 'raw_volume_24h{size}')})",
            },
        ),
    ),
    "candles": Derivation(
        required=("open_time", "interval", "open", "high", "low", "close", "raw_volume"),
        optional=(
            "close_time",
            "quote_volume",
            "trade_count",
            "raw_taker_buy_volume",
            "taker_buy_quote",
            "is_closed",
            "source_seq",
        ),
        positive=("open", "high", "low", "close"),
        layers=(
            {
                "volume": "raw_volume{size}",
                "taker_buy_volume": "raw_taker_buy_volume{size}",
                "taker_buy_pct": _ratio("raw_taker_buy_volume * 100", "raw_volume"),
            },
        ),
    ),
    "liquidations": Derivation(
        required=("timestamp", "side", "price", "raw_quantity"),
        optional=("source_seq",),
        positive=("price", "raw_quantity"),
        layers=(
            {
                "quantity": "raw_quantity{size}",
                "value_usd": "price * raw_quantity{size}",
                "is_large": f"price * raw_quantity{{size}} > {LARGE_LIQUIDATION_USD}",
            },
        ),
    ),
    "index_prices": Derivation(
        required=("timestamp", "index_price"), optional=("source_seq",), positive=("index_price",)
    ),
    "positioning": Derivation(
        required=("timestamp", "kind", "long_short_ratio"),
        optional=("source_seq",),
        positive=("long_short_ratio",),
        layers=({"long_share": "long_short_ratio / (1 + long_short_ratio)"},),
    ),
}
