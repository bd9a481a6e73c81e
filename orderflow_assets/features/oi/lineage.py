"""Which columns each column of the open interest tables is made of, ``schema.table.column``."""

from __future__ import annotations

Sources = tuple[str, ...]


def _of(table: str, *columns: str) -> Sources:
    return tuple(f"{table}.{column}" for column in columns)


_NOW, _PAST, _BOOK = "bars.oi_1m", "bars.oi_5m", "bars.depth_sigma_1m"
_OI = _of(_NOW, "oi")
_PRICED = _of(_NOW, "oi", "mark")
_MOVED = (*_PRICED, *_of(_PAST, "oi", "mark"))
_TURNOVER = _of(_NOW, "oi", "mark", "volume_24h_quote")
_RATIO = _of(_NOW, "long_short_ratio")
_CROWD = (*_RATIO, *_of(_PAST, "long_short_ratio"))
_MAP = (*_of(_NOW, "mark"), *_of(_PAST, "oi", "mark", "mark_low", "mark_high"))
_WITHIN = (*_MAP, *_of(_BOOK, "sigma_1h"))
_SIDES = ("bid", "ask")

MINUTES: dict[str, Sources] = {
    "samples": _of("main.open_interest", "timestamp"),
    "oi": _of("main.open_interest", "timestamp", "open_interest"),
    "mark": _of("main.mark_prices", "mark_price"),
    "mark_low": _of("main.mark_prices", "mark_price"),
    "mark_high": _of("main.mark_prices", "mark_price"),
    "volume_24h_quote": _of("main.ticker_24h", "quote_volume_24h", "volume_24h", "last_price"),
    "long_short_ratio": _of("main.positioning", "long_short_ratio", "kind", "received_at"),
}
STEPS: dict[str, Sources] = {
    name: _of(_NOW, name) for name in ("oi", "mark", "mark_low", "mark_high", "volume_24h_quote", "long_short_ratio")
}
DEPTH: dict[str, Sources] = {
    "sigma_1h": _of(_NOW, "mark"),
    **{
        f"{side}_{what}": (
            *_of(_NOW, "mark"),
            *_of("main.orderbooks", "mid_price", f"{side}_tail"),
            *(
                f"main.orderbooks.{side}_{level}_{part}"
                for level in range(1, 11)
                for part in (("price", "qty") if what == "depth" else ("price",))
            ),
        )
        for side in _SIDES
        for what in ("depth", "covered")
    },
}
FEATURES: dict[str, Sources] = {
    "n_obs": _of(_NOW, "samples"),
    **dict.fromkeys(
        ("oi", "oi_delta", "oi_delta_pct", "oi_delta_pct_5m", "oi_momentum", "oi_acceleration"),
        _OI,
    ),
    **dict.fromkeys(
        ("oi_value", "oi_price_divergence", "oi_price_correlation", "oi_concentration", "oi_venues"), _PRICED
    ),
    "oi_zscore": (*_OI, *_of(_PAST, "oi")),
    **dict.fromkeys(("oi_price_delta_product", "position_intent", "position_intent_score"), _MOVED),
    "leverage_index": _TURNOVER,
    "leverage_zscore": (*_TURNOVER, *_of(_PAST, "oi", "mark", "volume_24h_quote")),
    **dict.fromkeys(("long_short_ratio", "long_short_kind"), _RATIO),
    **dict.fromkeys(("position_crowding_score", "crowded_side"), _CROWD),
    **dict.fromkeys(("long_trigger_pct", "short_trigger_pct", "liquidation_map_share"), _MAP),
    **dict.fromkeys(("assumed_long_share", "assumed_maintenance_rate"), _MAP),
    **dict.fromkeys(("long_liquidation_notional", "short_liquidation_notional"), _WITHIN),
    "liquidation_cascade_risk": (
        *_WITHIN,
        *(f"{_BOOK}.{side}_{what}" for side in _SIDES for what in ("depth", "covered")),
    ),
    "sigma_1h": _of(_BOOK, "sigma_1h"),
    **{f"{side}_depth_sigma": _of(_BOOK, f"{side}_depth") for side in _SIDES},
    **{f"{side}_depth_covered": _of(_BOOK, f"{side}_covered") for side in _SIDES},
}
