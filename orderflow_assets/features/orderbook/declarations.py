"""The order book features, declared.

The book is seen once a second: the last snapshot at or before it, 5 s old at most. Sizes are base coin, a level's
notional is price x size, distances are from the mid. Positive imbalances and flows press upward.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, BALANCE, NON_NEGATIVE, POSITIVE, SHARE, Feature, Group
from orderflow_assets.features.orderbook.flow import MLOFI
from orderflow_assets.lineage import columns_of

_BOOK, _BOTH = "orderbook", "orderbook and trades"
_CLOSE, _BAR, _DAY, _MINUTE = "bar close", "bar", "bar against the previous 24 h", "60 s at 1 s"

_MINUTES = "bars.books_1m"
_LOG_DEPTH = columns_of(
    _MINUTES, *(f"log_depth_{what}" for what in ("count", "sum", "square", "pairs", "pair_sum", "product"))
)
_ABSORBED = (
    *columns_of("bars.bars_1m", "mid_close", "quote_volume", "taker_buy_quote"),
    "features.trades.market_impact_per_volume",
)
_INTEGRATED = (
    *columns_of(_MINUTES, *MLOFI),
    "bars.ofi_loadings.loading",
)

FEATURES: tuple[Feature, ...] = (
    Feature(
        "depth_imbalance_5",
        "ratio",
        _BOOK,
        _BAR,
        "(bid size - ask size) / (bid size + ask size) over the best five levels, mean over the seconds of the bar.",
        "Cao, Hansch & Wang 2009",
        BALANCE,
        inputs=(f"{_MINUTES}.depth_imbalance_5",),
    ),
    Feature(
        "depth_imbalance_10",
        "ratio",
        _BOOK,
        _BAR,
        "The same over ten levels; NULL where the venue publishes fewer.",
        "Cao, Hansch & Wang 2009",
        BALANCE,
        inputs=(f"{_MINUTES}.depth_imbalance_10",),
    ),
    Feature(
        "cumulative_depth_imbalance",
        "ratio",
        _BOOK,
        _BAR,
        "(bid notional - ask notional) / their sum within 50 bps of the mid, or within the largest distance that both "
        "sides cover (coverage_bps).",
        "depth in a price band",
        BALANCE,
        inputs=(f"{_MINUTES}.cumulative_depth_imbalance",),
    ),
    Feature(
        "liquidity_gradient",
        "quote ccy per bp",
        _BOOK,
        _BAR,
        "Slope through the origin of cumulative notional on distance in bps, all stored levels of both sides pooled. "
        "High: a deep book close to the mid.",
        "after Naes & Skjeltorp 2006",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.liquidity_gradient",),
    ),
    Feature(
        "liquidity_concentration_idx",
        "index",
        _BOOK,
        _BAR,
        "Herfindahl index of the sizes of the best ten levels of each side, rescaled so that equal sizes give 0 and "
        "one level holding all gives 1.",
        "Hirschman-Herfindahl",
        SHARE,
        inputs=(f"{_MINUTES}.liquidity_concentration_idx",),
    ),
    Feature(
        "vwap_depth",
        "quote ccy",
        _BOOK,
        _CLOSE,
        "Size-weighted mean price of the best ten levels of both sides.",
        "centre of mass of the book",
        POSITIVE,
        inputs=(f"{_MINUTES}.vwap_depth",),
    ),
    Feature(
        "bid_depth_5",
        "quote ccy",
        _BOOK,
        _BAR,
        "Mean notional of the best five bids.",
        "depth",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.bid_depth_5",),
    ),
    Feature(
        "ask_depth_5",
        "quote ccy",
        _BOOK,
        _BAR,
        "Mean notional of the best five asks.",
        "depth",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.ask_depth_5",),
    ),
    Feature(
        "bid_depth_10",
        "quote ccy",
        _BOOK,
        _BAR,
        "Mean notional of the best ten bids.",
        "depth",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.bid_depth_10",),
    ),
    Feature(
        "ask_depth_10",
        "quote ccy",
        _BOOK,
        _BAR,
        "Mean notional of the best ten asks.",
        "depth",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.ask_depth_10",),
    ),
    Feature(
        "queue_position_drift",
        "touch depths",
        "orderbook level 1",
        "60 s",
        "ofi_cks over the mean size at the touch, (Qb + Qa) / 2. Positive: net buying pressure.",
        "Cont, Kukanov & Stoikov 2014",
        ANY,
        inputs=(f"{_MINUTES}.queue_position_drift",),
    ),
    Feature(
        "add_cancel_ratio",
        "fraction",
        _BOTH,
        _MINUTE,
        "Size added / (size added + size cancelled), from one second to the next, price by price within the ten levels "
        "that both books cover; a decrease that trades at that price explain is no cancellation. Low: more is "
        "withdrawn than provided. Snapshots undercount both, so read it as relative.",
        "after Hasbrouck & Saar 2009",
        SHARE,
        inputs=(f"{_MINUTES}.add_cancel_ratio",),
    ),
    Feature(
        "absorption_ratio",
        "fraction",
        _BOTH,
        "60 s",
        "1 - min(1, |r| / (lambda |D|)): the share of the usual impact that did not come. r is the bar's mid return in "
        "bps, D its signed taker notional in USD mn, lambda market_impact_per_volume one bar earlier. NULL unless |D| "
        "reaches its 24 h median and lambda > 0.",
        "Kyle 1985; Cont et al. 2014",
        SHARE,
        inputs=_ABSORBED,
    ),
    Feature(
        "replenishment_speed",
        "1/s",
        _BOOK,
        "1 h at 1 s",
        "-ln(rho) per second, rho the lag-1 autocorrelation of ln(size within 10 bps) about its 1 h mean, held inside "
        "(0.001, 0.9999), over the bars that had snapshots. Fast: the depth returns to normal soon.",
        "Foucault, Kadan & Kandel 2005; Large 2007",
        POSITIVE,
        inputs=_LOG_DEPTH,
    ),
    Feature(
        "liquidity_persistence_score",
        "fraction",
        _BOOK,
        "bar, 10 s lag",
        "Share of the size that stood in the best ten levels 10 s ago and still stands at its price, both sides, mean "
        "over the bar; prices the book no longer shows are left out of both sums. 1: nothing left.",
        "survival of displayed size",
        SHARE,
        inputs=(f"{_MINUTES}.liquidity_persistence_score",),
    ),
    Feature(
        "liquidity_migration_velocity",
        "bps per min",
        _BOOK,
        _MINUTE,
        "60 times the slope per second of the size-weighted distance of the best ten levels of both sides. Positive: "
        "liquidity moves away from the mid.",
        "velocity of the depth's centre of mass",
        ANY,
        inputs=(f"{_MINUTES}.liquidity_migration_velocity",),
    ),
    Feature(
        "pull_wall_detected",
        "flag",
        _BOTH,
        "60 s at 1 s",
        "A wall that stood for 5 s lost at least 80 % of its size in one second while trades at its price covered less "
        "than 20 % of the loss. A wall is a level of the best ten, within 25 bps, larger than its side's median + 6 "
        "x 1.4826 MAD.",
        "Lee, Eom & Park 2013",
        dtype="flag",
        inputs=(f"{_MINUTES}.pull_wall_detected",),
    ),
    Feature(
        "push_wall_detected",
        "flag",
        _BOOK,
        "60 s at 1 s",
        "A level became a wall (5 s before it was none, or a third of the size) and still was one 2 s later, when it "
        "is reported.",
        "Lee, Eom & Park 2013",
        dtype="flag",
        inputs=(f"{_MINUTES}.push_wall_detected",),
    ),
    Feature(
        "support_strength",
        "ratio",
        _BOOK,
        _DAY,
        "Mean bid notional within 25 bps over its median of the 24 h before; 1 is usual.",
        "depth against its norm",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.bid_depth_25bps",),
    ),
    Feature(
        "resistance_strength",
        "ratio",
        _BOOK,
        _DAY,
        "The same on the ask side.",
        "depth against its norm",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.ask_depth_25bps",),
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature(
        "coverage_bps",
        "bps",
        _BOOK,
        _BAR,
        "Mean distance cumulative_depth_imbalance could look out to, 50 at most.",
        "coverage",
        "(0, 50]",
        inputs=(f"{_MINUTES}.coverage_bps",),
    ),
    Feature(
        "vwap_depth_bps",
        "bps",
        _BOOK,
        _CLOSE,
        "10,000 (vwap_depth / M - 1).",
        "centre of mass of the book",
        ANY,
        inputs=(f"{_MINUTES}.vwap_depth_bps",),
    ),
    Feature(
        "ofi_cks",
        "base units",
        "orderbook level 1",
        _BAR,
        "Order flow imbalance: the sum, over consecutive "
        "snapshots at most 5 s apart, of what the best bid gained less what the best ask gained.",
        "Cont, Kukanov & Stoikov 2014",
        ANY,
        inputs=(f"{_MINUTES}.ofi_cks",),
    ),
    Feature(
        "absorbing_side",
        "side",
        _BOTH,
        "60 s",
        "-sign(D): 1 where passive buyers absorbed, -1 where sellers did; NULL with absorption_ratio.",
        "Kyle 1985",
        "[-1, 1]",
        inputs=_ABSORBED,
    ),
    Feature(
        "replenishment_half_life",
        "s",
        _BOOK,
        "1 h at 1 s",
        "ln 2 / replenishment_speed.",
        "Large 2007",
        POSITIVE,
        inputs=_LOG_DEPTH,
    ),
    Feature(
        "bid_depth_25bps",
        "quote ccy",
        _BOOK,
        _BAR,
        "Mean bid notional within 25 bps, of the stored levels.",
        "depth in a price band",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.bid_depth_25bps",),
    ),
    Feature(
        "ask_depth_25bps",
        "quote ccy",
        _BOOK,
        _BAR,
        "Mean ask notional within 25 bps, of the stored levels.",
        "depth in a price band",
        NON_NEGATIVE,
        inputs=(f"{_MINUTES}.ask_depth_25bps",),
    ),
    Feature(
        "bid_wall_detected",
        "flag",
        _BOOK,
        _CLOSE,
        "A bid level is a wall when the bar closes.",
        "Lee, Eom & Park 2013",
        dtype="flag",
        inputs=(f"{_MINUTES}.bid_wall_detected",),
    ),
    Feature(
        "ask_wall_detected",
        "flag",
        _BOOK,
        _CLOSE,
        "An ask level is a wall when the bar closes.",
        "Lee, Eom & Park 2013",
        dtype="flag",
        inputs=(f"{_MINUTES}.ask_wall_detected",),
    ),
    *(
        Feature(
            name,
            "1",
            f"orderbook level {level}",
            _MINUTE,
            f"Order flow imbalance of level {level}: what it gained on the bid less what it gained on the ask from one "
            "second to the next, summed over the bar, over the mean size of the best ten levels.",
            "Cont, Cucuringu & Zhang 2023",
            ANY,
            inputs=(f"{_MINUTES}.{name}",),
        )
        for level, name in enumerate(MLOFI, start=1)
    ),
    Feature(
        "mlofi",
        "1",
        _BOOK,
        "60 s at 1 s, loadings of the previous UTC day",
        "Integrated order flow imbalance: mlofi_1 to mlofi_10 weighed by their first principal component, fitted on "
        "the day before, sizes of the weights adding up to 1. Positive: net buying pressure.",
        "Cont, Cucuringu & Zhang 2023",
        ANY,
        inputs=_INTEGRATED,
    ),
)

ORDERBOOK = Group(
    "orderbook",
    "The order book, minute by minute: depth, imbalance, flow, resiliency, walls.",
    "book snapshots published in the bar",
    FEATURES,
    COMPANIONS,
)
