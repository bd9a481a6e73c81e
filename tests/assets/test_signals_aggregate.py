"""The aggregate of the signals: ranking, conflict, bias, risk and recommendation, worked out by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as some

from orderflow_assets.signals import aggregator
from orderflow_assets.signals.aggregate_layer import AGGREGATE, LAYER, latest
from orderflow_assets.signals.aggregator import NAMES, RECENT, Readings
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_assets.signals.recommendation import aggregate, overview
from orderflow_streaming.store import Store, connect

MINUTE = timedelta(minutes=1)
START = datetime(2025, 3, 10, 12)  # noqa: DTZ001
QUOTED = ("liquidation_cascade_risk", "arbitrage_opportunity", "institutional_phase", "mean_reversion_signal")


def readings(words: dict[str, str] | None = None, hours: float = np.nan, **said: tuple[float, ...]) -> Readings:
    """One row; a signal says ``(value, vote)`` or ``(value, vote, confidence)``, with nothing known before."""
    value, confidence, vote = (np.full((len(NAMES), 1, RECENT), np.nan) for _ in range(3))
    for name, parts in said.items():
        place = NAMES.index(name)
        value[place, 0, -1], vote[place, 0, -1] = parts[:2]
        confidence[place, 0, -1] = parts[2] if len(parts) > 2 else 0.5
    labels = {name: np.array([(words or {}).get(name)], dtype=object) for name in QUOTED}
    return latest(value, confidence, vote, labels, np.array([hours]))


def row(**said: Any) -> dict[str, Any]:
    return aggregate(readings(**said)).row(0)


NONE = np.nan


def test_significance_depends_on_where_nothing_is_said() -> None:
    found = readings(smart_money_flow=(0.0, 0), momentum_quality=(0.5, NONE), smart_money_index=(0.5, NONE))
    values = dict(zip(NAMES, aggregator.significance(found.value)[:, 0], strict=True))
    assert values["smart_money_flow"] == values["momentum_quality"] == 0
    assert values["smart_money_index"] == 0.5


def test_score_is_significance_weight_confidence_novelty_and_age() -> None:
    value = np.full((len(NAMES), 1, RECENT), np.nan)
    place = NAMES.index("smart_money_flow")
    value[place, 0, -4:-1] = [0.2, -0.4, -0.5]
    confidence, vote = np.full(value.shape, 0.9), np.full(value.shape, -1.0)
    labels = {name: np.array([None], dtype=object) for name in QUOTED}
    found = latest(value, confidence, vote, labels, np.array([np.nan]))
    assert found.age[place, 0] == 1
    spread = np.std([0.2, -0.4, -0.5], ddof=1)
    expected = 0.5 * 1.4 * (1 + 0.3 * 0.4) * (0.8 + min(0.4 * spread, 0.4)) * 0.95
    assert aggregator.scores(found)[place, 0] == pytest.approx(expected)


def test_lower_signals_of_a_group_count_less() -> None:
    found = readings(
        smart_money_flow=(0.9, 1), smart_money_index=(0.8, NONE), institutional_phase=(0.5, 1),
        market_maker_activity=(0.3, NONE), volatility_breakout=(0.2, 1), momentum_exhaustion=(0.9, 0),
    )  # fmt: skip
    score = dict(zip(NAMES, aggregator.scores(found)[:, 0], strict=True))
    assert score["smart_money_flow"] == pytest.approx(0.9 * 1.4)
    assert score["smart_money_index"] == pytest.approx(0.8 * 1.2 * 0.9)
    assert score["institutional_phase"] == pytest.approx(0.5 * 1.3 * 0.8)
    assert score["market_maker_activity"] == pytest.approx(0.3 * 1.1 * 0.7)
    assert score["volatility_breakout"] == pytest.approx(0.2 * 1.2 * 0.9)  # second in momentum, first in timing


@pytest.mark.parametrize(
    ("bearish", "severity", "bias", "strength"),
    [
        (0.0, None, "BULLISH", "STRONG"),
        (0.1, "MINOR", "BULLISH", "STRONG"),
        (0.3, "MODERATE", "BULLISH", "MODERATE"),
        (0.6, "SEVERE", "BULLISH", "NO_ACTION"),
        (0.95, "CRITICAL", "NEUTRAL", "CONFLICTED"),
    ],
)
def test_conflict_by_the_lighter_side(bearish: float, severity: str | None, bias: str, strength: str) -> None:
    told = row(squeeze_probability=(1.0, 1), liquidation_cascade_risk=(bearish * 1.1 / 1.4, -1))
    assert told["conflict_severity"] == severity
    assert told["direction"] == bias
    assert told["strength"] == strength
    clear = (1 - bearish) / (1 + bearish)
    if severity is None:
        assert told["conflict_resolution"] is told["resolution_confidence"] is None
    else:
        assert told["conflict_resolution"] == "BULLISH"
        assert told["resolution_confidence"] == pytest.approx(clear)
    expected = (clear if bias == "BULLISH" else 1 - clear) * (0.7 if severity in ("SEVERE", "CRITICAL") else 1)
    assert told["confidence"] == pytest.approx(expected)


def test_a_neutral_bias_is_no_action_however_sure() -> None:
    told = row(smart_money_flow=(0.1, 0), mean_reversion_signal=(0.2, 0), execution_quality=(0.9, NONE))
    assert (told["direction"], told["strength"], told["entry_bias"]) == ("NEUTRAL", "NO_ACTION", "wait")
    assert told["confidence"] == pytest.approx(1)
    assert told["primary_signals"] == told["conflicting_signals"] == []


def test_nothing_known_recommends_nothing() -> None:
    told = row()
    assert told["direction"] is told["confidence"] is told["risk_level"] is told["posture"] is None
    assert (told["strength"], told["entry_bias"]) == ("NO_ACTION", "wait")
    assert told["top_signals"] == []


def test_high_risk_votes_for_nothing() -> None:
    """What is dangerous, costly or good to trade has no direction."""
    told = row(stop_hunt_probability=(0.9, NONE), arbitrage_opportunity=(0.9, NONE), execution_quality=(0.9, NONE))
    assert told["bullish_weight"] == told["bearish_weight"] == 0
    assert told["direction"] == "NEUTRAL"


def test_risk_points_add_up() -> None:
    told = row(
        words={"liquidation_cascade_risk": "long"},
        composite_risk=(0.75, NONE), liquidation_cascade_risk=(0.85, -1), stop_hunt_probability=(0.65, NONE),
    )  # fmt: skip
    assert told["risk_points"] == pytest.approx(0.8)
    assert told["risk_level"] == "extreme"
    assert told["entry_bias"] == "wait"
    assert told["posture"] == "REDUCE_EXPOSURE"
    assert set(told["alerts"]) == {"risk extreme", "cascade CRITICAL, liquidated side long", "stop hunt"}
    levels = aggregator.risk_level(np.array([0.0, 0.3, 0.45, 0.5, 0.6, 0.7, 0.71, np.nan]))
    assert list(levels) == ["low", "low", "medium", "medium", "high", "high", "extreme", None]


def test_categories_keep_scales_apart() -> None:
    found = readings(smart_money_index=(0.4, NONE), market_maker_activity=(0.6, NONE), smart_money_flow=(-0.8, -1))
    means = aggregator.category_scores(found.value)
    assert means["flow"][0] == pytest.approx(0.5)
    assert means["flow_signed"][0] == pytest.approx(-0.8)
    assert np.isnan(means["risk"][0])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"volatility_breakout": (0.8, 1), "mean_reversion_signal": (0.9, 1)}, ("soon", "6 h")),
        ({"mean_reversion_signal": (0.5, 1), "execution_quality": (0.9, NONE)}, ("patient", "swing")),
        ({"mean_reversion_signal": (0.2, 0), "execution_quality": (0.9, NONE)}, ("immediate", "scalp")),
        ({"volatility_breakout": (0.65, 1)}, ("soon", "intraday")),
        ({"smart_money_flow": (0.9, 1)}, ("patient", "swing")),
    ],
)
def test_timing_follows_the_first_rule(said: dict[str, Any], expected: tuple[str, str]) -> None:
    told = row(hours=6.0, **said)
    assert (told["urgency"], told["timeframe"]) == expected


def test_lists_name_who_agrees_and_who_does_not() -> None:
    told = row(
        smart_money_flow=(0.9, 1), squeeze_probability=(0.8, 1), volatility_breakout=(0.8, 1),
        institutional_phase=(0.6, 1), momentum_quality=(0.7, 1), mean_reversion_signal=(0.5, -1),
    )  # fmt: skip
    assert told["primary_signals"] == ["smart_money_flow", "volatility_breakout", "squeeze_probability"]
    assert told["supporting_signals"] == ["institutional_phase", "momentum_quality"]
    assert told["conflicting_signals"] == told["bearish_signals"] == ["mean_reversion_signal"]
    assert told["explanation"].startswith("BULLISH at ")
    assert told["posture"] == "BULLISH"


values = some.floats(0, 1) | some.just(float("nan"))


@given(
    some.lists(
        some.tuples(values, some.sampled_from([-1.0, 0.0, 1.0, NONE]), some.floats(0.5, 1)), min_size=15, max_size=15
    )
)
def test_whatever_the_signals_say_the_reading_stays_in_range(said: list[tuple[float, float, float]]) -> None:
    told = row(**dict(zip(NAMES, said, strict=True)))
    assert all(score is None or 0 <= score <= 2 for score in told["scores"].values())
    assert told["confidence"] is None or 0 <= told["confidence"] <= 1
    assert told["direction"] in (None, "BULLISH", "BEARISH", "NEUTRAL")
    mirrored = row(**{name: (value, -vote, sure) for name, (value, vote, sure) in zip(NAMES, said, strict=True)})
    opposite = {"BULLISH": "BEARISH", "BEARISH": "BULLISH"}
    assert mirrored["direction"] == opposite.get(told["direction"], told["direction"])
    assert mirrored["strength"] == told["strength"]


def test_several_series_at_once() -> None:
    head = {"symbol": "A", "exchange": "x", "market_type": "spot", "confidence": 0.5, "risk_level": "low",
            "strength": "WEAK", "opportunities": []}  # fmt: skip
    rows = [head | {"direction": name} for name in ("BULLISH", "BULLISH", "NEUTRAL", None)]
    rows[0] |= {"risk_level": "high", "opportunities": ["arbitrage funding"]}
    found = overview(rows)
    assert found["directions"] == {"BULLISH": 2, "BEARISH": 0, "NEUTRAL": 1}
    assert found["breadth"] == pytest.approx(2 / 3)
    assert found["at_risk"] == ["A|x_spot"]
    assert found["opportunities"] == {"A|x_spot": ["arbitrage funding"]}
    assert overview([])["breadth"] is None


def put(store: Store, when: datetime, name: str, value: float | None, vote: int | None, **rest: Any) -> None:
    row = {"symbol": "AAAUSDT", "exchange": "binance", "market_type": "futures", "open_time": when - MINUTE,
           "bar_ts": when, "signal": name, "value": value, "confidence": 0.5, "vote": vote, "side": None,
           "components": "{}", "fields": "{}"}  # fmt: skip
    store.write(SIGNALS_TABLE, pa.Table.from_pylist([row | rest], SIGNALS_TABLE.arrow_schema))


def test_the_table_reads_the_last_bars_whatever_the_window(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        for bar in range(1, 13):
            put(store, START + bar * MINUTE, "smart_money_flow", 0.5 if bar == 2 else None, 1 if bar == 2 else None)
            put(store, START + bar * MINUTE, "volatility_breakout", 0.9, 1, fields='{"timeframe_hours": 3.5}')
            put(store, START + bar * MINUTE, "mean_reversion_signal", 0.6, -1, side="OVERBOUGHT")
        assert LAYER.compute(store, START, START + 12 * MINUTE) == 12
        whole = store.query(f"SELECT * FROM {AGGREGATE.qualified} ORDER BY bar_ts").to_pylist()
        LAYER.compute(store, START + 5 * MINUTE, START + 9 * MINUTE)
        assert store.query(f"SELECT * FROM {AGGREGATE.qualified} ORDER BY bar_ts").to_pylist() == whole
    flow = [json.loads(row["scores"])["smart_money_flow"] for row in whole]
    assert [score is None for score in flow] == [True] + 10 * [False] + [True]
    assert flow[3] / flow[2] == pytest.approx(0.95)
    assert {row["timeframe"] for row in whole} == {"3.5 h"}
    assert json.loads(whole[0]["opportunities"]) == ["reversion from OVERBOUGHT"]
