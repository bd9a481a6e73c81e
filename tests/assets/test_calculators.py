"""The contract of calculators: what is refused and in which words, how files are found, what broken ones do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, scope
from orderflow_assets.calculators.calculator import Calculator, DeclarationError, ParameterError
from orderflow_assets.calculators.discovery import PLUGINS_VARIABLE, built_in, discover, plugins_folder
from orderflow_assets.calculators.reading import source
from orderflow_assets.calculators.result import plain
from orderflow_assets.layers import LAYERS
from orderflow_streaming.markets import MARKETS, UnknownNameError
from orderflow_streaming.store import connect

ELEVEN = {
    "order_flow_imbalance",
    "liquidation_cascade",
    "funding_arbitrage",
    "volatility_regime",
    "price_forecast",
    "anomaly_detection",
    "change_point_detection",
    "feature_extraction",
    "regime_detection",
    "seasonality_analysis",
    "funding_forecast",
}
BARS = {"bars.bars_1m": 1}
Hours = Annotated[int, Field(ge=1, le=24, description="hours to look back")]
Mode = Annotated[Literal["fast", "slow"], Field(description="how")]

GOOD = '''
from orderflow_assets.calculators import Result, calculator

@calculator(category="test", version="1", reads={"bars.bars_1m": 1})
def NAME(store, symbol, exchange, end):
    """Says one."""
    return Result({"one": 1})
'''


@calculator(category="test", version="1", reads={"bars.bars_1m": "hours"})
def example(
    store: Rows, symbol: str, exchange: str | None, end: datetime, *, hours: Hours = 2, mode: Mode = "fast"
) -> Result:
    """An example.

    This paragraph is for readers of the source.
    """
    return Result({"hours": hours})


def declared(function: Callable[..., Any], **given: Any) -> Calculator:
    return calculator(**{"category": "test", "version": "1", "reads": BARS, **given})(function)


# -- declaring ---------------------------------------------------------------------------------------------------


def test_the_eleven_are_there_and_described() -> None:
    found = built_in()
    assert set(found.calculators) == ELEVEN
    tables = {layer.table.qualified for layer in LAYERS} | {"main.liquidations"}
    for row in found.describe():
        assert row["plugin"] is None
        assert row["parameters"]
        assert set(row["reads"]) <= tables
        assert all(part["description"] and part["allowed"] for part in row["parameters"])
    json.dumps(found.describe())


def test_the_declaration_is_the_function() -> None:
    assert (example.name, example.tool, example.description) == ("example", "calculate_example", "An example.")
    assert example.arguments({}) == {"hours": 2, "mode": "fast"}
    assert [part["allowed"] for part in example.describe()["parameters"]] == [
        "a whole number from 1 to 24",
        "fast, slow",
    ]
    assert example.lookback({"hours": 5}).total_seconds() == 5 * 3600


def no_docstring(store: Any, symbol: Any, exchange: Any, end: Any) -> Result:
    return Result()


def without_end(store: Any, symbol: Any, exchange: Any) -> Result:
    """Text."""
    return Result()


def without_default(store: Any, symbol: Any, exchange: Any, end: Any, *, hours: Hours) -> Result:
    """Text."""
    return Result()


def without_type(store: Any, symbol: Any, exchange: Any, end: Any, *, hours=3) -> Result:  # type: ignore[no-untyped-def]
    """Text."""
    return Result()


def of_a_list(store: Any, symbol: Any, exchange: Any, end: Any, *, hours: list[int] = [1]) -> Result:  # noqa: B006
    """Text."""
    return Result()


def undescribed(store: Any, symbol: Any, exchange: Any, end: Any, *, hours: int = 3) -> Result:
    """Text."""
    return Result()


def out_of_range(store: Any, symbol: Any, exchange: Any, end: Any, *, hours: Hours = 99) -> Result:
    """Text."""
    return Result()


def reserved(store: Any, symbol: Any, exchange: Any, end: Any, *, response_format: Mode = "fast") -> Result:
    """Text."""
    return Result()


def fine(store: Any, symbol: Any, exchange: Any, end: Any) -> Result:
    """Text."""
    return Result()


@pytest.mark.parametrize(
    ("function", "given", "words"),
    [
        (no_docstring, {}, "has no docstring"),
        (without_end, {}, r"takes \(store, symbol, exchange\); write \(store, symbol, exchange, end"),
        (without_default, {}, "'hours' needs a default"),
        (without_type, {}, "must be int, float, bool, str or a Literal"),
        (of_a_list, {}, "must be int, float, bool, str or a Literal"),
        (undescribed, {}, "has no description"),
        (out_of_range, {}, "default 99 of 'hours' is not allowed"),
        (reserved, {}, "'response_format' is taken"),
        (fine, {"reads": {}}, "names no table"),
        (fine, {"reads": {"bars.bars_1": 1}}, "Did you mean 'bars.bars_1m'"),
        (fine, {"reads": {"bars.bars_1m": "hours"}}, "none of its numeric parameters"),
        (fine, {"reads": {"bars.bars_1m": 0}}, "0 hours back"),
        (fine, {"every": "week"}, "Allowed: hour, day"),
        (fine, {"category": ""}, "category and version"),
        (print, {}, "on a function"),
    ],
)
def test_a_wrong_declaration_says_what_to_write(
    function: Callable[..., Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(DeclarationError, match=words) as told:
        declared(function, **given)
    assert "\n" not in str(told.value)


# -- calling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hour": 1}, "no parameter 'hour'. Did you mean 'hours'"),
        ({"hours": 0}, "Allowed: a whole number from 1 to 24"),
        ({"hours": "many"}, "hours is 'many'"),
        ({"mode": "quick"}, "Allowed: fast, slow"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_is_allowed(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        example.arguments(given)


@given(st.integers() | st.floats() | st.text(max_size=5) | st.booleans() | st.none())
def test_any_value_is_taken_within_its_limits_or_refused(value: Any) -> None:
    try:
        hours = example.arguments({"hours": value})["hours"]
    except ParameterError:
        return
    assert 1 <= hours <= 24


def test_without_rows_there_is_no_data_and_a_reason(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        for item in built_in().calculators.values():
            as_of, result = item.run(store, "BTCUSDT")
            assert (as_of, result.data) == (None, {})
            assert "does not exist yet" in result.errors[0]
        store.ensure(*(layer.table for layer in LAYERS))
        assert "is stored yet" in example.run(store, "BTCUSDT")[1].errors[0]
        assert example.run(store, "btcusdt", None, datetime(2025, 1, 1))[1].data == {"hours": 2}  # noqa: DTZ001
        with pytest.raises(UnknownNameError, match="Did you mean 'binance'"):
            example.run(store, "BTCUSDT", "binanc")
        with pytest.raises(UnknownNameError, match="BTCUSDT"):
            example.run(store, "BTCUSD")


def test_a_signal_lies_within_its_bounds() -> None:
    with pytest.raises(ValueError, match="BULLISH, BEARISH"):
        CalculatorSignal("BULL", 0.5, "text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 to 1"):
        CalculatorSignal("BULLISH", 1.5, "text")
    end = datetime(2025, 1, 1)  # noqa: DTZ001
    early = Result({"a": 1}, [CalculatorSignal("INFO", 0.5, "text")]).settled(end)
    assert early.signals[0].timestamp == end
    late = CalculatorSignal("INFO", 0.5, "tomorrow", datetime(2025, 1, 2))  # noqa: DTZ001
    with pytest.raises(ValueError, match="lies after the end"):
        Result({"a": 1}, [late]).settled(end)


def test_results_are_stored_as_plain_values() -> None:
    told = plain(
        {
            "array": np.array([1.0, np.nan, np.inf]),
            "whole": np.int64(3),
            "flag": np.bool_(True),
            "time": np.datetime64("2025-01-01T00:00:00", "us"),
            "deep": [{"x": (1 / 3,)}],
        }
    )
    assert told == {
        "array": [1.0, None, None],
        "whole": 3,
        "flag": True,
        "time": "2025-01-01T00:00:00Z",
        "deep": [{"x": [0.3333333333]}],
    }
    with pytest.raises(TypeError, match="object"):
        plain({"a": object()})


@pytest.mark.parametrize("market", MARKETS)
def test_an_exchange_names_all_its_markets_and_a_market_itself(market: str) -> None:
    exchange = MARKETS[market].exchange
    assert scope("BTCUSDT", market)[1]["market_type"] == MARKETS[market].market_type
    assert "market_type" not in scope("BTCUSDT", exchange)[1]
    assert scope("BTCUSDT", None)[0] == "symbol = $symbol"


def test_columns_are_named_by_table_and_column() -> None:
    assert source("bars.close")[0].qualified == "bars.bars_1m"
    assert source("features.prices.microprice")[1].name == "microprice"
    with pytest.raises(UnknownNameError, match="Did you mean 'close'"):
        source("bars.clos")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'features\.prices'"):
        source("features.price.microprice")
    with pytest.raises(UnknownNameError, match="names no stored column"):
        source("close")


# -- finding -----------------------------------------------------------------------------------------------------


def drop(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)


def test_the_folder_is_named_or_lies_in_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLUGINS_VARIABLE, raising=False)
    assert plugins_folder(tmp_path) == tmp_path / "plugins"
    monkeypatch.setenv(PLUGINS_VARIABLE, "/elsewhere")
    assert plugins_folder(tmp_path) == Path("/elsewhere")
    assert set(discover(tmp_path / "absent").calculators) == ELEVEN


def test_a_dropped_file_is_a_calculator_and_broken_ones_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drop(tmp_path, "good", GOOD.replace("NAME", "one"))
    drop(tmp_path, "another", GOOD.replace("NAME", "one"))
    drop(tmp_path, "taken", GOOD.replace("NAME", "price_forecast"))
    drop(tmp_path, "syntax", "def broken(:\n")
    drop(tmp_path, "imports", "import no_such_package\n")
    drop(tmp_path, "empty", "x = 1\n")
    drop(tmp_path, "wrong", GOOD.replace("NAME", "two").replace('"""Says one."""', "pass"))
    drop(tmp_path, "leaves", "raise SystemExit(3)\n")
    drop(tmp_path, "borrows", "from orderflow_assets.calculators.builtin.price_forecast import price_forecast\n")
    drop(tmp_path, "_private", "raise RuntimeError\n")
    with caplog.at_level(logging.WARNING):
        found = discover(tmp_path)
    assert found.plugins == {"one"}
    assert found.calculators["one"].source == str(tmp_path / "another.py")
    assert {row["name"]: row["plugin"] for row in found.describe()}["one"] == "another.py"
    reasons = {item.name: item.reason for item in found.broken}
    assert "is taken by" in reasons["good.py"]
    assert "is taken by" in reasons["taken.py"]
    assert reasons["syntax.py"].startswith("SyntaxError")
    assert "no_such_package" in reasons["imports.py"]
    assert "declares no calculator" in reasons["empty.py"]
    assert "declares no calculator" in reasons["borrows.py"]
    assert "has no docstring" in reasons["wrong.py"]
    assert reasons["leaves.py"] == "SystemExit: 3"
    assert len(reasons) == 8
    assert len([record for record in caplog.records if "is left out" in record.message]) == len(reasons)
