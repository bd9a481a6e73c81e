"""What a model answered is asked once, and given back as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orderflow_assets.forecasting.answers import recalled

TIMES = np.datetime64("2026-03-02", "us") + np.arange(60) * np.timedelta64(5, "m")


class Model:
    """Answers the place of the bar, two steps, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, bars: slice) -> np.ndarray:
        self.asked += range(bars.start, bars.stop)
        return np.arange(bars.start, bars.stop)[:, None] + np.array([0.0, 0.5])


@given(st.lists(st.tuples(st.integers(0, 59), st.integers(1, 60)), min_size=1, max_size=6))
def test_whatever_was_asked_before_the_answers_are_the_same(
    tmp_path_factory: object, windows: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("answers") / "of.npz"  # type: ignore[attr-defined]
    model, kept = Model(), set[int]()
    for first, width in windows:
        wanted = slice(first, min(60, first + width))
        model.asked.clear()
        answers = recalled(path, TIMES, wanted, model)
        bars = set(range(wanted.start, wanted.stop))
        np.testing.assert_array_equal(answers, np.array(sorted(bars))[:, None] + np.array([0.0, 0.5]))
        assert set(model.asked) == bars - kept
        assert len(model.asked) == len(set(model.asked))
        kept = bars if bars - kept else kept


def test_an_answer_of_nothing_is_kept_too(tmp_path: Path) -> None:
    def silent(bars: slice) -> np.ndarray:
        return np.full((bars.stop - bars.start, 1), np.nan)

    path = tmp_path / "of.npz"
    assert np.isnan(recalled(path, TIMES, slice(3, 9), silent)).all()
    model = Model()
    assert np.isnan(recalled(path, TIMES, slice(4, 9), model)).all()
    assert model.asked == []
    assert [name.name for name in tmp_path.iterdir()] == ["of.npz"]
