"""The features of liquidations, declared.

A side is that of the position closed: a long position liquidated is a forced sale. A bar holds the events from its
opening edge up to, and without, its closing edge. With a live feed and no event, counts and values are zero; without
one they are NULL. When the feed of a series lives is judged in ``features.liquidations.minutes``; windows of several
minutes are NULL where the feed was down in one of them, unless said otherwise. Feeds that show a sample
(``feed_completeness``) make counts, values, clusters and cascades lower bounds. Values are price x quantity at the
price the venue tells: the mean fill on Binance, the bankruptcy price on Bybit and OKX, the order's on Gate.io.

A cluster is a maximal run of events of one side, each at most 5 s after the one before. At bar_ts it is what was known
then: of a run that goes on, the events so far.
"""

from __future__ import annotations

from orderflow_assets.features.feature import ANY, BALANCE, NON_NEGATIVE, SHARE, Feature, Group
from orderflow_assets.features.liquidations.feeds import LABELS
from orderflow_assets.lineage import columns_of

_EVENTS, _BAR, _FIVE = "liquidations", "bar", "5 min"
_RUN = "clusters that touch the bar"
_OF_OI = "liquidations and open interest"
_MONTH = "5 min against the 30 d before them"

_COUNTS = ("bars.liquidations_1m.long_count", "bars.liquidations_1m.short_count")
_VALUES = ("bars.liquidations_1m.long_value", "bars.liquidations_1m.short_value")
_SHARE = (*_VALUES, "bars.oi_1m.oi", "bars.oi_1m.mark")

FEATURES: tuple[Feature, ...] = (
    Feature(
        "long_liquidation_count",
        "events",
        _EVENTS,
        _BAR,
        "Long positions liquidated.",
        "definition",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.long_count",),
    ),
    Feature(
        "short_liquidation_count",
        "events",
        _EVENTS,
        _BAR,
        "Short positions liquidated.",
        "definition",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.short_count",),
    ),
    Feature(
        "total_liquidation_count",
        "events",
        _EVENTS,
        _BAR,
        "Sum of the two.",
        "definition",
        NON_NEGATIVE,
        inputs=_COUNTS,
    ),
    Feature(
        "long_liquidation_value",
        "quote ccy",
        _EVENTS,
        _BAR,
        "Value of the long ones.",
        "definition",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.long_value",),
    ),
    Feature(
        "short_liquidation_value",
        "quote ccy",
        _EVENTS,
        _BAR,
        "Value of the short ones.",
        "definition",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.short_value",),
    ),
    Feature(
        "total_liquidation_value",
        "quote ccy",
        _EVENTS,
        _BAR,
        "Sum of the two.",
        "definition",
        NON_NEGATIVE,
        inputs=_VALUES,
    ),
    Feature(
        "liquidation_imbalance",
        "ratio",
        _EVENTS,
        _FIVE,
        "(long - short) / (long + short) of the values; NULL where both are 0. Positive: longs are closed, forced "
        "selling.",
        "signed share",
        BALANCE,
        inputs=_VALUES,
    ),
    Feature(
        "liquidation_rate",
        "events per min",
        _EVENTS,
        _FIVE,
        "Events / 5.",
        "rate of a point process",
        NON_NEGATIVE,
        inputs=_COUNTS,
    ),
    Feature(
        "liquidation_rate_zscore",
        "sigma",
        _EVENTS,
        "5 min against the previous 7 d",
        "ln(1 + liquidation_rate) against its own minutes of the 7 days before; NULL where they hold no event.",
        "z-score of log counts",
        ANY,
        inputs=_COUNTS,
    ),
    Feature(
        "liquidation_cluster_detected",
        "flag",
        _EVENTS,
        f"{_RUN} against the previous 7 d",
        "A cluster of at least 3 events whose value reached the 90th percentile of the clusters, of either side and "
        "any size, that were closed in the 7 days before the bar. NULL where there is one and fewer than 60 to judge "
        "it by.",
        "runs by gap",
        dtype="flag",
        inputs=("bars.liquidations_1m.dense_value", "bars.liquidation_clusters.value"),
    ),
    Feature(
        "cluster_size",
        "events",
        _EVENTS,
        _RUN,
        "Events in the largest one, by number and then value; 0 without one.",
        "runs by gap",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.cluster_size",),
    ),
    Feature(
        "cluster_value",
        "quote ccy",
        _EVENTS,
        _RUN,
        "Value of that cluster.",
        "runs by gap",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.cluster_value",),
    ),
    Feature(
        "cluster_duration_seconds",
        "s",
        _EVENTS,
        _RUN,
        "From its first event to its last before bar_ts.",
        "runs by gap",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.cluster_duration_s",),
    ),
    Feature(
        "cascade_acceleration",
        "quote ccy per s^2",
        _EVENTS,
        "60 s",
        "Value of the last 30 s less that of the 30 s before, over 30^2.",
        "second difference",
        ANY,
        inputs=(*_VALUES, "bars.liquidations_1m.late_value"),
    ),
    Feature(
        "cascade_probability",
        "fraction",
        _EVENTS,
        "3 h of 60 s counts",
        "Branching ratio 1 - sqrt(mean / variance) of the known counts, held inside [0, 1]: the expected share of "
        "liquidations that earlier ones set off. An estimate by moments, not a calibrated probability. NULL under 30 "
        "events or 60 known minutes; sampled feeds bias it down.",
        "Hawkes 1971; Hardiman & Bouchaud 2014",
        SHARE,
        inputs=_COUNTS,
    ),
    Feature(
        "cascade_severity",
        "label",
        _OF_OI,
        _MONTH,
        "By liquidated_share_rank: none below 0.90, mild below 0.97, moderate below 0.995, severe from there on if "
        "cascade_probability is at least 0.5, else moderate.",
        "percentile bands",
        "{none, mild, moderate, severe}",
        dtype="label",
        inputs=(*_SHARE, *_COUNTS, "bars.liquidations_5m.share"),
    ),
    Feature(
        "exhaustion_signal",
        "flag",
        "liquidations and quotes",
        "15 min against the 30 d before",
        "Within 15 min the 5 min value reached a percent rank of 0.99 in the 5 min steps of its 30 days before, the "
        "last minute has at most a quarter of the busiest minute's events, and the mid of the last 2 min set no new "
        "extreme of the 15 in the forced direction: down where more long value was liquidated.",
        "climax and decay; a pattern to be evaluated as an event study before use",
        dtype="flag",
        inputs=(
            *_VALUES,
            *_COUNTS,
            "bars.liquidations_5m.value",
            "bars.mid_range_1m.mid_low",
            "bars.mid_range_1m.mid_high",
        ),
    ),
    Feature(
        "absorption_after_liq",
        "ratio",
        "liquidations and quotes",
        "60 s after a cluster",
        "Of the last cluster that ended at least 60 s and at most an hour ago: the way back of the mid in these 60 s "
        "over its way while the cluster ran. 1: all of it, negative: it went on. NULL where the mid moved less than "
        "the spread.",
        "retracement of transient impact, cf. Bouchaud et al. 2009",
        ANY,
        inputs=columns_of("bars.liquidation_retracements", "retracement", "ended_at", "value"),
    ),
)

COMPANIONS: tuple[Feature, ...] = (
    Feature(
        "feed_completeness",
        "label",
        _EVENTS,
        "the market's feed at the time",
        "What the venue shows: every event, a sample such as one per symbol and second, or none.",
        "features.liquidations.feeds names the page of each venue",
        f"{{{', '.join(LABELS)}}}",
        dtype="label",
        inputs=columns_of("bars.bars_1m", "exchange", "market_type", "bar_ts"),
    ),
    Feature(
        "long_liquidation_value_5m",
        "quote ccy",
        _EVENTS,
        _FIVE,
        "Value of the long positions liquidated.",
        "definition",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.long_value",),
    ),
    Feature(
        "short_liquidation_value_5m",
        "quote ccy",
        _EVENTS,
        _FIVE,
        "Value of the short positions liquidated.",
        "definition",
        NON_NEGATIVE,
        inputs=("bars.liquidations_1m.short_value",),
    ),
    Feature(
        "liquidated_share",
        "fraction",
        _OF_OI,
        _FIVE,
        "Value liquidated over open interest x mark price at bar_ts.",
        "definition",
        NON_NEGATIVE,
        inputs=_SHARE,
    ),
    Feature(
        "liquidated_share_rank",
        "fraction",
        _OF_OI,
        _MONTH,
        "Percent rank of liquidated_share among the disjoint 5 min steps of the 30 days before these 5 min.",
        "percent rank",
        SHARE,
        inputs=(*_SHARE, "bars.liquidations_5m.share"),
    ),
)

LIQUIDATIONS = Group(
    "liquidations",
    "Forced closures, minute by minute: sizes, clusters, cascades and what the price did after; futures only.",
    "liquidations in the bar",
    FEATURES,
    COMPANIONS,
)
