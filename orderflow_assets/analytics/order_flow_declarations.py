"""Order flow of a symbol over all its venues, in quote currency."""

from __future__ import annotations

from orderflow_assets.analytics.inputs import RANKED
from orderflow_assets.analytics.symbols import SymbolGroup
from orderflow_assets.features.feature import ANY, BALANCE, NON_NEGATIVE, SHARE, Feature

_BOOK, _TRADES, _BAR, _DAY = "features.orderbook", "bars.bars_1m", "bar", "since 00:00 UTC"
_VALUE = "weighted by the value each traded in the last hour"


def _imbalance(name: str, depth: str, columns: tuple[str, str]) -> Feature:
    return Feature(
        name,
        "ratio",
        "orderbook, all venues",
        _BAR,
        f"(bid depth - ask depth) / (bid depth + ask depth), each summed over the venues: {depth}. "
        "Positive = more bids.",
        "Cao, Hansch & Wang 2009, in quote currency across venues",
        BALANCE,
        inputs=tuple(f"{_BOOK}.{column}" for column in columns),
    )


def _cost(name: str, unit: str, what: str, source: str, column: str, interval: str = NON_NEGATIVE) -> Feature:
    return Feature(
        name,
        unit,
        "all venues",
        "as of the venue feature",
        f"{what}: mean over the venues {_VALUE}.",
        source,
        interval,
        inputs=(column, f"{_TRADES}.quote_volume"),
    )


ORDER_FLOW = SymbolGroup(
    name="order_flow",
    doc="Order flow of a symbol over all its venues, a row per symbol and minute.",
    observations="venues of the symbol that have a bar",
    features=(
        _imbalance("liquidity_imbalance", "depth within 25 bps of mid", ("bid_depth_25bps", "ask_depth_25bps")),
        _imbalance("liquidity_imbalance_5", "the five best levels", ("bid_depth_5", "ask_depth_5")),
        _imbalance("liquidity_imbalance_10", "the ten best levels", ("bid_depth_10", "ask_depth_10")),
        Feature(
            "liquidity_imbalance_velocity",
            "ratio per min",
            "orderbook, all venues",
            "5 min",
            "(liquidity_imbalance - its value 5 minutes before) / 5.",
            "first difference",
            inputs=(f"{_BOOK}.bid_depth_25bps", f"{_BOOK}.ask_depth_25bps"),
        ),
        Feature(
            "depth",
            "quote ccy",
            "orderbook, all venues",
            _BAR,
            "Depth within 25 bps of mid, both sides, summed over the venues.",
            "depth in a price band",
            NON_NEGATIVE,
            inputs=(f"{_BOOK}.bid_depth_25bps", f"{_BOOK}.ask_depth_25bps"),
        ),
        Feature(
            "liquidity_vacuum",
            "fraction",
            "orderbook, all venues",
            "bar against the previous 7 d",
            f"1 - {RANKED} of each venue's depth within 25 bps; mean over the venues weighted by their mean depth of "
            "that week, so that a venue that is down drops out. 1 = thinnest book of the week.",
            "percentile of depth",
            SHARE,
            inputs=(f"{_BOOK}.bid_depth_25bps", f"{_BOOK}.ask_depth_25bps"),
        ),
        Feature(
            "book_persistence",
            "fraction",
            "orderbook, all venues",
            _BAR,
            "liquidity_persistence_score, the share of displayed size still there 10 s later: mean over the venues "
            "weighted by depth.",
            "survival share of displayed size",
            SHARE,
            inputs=tuple(
                f"{_BOOK}.{name}" for name in ("liquidity_persistence_score", "bid_depth_25bps", "ask_depth_25bps")
            ),
        ),
        Feature(
            "buy_value",
            "quote ccy",
            "trades, all venues",
            _BAR,
            "Value bought by takers.",
            "definition",
            NON_NEGATIVE,
            inputs=(f"{_TRADES}.taker_buy_quote",),
        ),
        Feature(
            "sell_value",
            "quote ccy",
            "trades, all venues",
            _BAR,
            "Value sold by takers.",
            "definition",
            NON_NEGATIVE,
            inputs=(f"{_TRADES}.taker_buy_quote", f"{_TRADES}.quote_volume"),
        ),
        Feature(
            "aggression",
            "ratio",
            "trades, all venues",
            _BAR,
            "(buy_value - sell_value) / (buy_value + sell_value); NULL without a trade. Positive = takers buy.",
            "signed flow over flow",
            BALANCE,
            inputs=(f"{_TRADES}.taker_buy_quote", f"{_TRADES}.quote_volume"),
        ),
        Feature(
            "aggression_15m",
            "ratio",
            "trades, all venues",
            "15 min",
            "As aggression on the sums of 15 minutes.",
            "signed flow over flow",
            BALANCE,
            inputs=(f"{_TRADES}.taker_buy_quote", f"{_TRADES}.quote_volume"),
        ),
        Feature(
            "flow_acceleration",
            "ratio",
            "trades, all venues",
            "10 min",
            "(signed value of the last 5 minutes - that of the 5 before) / value of the 10.",
            "second difference of CVD over flow",
            BALANCE,
            inputs=(f"{_TRADES}.taker_buy_quote", f"{_TRADES}.quote_volume"),
        ),
        Feature(
            "cvd_value",
            "quote ccy",
            "trades, all venues",
            _DAY,
            "Sum of buy_value - sell_value; minutes in which a feed was down add nothing.",
            "cumulative volume delta",
            ANY,
            inputs=(f"{_TRADES}.taker_buy_quote", f"{_TRADES}.quote_volume"),
        ),
        Feature(
            "whale_share",
            "fraction",
            "trades, all venues",
            "15 min",
            f"whale_volume_ratio: mean over the venues {_VALUE}.",
            "large-trade share",
            SHARE,
            inputs=("features.trades.whale_volume_ratio", f"{_TRADES}.quote_volume"),
        ),
        _cost(
            "kyle_lambda",
            "bps per USD mn",
            "market_impact_per_volume",
            "Kyle 1985; Hasbrouck 2009",
            "features.trades.market_impact_per_volume",
            ANY,
        ),
        _cost("amihud_illiq", "1/USD mn", "amihud_illiq", "Amihud 2002", "features.trades.amihud_illiq"),
        _cost(
            "effective_spread_bps",
            "bps",
            "effective_spread_bps",
            "Huang & Stoll 1996",
            "features.trades.effective_spread_bps",
            ANY,
        ),
        _cost(
            "realized_variance_1h",
            "1",
            "realized_variance_1h",
            "Andersen et al. 2003",
            "features.prices.realized_variance_1h",
        ),
    ),
    companions=(
        Feature(
            "confidence",
            "fraction",
            "all venues",
            _BAR,
            "Share of the columns before this one that have a value.",
            "coverage",
            SHARE,
        ),
    ),
)
