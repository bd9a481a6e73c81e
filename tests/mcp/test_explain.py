"""What the server says of why models forecast what they forecast."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.mcp.conftest import Ask
from tests.mcp.test_tools import cells, iso


def test_a_forecast_is_explained_strongest_input_first(ask: Ask, planted: tuple[Path, datetime]) -> None:
    answer = ask("forecast_explain", symbol="BTCUSDT")
    assert cells(answer, "lag") == [0, 1, 2]
    assert cells(answer, "step") == [1, 1, 1]
    assert cells(answer, "base")[0] + sum(cells(answer, "value")) == pytest.approx(cells(answer, "output")[0])
    assert answer["meta"]["newest_forecast"] == {
        "model": "nbeats",
        "version": 3,
        "issued_at": iso(planted[1]),
        "reason": None,
    }
    assert cells(ask("forecast_explain", symbol="BTCUSDT", step=2), "value") == [0.8, 0.4, 0.2]
    assert ask("forecast_explain", symbol="BTCUSDT", step=9)["rows"] == []


def test_where_there_is_no_explanation_the_reason_is_said(ask: Ask) -> None:
    answer = ask("forecast_explain", symbol="BTCUSDT", target="volatility")
    assert cells(answer, "reason") == ["theta has none"]
    assert answer["meta"]["newest_forecast"]["model"] == "naive"
    other = ask("forecast_explain", symbol="ETHUSDT")
    assert other["rows"] == []
    assert "holds no rows of ETHUSDT" in other["hint"]
    assert "job explain" in other["hint"]


def test_importances_come_with_their_interval(ask: Ask) -> None:
    answer = ask("feature_importance", symbol="BTCUSDT", target="price")
    assert cells(answer, "feature") == ["history", "day_sin"]
    assert cells(answer, "low") == [0.04, -0.01]
    assert "Where naive serves" in ask("feature_importance", symbol="BTCUSDT", method="attention")["hint"]


def test_an_empty_cell_of_the_errors_says_so(ask: Ask) -> None:
    answer = ask("error_analysis", symbol="BTCUSDT", grouping="hour")
    assert cells(answer, "cell") == ["00", "01"]
    assert cells(answer, "rmae") == [0.9, None]
    assert cells(answer, "reason") == [None, "no scored forecast was issued in it"]
    assert ask("error_analysis", symbol="BTCUSDT", grouping="regime")["rows"] == []
