"""Calculators and series as tools: what is planted comes out, and what cannot be answered says why."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcp_server.calls import Calls, Options
from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools, find, select
from mcp_server.tools.calculators import SHORT, plugin_tools
from orderflow_assets.calculators.discovery import Found, built_in, discover
from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.assets.calculator_tape import END, plant, prices
from tests.mcp.conftest import Ask

AT = {"symbol": "BTCUSDT", "end": f"{END.isoformat()}Z"}
HEAVY: dict[str, dict[str, Any]] = {
    "calculate_anomaly_detection": {"hours": 4},
    "calculate_funding_forecast": {"model": "theta"},
    "calculate_price_forecast": {"model": "theta"},
}

PLUGIN = '''
from orderflow_assets.calculators import Result, calculator

@calculator(category="test", version="1", reads={"bars.bars_1m": 1})
def failing(store, symbol, exchange, end):
    """Fails."""
    raise RuntimeError("a secret of /etc/passwd")
'''


@pytest.fixture(scope="module")
def taped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data folder of a running store with the tape of the calculators."""
    folder = tmp_path_factory.mktemp("taped")
    engine = Engine(database_path(folder), memory_limit="512MB")
    server = StoreServer(engine, folder)
    server.start()
    with connect(folder, scope="write") as store:
        plant(store)
    yield folder
    server.stop()
    engine.close()


def asking(folder: Path, found: Found) -> Ask:
    known = declared_tools() | plugin_tools(found)
    calls = Calls(select(known, toolsets=("all",)), Options(folder, calculators=found))
    return lambda tool, /, **arguments: calls.run(find(tool, calls.selection.listed), arguments)


@pytest.fixture
def ask(taped: Path) -> Ask:
    return asking(taped, built_in())


def parts(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["columns"] == ["part", "value"]
    return dict(answer["rows"])


def column(answer: dict[str, Any], name: str) -> list[Any]:
    if name in answer.get("constants", {}):
        return [answer["constants"][name]] * len(answer["rows"])
    place = answer["columns"].index(name)
    return [row[place] for row in answer["rows"]]


# -- calculators -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [item.tool for item in built_in().calculators.values()])
def test_the_tool_says_what_the_calculator_says(ask: Ask, taped: Path, name: str) -> None:
    given = HEAVY.get(name, {})
    answer = ask(name, **AT, **given, response_format="detailed")
    item = built_in().calculators[name.removeprefix("calculate_")]
    with connect(taped) as store:
        as_of, result = item.run(store, "BTCUSDT", None, END, **given)
    assert parts(answer) == dict(result.data)
    assert answer["meta"]["signals"] == [signal.to_dict() for signal in result.signals]
    assert answer["meta"]["as_of"] == f"{as_of.isoformat()}Z" if as_of else False
    assert answer["meta"]["parameters"] == item.arguments(given)
    assert answer["meta"]["staleness_s"] is None


def test_a_concise_answer_keeps_the_newest_entries_of_long_lists(ask: Ask) -> None:
    long = parts(ask("calculate_order_flow_imbalance", **AT, response_format="detailed"))
    short = ask("calculate_order_flow_imbalance", **AT)
    assert len(long["binance_futures"]["buckets"]["net"]) == 96
    assert parts(short)["binance_futures"]["buckets"]["net"] == long["binance_futures"]["buckets"]["net"][-SHORT:]
    assert "detailed" in short["hint"]
    assert short["meta"]["rows"] == 4


def test_arguments_are_typed_as_declared(ask: Ask) -> None:
    schema = declared_tools()["calculate_volatility_regime"].input_schema
    assert schema["properties"]["symbol"]["default"] == "BTCUSDT"
    assert schema["properties"]["short_window"] == {
        "default": 60,
        "description": "minutes of the volatility that is judged",
        "maximum": 1440,
        "minimum": 5,
        "type": "integer",
    }
    with pytest.raises(ToolError, match="from 5 to 1440"):
        ask("calculate_volatility_regime", **AT, short_window=2)
    with pytest.raises(ToolError, match="Did you mean 'short_window'"):
        ask("calculate_volatility_regime", **AT, short_windw=20)
    with pytest.raises(ToolError, match="bybit"):
        ask("calculate_volatility_regime", **AT, exchange="bybt")
    bybit = ask("calculate_volatility_regime", **AT, exchange="bybit")
    assert bybit["meta"]["about"]["market"] == "bybit_futures"


def test_the_end_is_the_newest_minute_unless_named(ask: Ask) -> None:
    answer = ask("calculate_volatility_regime", symbol="BTCUSDT")
    assert answer["meta"]["as_of"] == AT["end"]
    assert answer["meta"]["staleness_s"] > 0


def test_without_rows_the_answer_says_why(ask: Ask, tmp_path: Path) -> None:
    answer = ask("calculate_price_forecast", symbol="WIFUSDT")
    assert answer["rows"] == []
    assert answer["hint"] == "no minute of WIFUSDT on any exchange is stored yet."
    assert answer["meta"]["errors"] == [answer["hint"]]


def test_the_list_names_plugins_and_what_is_wrong_with_others(taped: Path, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(PLUGIN)
    (tmp_path / "broken.py").write_text("def x(:\n")
    found = discover(tmp_path)
    answer = asking(taped, found)("calculators_list")
    rows = [dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]
    assert {row["calculator"] for row in rows} == {*built_in().calculators, "failing", None}
    assert next(row for row in rows if row["calculator"] == "failing")["plugin"] == "failing.py"
    broken = next(row for row in rows if row["problem"])
    assert broken["plugin"] == "broken.py"
    assert broken["problem"].startswith("SyntaxError")


def test_a_calculator_that_raises_tells_its_kind_alone(
    taped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "failing.py").write_text(PLUGIN)
    ask = asking(taped, discover(tmp_path))
    with pytest.raises(ToolError, match="failing raised RuntimeError") as told:
        ask("calculate_failing", **AT)
    assert "secret" not in str(told.value)
    assert "failing.py" in told.value.remedy
    assert "secret" in caplog.text
    assert ask("calculate_volatility_regime", **AT)["rows"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("calculate_price_forecast", {"model": "theta"}), ("series_trend", {}), ("series_regimes", {})],
)
def test_a_library_that_is_not_installed_is_named_with_how_to_install_it(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, Any]
) -> None:
    plain = builtins.__import__

    def refuse(module: str, *rest: Any, **more: Any) -> Any:
        if module.partition(".")[0] in ("scipy", "statsforecast", "hmmlearn", "pymannkendall", "statsmodels"):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return plain(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ToolError) as told:
        ask(name, **AT, **arguments)
    assert told.value.code == "missing_library"
    assert 'pip install "orderflow[timeseries]"' in told.value.remedy


# -- series ------------------------------------------------------------------------------------------------------

SERIES = ("forecast", "anomalies", "change_points", "features", "seasonality", "regimes", "trend", "similar")


@pytest.mark.parametrize("name", SERIES)
def test_a_series_tool_answers_and_says_what_it_looked_at(ask: Ask, name: str) -> None:
    given = {"model": "theta"} if name == "forecast" else {}
    answer = ask(f"series_{name}", **AT, **given)
    assert answer["rows"] or "Nothing was found" in answer["hint"]
    assert answer["meta"]["source"] == "bars.bars_1m"
    assert answer["meta"]["column"] == "bars.close"
    assert answer["meta"]["missing"] == 0
    assert answer["meta"]["as_of"] == AT["end"]
    json_like = (int, float, str, bool, type(None))
    assert all(isinstance(cell, json_like) for row in answer["rows"] for cell in row)


@pytest.mark.parametrize("name", SERIES)
def test_a_series_that_is_not_stored_says_so(ask: Ask, name: str) -> None:
    unknown = ask(f"series_{name}", symbol="WIFUSDT")
    assert unknown["rows"] == []
    assert unknown["hint"] == "bars.bars_1m holds no rows of WIFUSDT binance_futures yet."
    absent = ask(f"series_{name}", symbol="BTCUSDT", column="main.open_interest.open_interest")
    assert "does not exist yet" in absent["hint"]
    with pytest.raises(ToolError, match="Did you mean 'close'"):
        ask(f"series_{name}", symbol="BTCUSDT", column="bars.clos")


def test_series_figures_are_those_of_the_column(ask: Ask) -> None:
    close = prices()
    features = ask("series_features", **AT, hours=24, interval="5m")
    told = dict(zip(column(features, "feature"), column(features, "value"), strict=True))
    assert told["mean"] == pytest.approx(close[-1440:].reshape(-1, 5)[:, -1].mean(), rel=1e-5)
    anomalies = ask("series_anomalies", **AT, interval="1m", method="mad")
    assert column(anomalies, "time")[0] == AT["end"]
    assert column(anomalies, "value")[0] == pytest.approx(close[-1], rel=1e-9)
    assert column(anomalies, "scaled")[0] == pytest.approx(0.02)
    assert anomalies["meta"]["threshold"] == 3.5
    changes = ask("series_change_points", **AT, interval="1m", hours=24, method="pelt")
    starts = np.array([time[:-1] for time in column(changes, "time")], dtype="datetime64[s]")
    assert (abs(starts - np.datetime64(END - timedelta(hours=2))) < np.timedelta64(4, "m")).any()
    volume = ask("series_seasonality", **AT, column="bars.volume", fold="sum")
    assert column(volume, "period_hours")[0] == pytest.approx(24, rel=0.02)
    assert volume["meta"]["seasonal_strength"] > 0.9
    forecast = ask("series_forecast", **AT, model="naive", steps=2)
    assert column(forecast, "forecast") == pytest.approx([close[-1]] * 2)
    regimes = ask("series_regimes", **AT)
    assert len(regimes["rows"]) == 100
    assert column(regimes, "time")[0] == AT["end"]
    similar = ask("series_similar", **AT, top=3)
    assert column(similar, "distance") == sorted(column(similar, "distance"))


def test_series_that_do_not_suffice_say_how_much_is_needed(ask: Ask) -> None:
    answer = ask("series_forecast", **AT, hours=5)
    assert "needs at least" in answer["hint"]
    with pytest.raises(ToolError, match="At most 20000"):
        ask("series_trend", **AT, interval="1m", hours=2000)
