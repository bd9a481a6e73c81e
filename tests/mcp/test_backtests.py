"""What the server says of backtests."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.mcp.conftest import Ask
from tests.mcp.test_tools import cells, iso


def test_the_newest_run_is_shown_and_older_ones_on_demand(ask: Ask, planted: tuple[Path, datetime]) -> None:
    newest = ask("backtest_results", symbol="BTCUSDT")
    assert cells(newest, "model") == ["nbeats", "naive"]
    assert cells(newest, "grade") == ["A", "C"]
    assert cells(newest, "run_at") == [iso(planted[1])] * 2
    assert cells(ask("backtest_results", symbol="BTCUSDT", start="7d", model="nbeats"), "rmae") == [0.96, 1.2]
    assert "data_hash" in {**ask("backtest_results", symbol="BTCUSDT", response_format="detailed")["constants"]}


def test_models_are_ranked_by_the_newest_run_of_each_series(ask: Ask) -> None:
    board = ask("backtest_leaderboard")
    assert cells(board, "model") == ["naive", "nbeats"] or cells(board, "model") == ["nbeats", "naive"]
    nbeats = cells(board, "model").index("nbeats")
    assert cells(board, "rmae")[nbeats] == pytest.approx((0.96 + 1.04) / 2)
    counts = {name: cells(board, name)[nbeats] for name in ("series", "better", "surely_better", "surely_worse")}
    assert counts == {"series": 2, "better": 1, "surely_better": 1, "surely_worse": 0}
    assert cells(board, "worst_grade")[nbeats] == "D"
    assert cells(board, "fit_seconds")[nbeats] == 0.5
    assert ask("backtest_leaderboard", step=3)["rows"] == []


def test_a_curve_is_shortened_without_losing_its_end_or_its_sums(ask: Ask, planted: tuple[Path, datetime]) -> None:
    whole = ask("backtest_curve", symbol="BTCUSDT", model="nbeats")
    assert len(whole["rows"]) == 11
    short = ask("backtest_curve", symbol="BTCUSDT", model="nbeats", points=3)
    assert len(short["rows"]) == 3
    for curve in (whole, short):
        assert cells(curve, "equity_bps")[-1] == 9.0
        assert sum(cells(curve, "gross_bps")) == 10.0
        assert sum(cells(curve, "cost_bps")) == 1.0
        assert cells(curve, "bar_ts")[-1] == iso(planted[1])
    assert "no rows" in ask("backtest_curve", symbol="BTCUSDT", model="unheard")["hint"]
