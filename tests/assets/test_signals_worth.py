"""Whether signals were right: outcomes by hand, calibration that knows no future, worth with its interval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.signals import calibration, forward, labels, outcomes, probabilities, worth
from orderflow_assets.signals.calibration import CALIBRATION, Curve, Sample, fit, judge, reliability
from orderflow_assets.signals.labels import LABELS
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_assets.signals.outcomes import OUTCOMES, Said
from orderflow_assets.signals.outcomes import Path as Prices
from orderflow_assets.signals.worth import WORTH
from orderflow_streaming.store import Store, connect

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
MIDNIGHT = datetime(2025, 3, 10)  # noqa: DTZ001
HEAD = {"symbol": "AAAUSDT", "exchange": "binance", "market_type": "futures"}
SPOKE = 3000
"""Minute of the hand-made path at which the signal speaks."""


def path(after: Sequence[float], forced: Sequence[float] = ()) -> Prices:
    """Two days of returns of +-0.1 %, then ``after``: log returns minute by minute; liquidations by quarter after."""
    steps = np.concatenate([np.where(np.arange(SPOKE) % 2, 0.001, -0.001), after, np.zeros(300 - len(after))])
    logged = np.concatenate([[0.0], np.cumsum(steps)])[None]
    quarters = np.concatenate([np.linspace(0, 10, 3001), forced, np.zeros(20 - len(forced))])[None]
    price = np.exp(logged)
    return Prices(
        logged, price, price, price, {"long": quarters, "short": 0 * quarters},
        np.array([0]), np.array([SPOKE]), np.array([3000]),
    )  # fmt: skip


def said(vote: float = np.nan, side: str | None = None, later: Any = None, **fields: Any) -> Said:
    return Said(np.array([vote]), np.array([side], dtype=object), [fields], [later])


HOUR_SIGMA = 0.001 * np.sqrt(60)


@pytest.mark.parametrize(
    ("signal", "spoken", "after", "forced", "outcome"),
    [
        ("smart_money_index", said(), [-1.01 * HOUR_SIGMA], [], 1),
        ("smart_money_index", said(), [0.99 * HOUR_SIGMA], [], 0),
        ("composite_risk", said(), [1.9 * HOUR_SIGMA], [], 0),
        ("momentum_quality", said(direction=-1), [-0.001], [], 1),
        ("momentum_quality", said(direction=None), [-0.001], [], None),
        ("smart_money_flow", said(vote=1), [-0.001], [], 0),
        ("smart_money_flow", said(vote=0), [-0.001], [], None),
        ("institutional_phase", said(vote=1), [0.001], [], 1),
        ("momentum_exhaustion", said(side="bullish"), [-2.1 * HOUR_SIGMA], [], 1),
        ("momentum_exhaustion", said(side="bearish"), [-2.1 * HOUR_SIGMA], [], 0),
        ("momentum_exhaustion", said(), [-2.1 * HOUR_SIGMA], [], None),
        ("squeeze_probability", said(side="down"), [-6.1 * HOUR_SIGMA, 0.5], [999], 1),
        ("squeeze_probability", said(side="down"), [-6.1 * HOUR_SIGMA, 0.5], [], 0),
        ("squeeze_probability", said(side="down"), [-5.9 * HOUR_SIGMA], [999], 0),
        ("squeeze_probability", said(side="up"), [6.1 * HOUR_SIGMA], [999], 0),
        ("squeeze_probability", said(side="none"), [6.1 * HOUR_SIGMA], [999], None),
        ("liquidation_cascade_risk", said(), [], [0, 999], 1),
        ("liquidation_cascade_risk", said(), [], [0, 0, 0, 0, 999], 0),
        ("volatility_breakout", said(), [0.03], [], 1),
        ("volatility_breakout", said(), [0.01], [], 0),
        ("arbitrage_opportunity", said(opportunity=True, later={"opportunity": False}), [], [], 0),
        ("arbitrage_opportunity", said(opportunity=False, later={"opportunity": True}), [], [], None),
        ("regime_transition", said(current_regime="BULL", later={"current_regime": "BEAR"}), [], [], 1),
        ("regime_transition", said(current_regime="BULL"), [], [], None),
        ("execution_quality", said(slippage_estimate_bps=2.0, later={"slippage_estimate_bps": 2.1}), [], [], 1),
        ("execution_quality", said(slippage_estimate_bps=2.0, later={"slippage_estimate_bps": 2.3}), [], [], 0),
    ],
)
def test_outcomes_by_hand(
    signal: str, spoken: Said, after: list[float], forced: list[float], outcome: float | None
) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        found = OUTCOMES[signal](path(after, forced), spoken)
    assert found[0] == pytest.approx(np.nan if outcome is None else outcome, nan_ok=True)


@pytest.mark.parametrize(("back", "outcome"), [(0.0081, 1), (0.0069, 0)])
def test_a_run_is_taken_back_from_its_far_end(back: float, outcome: float) -> None:
    """From 1 to 0.99 within three bars; the mid speaks at 0.99 and has to come back to 0.998 or so."""
    prices = path([back])
    prices.logged[0, SPOKE - 2 : SPOKE + 1] = np.log(0.99)
    prices.logged[0, SPOKE + 1 :] = np.log(0.99) + back
    for part in (prices.low, prices.high, prices.close):
        part[0] = np.exp(prices.logged[0])
    prices.close[0, SPOKE - 3] = 1.0
    assert outcomes.retraced(prices, said(side="longs"))[0] == outcome
    assert np.isnan(outcomes.retraced(prices, said(side="none"))[0])


def sample(count: int, seed: int = 0) -> Sample:
    """Values whose event has the chance value squared, a quarter of an hour apart."""
    rng = np.random.default_rng(seed)
    value = rng.random(count)
    spoken = np.datetime64(MIDNIGHT - 20 * DAY) + np.arange(count) * np.timedelta64(15, "m")
    return Sample(value, (rng.random(count) < value**2).astype(float), spoken, spoken + np.timedelta64(4, "h"))


def test_isotonic_finds_the_chance_and_never_falls() -> None:
    curve = fit(sample(20_000))
    assert curve is not None
    assert curve.method == "isotonic"
    assert curve.at(np.array([0.3, 0.6, 0.9])) == pytest.approx([0.09, 0.36, 0.81], abs=0.05)
    assert (np.diff(curve.probability) >= 0).all()
    assert np.isnan(curve.at(np.array([np.nan]))[0])


def test_platt_is_the_logistic_fit() -> None:
    part = sample(600)
    curve = fit(part)
    assert curve is not None
    assert curve.method == "platt"
    expected = LogisticRegression(C=np.inf).fit(part.value[:, None], part.outcome).predict_proba(part.value[:, None])
    assert curve.at(part.value) == pytest.approx(expected[:, 1], abs=1e-4)


def test_too_few_of_either_kind_give_no_fit() -> None:
    part = sample(600)
    rare = Sample(part.value, (np.arange(600) < 49).astype(float), part.spoken, part.known)
    assert fit(rare) is None
    assert judge(rare) is None


def test_the_judged_fifth_is_not_fitted_on() -> None:
    part = sample(3000)
    found = judge(part)
    assert found is not None
    cut = part.spoken[2400]
    older = part.part(part.known <= cut - np.timedelta64(1, "D"))
    curve = fit(older)
    assert curve is not None
    newer = part.part(part.spoken >= cut)
    predicted = curve.at(newer.value)
    assert found.judged == len(newer.value) == 600
    assert found.brier == pytest.approx(np.mean((predicted - newer.outcome) ** 2))
    assert found.brier < found.brier_base == pytest.approx(np.mean((older.outcome.mean() - newer.outcome) ** 2))
    assert sum(count for _, _, count in found.reliability) == 600


def test_reliability_groups_by_tenths() -> None:
    predicted = np.array([0.05, 0.07, 0.95, 1.0])
    table = reliability(predicted, np.array([0.0, 1.0, 1.0, 1.0]))
    assert table == [(pytest.approx(0.06), 0.5, 2), (pytest.approx(0.975), 1.0, 2)]


def put_labels(store: Store, name: str, part: Sample, **columns: Any) -> None:
    count = len(part.value)
    data = {
        **{key: [value] * count for key, value in HEAD.items()},
        "signal": [name] * count,
        "signal_ts": part.spoken.astype("datetime64[us]"),
        "known_at": part.known.astype("datetime64[us]"),
        "value": part.value,
        "vote": pa.nulls(count, pa.int32()),
        "unweighted": pa.nulls(count, pa.float64()),
        "outcome": part.outcome.astype(bool),
        **columns,
    }
    store.write(LABELS, pa.table({key: data[key] for key in LABELS.names}))


def put_signal(store: Store, when: datetime, name: str, value: float, **rest: Any) -> None:
    row = {**HEAD, "open_time": when - MINUTE, "bar_ts": when, "signal": name, "value": value, "confidence": 1.0,
           "vote": None, "side": None, "components": '{"a": 0.2, "b": 0.6}', "fields": "{}"}  # fmt: skip
    store.write(SIGNALS_TABLE, pa.Table.from_pylist([row | rest], SIGNALS_TABLE.arrow_schema))


def test_a_probability_rests_on_what_was_known_at_midnight(tmp_path: Path) -> None:
    part = sample(2000)
    name = "momentum_exhaustion"
    with connect(tmp_path, scope="write") as store:
        put_labels(store, name, part)
        put_signal(store, MIDNIGHT + MINUTE, name, 0.6)
        put_signal(store, MIDNIGHT - MINUTE, name, 0.6)
        assert calibration.LAYER.compute(store, MIDNIGHT, MIDNIGHT + HOUR) == 1
        assert calibration.LAYER.compute(store, MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR) == 0
        (row,) = store.query(f"SELECT * FROM {CALIBRATION.qualified}").to_pylist()
        known = int((part.known < np.datetime64(MIDNIGHT)).sum())
        assert 1000 < known < 2000
        assert row["outcomes"] == known
        assert row["brier"] < row["brier_base"]
        curve = json.loads(row["curve"])
        late = Sample(*(entry[known:] for entry in (part.value, 1 - part.outcome, part.spoken, part.known)))
        put_labels(store, name, late)
        calibration.LAYER.compute(store, MIDNIGHT, MIDNIGHT + HOUR)
        assert json.loads(store.query(f"SELECT curve FROM {CALIBRATION.qualified}")["curve"][0].as_py()) == curve
        assert probabilities.LAYER.compute(store, MIDNIGHT - HOUR, MIDNIGHT + HOUR) == 2
        before, after = store.query("SELECT * FROM signals.probabilities ORDER BY bar_ts").to_pylist()
    assert before["probability"] is before["calibrated_at"] is None
    fitted = Curve("isotonic", *np.array(curve).T)
    assert after["probability"] == pytest.approx(fitted.at(np.array([0.6]))[0])
    assert (after["name"], after["calibrated_at"]) == ("reversal_probability", MIDNIGHT)


def put_bars(store: Store, mids: np.ndarray, last: datetime, minutes: int = 1) -> None:
    """One bar every so many ``minutes``, the last of which closes at ``last``."""
    count = len(mids)
    closing = np.datetime64(last, "us") - np.arange(count)[::-1] * np.timedelta64(minutes, "m")
    data: dict[str, Any] = {
        **{key: [value] * count for key, value in HEAD.items()},
        "open_time": closing - np.timedelta64(1, "m"),
        "bar_ts": closing,
        "mid_close": mids,
        "quote_count": np.ones(count, int),
        "quoted_s": np.full(count, 60.0),
    }
    arrays = [pa.array(data.get(column.name, [None] * count), column.type) for column in BARS_1M.arrow_schema]
    store.write(BARS_1M, pa.Table.from_arrays(arrays, schema=BARS_1M.arrow_schema))


def test_labels_and_moves_come_when_they_are_known(tmp_path: Path) -> None:
    mids = 100 * np.exp(0.001 * np.random.default_rng(3).standard_normal(2 * 1440).cumsum())
    spoken = MIDNIGHT - 90 * MINUTE
    with connect(tmp_path, scope="write") as store:
        put_bars(store, mids, MIDNIGHT)
        put_signal(store, spoken, "smart_money_flow", 0.5, vote=1)
        put_signal(store, spoken + MINUTE, "smart_money_flow", 0.5, vote=1)
        assert labels.LAYER.compute(store, spoken, spoken + HOUR) == 0
        assert labels.LAYER.compute(store, spoken + HOUR, spoken + HOUR + MINUTE) == 1
        (row,) = store.query(f"SELECT * FROM {LABELS.qualified}").to_pylist()
        forward.LAYER.compute(store, MIDNIGHT - 2 * HOUR, MIDNIGHT)
        moved = store.query("SELECT * FROM signals.moves WHERE horizon_minutes = 60 ORDER BY known_at").to_pylist()
    change = mids[-31] / mids[-91]
    assert row["outcome"] == (change > 1)
    assert (row["known_at"], row["unweighted"]) == (spoken + HOUR, pytest.approx(0.4))
    assert [entry["known_at"] for entry in moved] == [MIDNIGHT - k * 15 * MINUTE for k in range(8, 0, -1)]
    mine = next(entry for entry in moved if entry["signal_ts"] == spoken)
    assert mine["log_return"] == pytest.approx(np.log(change))


def planted_history(store: Store, days: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    count = days * 96
    spoken = np.datetime64(MIDNIGHT - days * DAY) + np.arange(count) * np.timedelta64(15, "m")
    move = rng.standard_normal(count)
    value = np.tanh(correlation * move + np.sqrt(1 - correlation**2) * rng.standard_normal(count))
    part = Sample(value, (np.sign(value) == np.sign(move)).astype(float), spoken, spoken + np.timedelta64(1, "h"))
    put_labels(
        store,
        "smart_money_flow",
        part,
        vote=pa.array(np.sign(value).astype(int)).cast(pa.int32()),
        unweighted=rng.uniform(-1, 1, count),
    )
    moves = {
        **{key: [entry] * count for key, entry in HEAD.items()},
        "signal_ts": spoken.astype("datetime64[us]"),
        "horizon_minutes": pa.array([60] * count, pa.int32()),
        "known_at": (spoken + np.timedelta64(1, "h")).astype("datetime64[us]"),
        "log_return": move,
    }
    store.write(forward.MOVES, pa.table(moves))
    known = spoken + np.timedelta64(1, "h") < np.datetime64(MIDNIGHT)
    return value[known], move[known]


def test_worth_is_the_rank_correlation_with_an_interval(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        store.ensure(LABELS, forward.MOVES)
        value, move = planted_history(store, 20, 0.3)
        assert worth.measure(store, MIDNIGHT) == 8
        rows = store.query(f"SELECT * FROM {WORTH.qualified} WHERE estimate IS NOT NULL").to_pylist()
    found = {(row["measure"], row["horizon_minutes"]): row for row in rows}
    coefficient = found["information_coefficient", 60]
    assert coefficient["estimate"] == pytest.approx(stats.spearmanr(value, move).statistic)
    assert coefficient["low"] < 0.29 < coefficient["high"]
    assert coefficient["low"] > 0.1
    assert coefficient["gain_low"] > 0
    hits = found["hit_rate", 60]
    assert hits["estimate"] == pytest.approx((np.sign(value) == np.sign(move)).mean())
    days = np.abs(np.diff(value)).sum() - np.abs(np.diff(value))[95::96].sum()
    assert found["turnover", 0]["estimate"] == pytest.approx(days / 20)
    assert set(found) == {("information_coefficient", 60), ("hit_rate", 60), ("base_rate", 60), ("turnover", 0)}


def test_a_few_days_have_no_interval(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        store.ensure(LABELS, forward.MOVES)
        planted_history(store, 3, 0.3)
        worth.measure(store, MIDNIGHT)
        rows = store.query(f"SELECT * FROM {WORTH.qualified} WHERE measure = 'hit_rate'").to_pylist()
    assert rows[0]["days"] == 3
    assert rows[0]["estimate"] is not None
    assert rows[0]["low"] is rows[0]["gain_high"] is None
