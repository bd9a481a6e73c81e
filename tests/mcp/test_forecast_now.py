"""Forecasts and cross-validation in a call, figures from numbers that are sent, and what stands behind their names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mcp_server.errors import ToolError
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_streaming.store import connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.server import StoreServer
from tests.mcp.conftest import Ask, asking
from tests.mcp.planted import IDENTITY, now, rows_of
from tests.mcp.test_tools import cells

pytest.importorskip("darts", reason="the extra forecast is not installed")

DAYS = 3
LAST = 60_000.0


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ask, datetime]]:
    """A store with three days of minutes that wander and end at a known price, and their last five-minute edge."""
    folder = tmp_path_factory.mktemp("traded")
    edge = now()
    edge -= timedelta(minutes=edge.minute % 5)
    _plant(folder, edge)
    engine = Engine(database_path(folder), memory_limit="512MB")
    server = StoreServer(engine, folder)
    server.start()
    yield asking(folder), edge
    server.stop()
    engine.close()


def _plant(folder: Path, edge: datetime) -> None:
    count, random = DAYS * 1_440, np.random.default_rng(0)
    walk = np.cumsum(random.normal(0, 5e-4, count))
    prices, volumes = LAST * np.exp(walk - walk[-1]), random.gamma(2.0, 1.0, count)
    required = {column.name: 0 for column in BARS_1M.columns if not column.nullable}
    rows = [
        required
        | IDENTITY
        | {
            "open_time": edge - timedelta(minutes=count - place),
            "bar_ts": edge - timedelta(minutes=count - place - 1),
            **dict.fromkeys(("open", "close", "high", "low"), float(price)),
            "volume": float(volume),
            "quote_volume": float(volume * price),
            "taker_buy_volume": float(volume / 2),
        }
        for place, (price, volume) in enumerate(zip(prices, volumes, strict=True))
    ]
    with connect(folder, scope="write") as store:
        store.write(BARS_1M, rows_of(BARS_1M, rows))


def test_a_forecast_says_how_its_model_did_on_bars_it_had_not_seen(traded: tuple[Ask, datetime]) -> None:
    ask, edge = traded
    answer = ask("forecast_now", symbol="BTCUSDT", model="ridge", hours=72)
    meta = answer["meta"]
    assert meta["origin"] == f"{edge.isoformat()}Z"
    assert meta["trained_to"] == f"{(edge - timedelta(days=1)).isoformat()}Z"
    assert (meta["model"], meta["trained_bars"], meta["held_out"]["origins"]) == ("ridge", 576, 276)
    assert 0.8 < meta["held_out"]["rmae"] < 1.2
    assert 0.8 < meta["held_out"]["coverage"]["95%"] <= 1
    columns = {name: place for place, name in enumerate(answer["columns"])}
    assert answer["constants"]["naive"] == LAST
    for row in answer["rows"]:
        lower, upper = row[columns["lower_95"]], row[columns["upper_95"]]
        assert lower < row[columns["lower_80"]] < row[columns["point"]] < row[columns["upper_80"]] < upper


def test_without_a_model_what_was_measured_decides(traded: tuple[Ask, datetime]) -> None:
    meta = traded[0]("forecast_with_darts_quick", symbol="BTCUSDT", exchange="binance", horizon=24)["meta"]
    assert (meta["model"], meta["held_out"]["rmae"]) == ("naive", 1)
    assert "no training frame" in meta["reasons"][0]


def test_a_forecast_from_an_earlier_bar_knows_nothing_later(traded: tuple[Ask, datetime]) -> None:
    ask, edge = traded
    end = (edge - timedelta(hours=2)).isoformat()
    meta = ask("forecast_now", symbol="BTCUSDT", model="naive", hours=48, end=end)["meta"]
    assert (meta["as_of"], meta["staleness_s"]) == (f"{end}Z", None)


def test_an_ensemble_is_made_of_the_members_asked_for(traded: tuple[Ask, datetime]) -> None:
    ask = traded[0]
    both = ask("forecast_ensemble", symbol="BTCUSDT", models=["ridge", "LinearRegression"], aggregation="median")
    assert both["meta"]["model"] == "ensemble_median"
    with pytest.raises(ToolError) as failure:
        ask("forecast_ensemble", symbol="BTCUSDT", models=["ridge", "nbeats"])
    assert (failure.value.code, "nbeats" in failure.value.fact) == ("too_heavy", True)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("cross_validate_timeseries", {"model_name": "NBEATS"}, "too_heavy"),
        ("forecast_now", {"symbol": "BTCUSDT", "model": "ridgee"}, "unknown_name"),
        ("forecast_now", {"symbol": "BTCUSDT", "model": "har"}, "model"),
        ("forecast_now", {"symbol": "BTCUSDT", "model": "ridge", "end": "2d"}, "model"),
        ("model_cross_validate", {"symbol": "BTCUSDT", "model": "ridge", "folds": 20, "hours": 48}, "model"),
    ],
)
def test_what_cannot_be_forecast_in_a_call_is_refused(
    traded: tuple[Ask, datetime], name: str, arguments: dict[str, object], code: str
) -> None:
    with pytest.raises(ToolError) as failure:
        traded[0](name, **arguments)
    assert failure.value.code == code


def test_of_a_model_too_heavy_for_a_call_the_newest_stored_forecast_is_told(
    traded: tuple[Ask, datetime], ask: Ask
) -> None:
    told = ask("forecast_with_darts_dl", symbol="BTCUSDT", model_name="NBEATS", epochs=5)
    stored = ask("forecasts_get", symbol="BTCUSDT", target="price")
    assert cells(told, "point") == cells(stored, "point")
    assert (set(cells(told, "version")), "newest stored" in told["hint"]) == ({3}, True)
    nothing = traded[0]("forecast_zero_shot", model_variant="mini")
    assert (nothing["rows"], "no mini Chronos-2 has been published" in nothing["hint"]) == ([], True)


def test_without_bars_the_answer_is_empty_and_says_why(traded: tuple[Ask, datetime], tmp_path: Path) -> None:
    answer = traded[0]("forecast_now", symbol="ETHUSDT", model="naive")
    assert (answer["rows"], "no bars" in answer["hint"]) == ([], True)


def test_cross_validation_scores_fold_by_fold(traded: tuple[Ask, datetime]) -> None:
    answer = traded[0](
        "cross_validate_timeseries", model_name="naive", cv_strategy="expanding_window", n_folds=2, hours=72
    )
    score = answer["constants"]["score"]
    assert (len(answer["rows"]), score, answer["meta"]["mean"], answer["meta"]["sd"]) == (2, 1, 1, 0)
    assert (answer["meta"]["strategy"], answer["meta"]["metric"]) == ("expanding", "rmae")


def test_models_are_listed_with_what_may_be_trained_in_a_call(traded: tuple[Ask, datetime]) -> None:
    answer = traded[0]("list_darts_models")
    at = {name: place for place, name in enumerate(answer["columns"])}
    in_call = {row[at["name"]]: row[at["in_call"]] for row in answer["rows"]}
    assert (in_call["ridge"], in_call["ensemble_mean"], in_call["nbeats"], in_call["ensemble_dl"]) == (
        True,
        True,
        False,
        False,
    )


def test_numbers_that_are_sent_are_judged_by_those_before_them(traded: tuple[Ask, datetime]) -> None:
    ask = traded[0]
    found = ask("detect_anomalies", values=[1.0, 2.0] * 15 + [50.0], threshold=3)
    assert [row[0] for row in found["rows"]] == [30]
    assert found["meta"]["judged"] == 11
    changes = ask("detect_changepoints", values=[0.0, 1.0] * 15 + [9.0, 10.0] * 15, min_segment_length=10)
    assert [row[0] for row in changes["rows"]] == [30]
    with pytest.raises(ToolError, match="values"):
        ask("detect_anomalies", values=[1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("price", "interest", "intent"),
    [(1, 1, "long_build"), (-1, 1, "short_build"), (-1, -1, "long_unwind"), (1, -1, "short_cover"), (0, 1, "neutral")],
)
def test_the_quadrants_of_price_and_open_interest(
    traded: tuple[Ask, datetime], price: int, interest: int, intent: str
) -> None:
    answer = traded[0]("compute_oi_flow_decomposition", symbol="any", price_change_pct=price, oi_change_pct=interest)
    assert answer["rows"][0][0] == intent


def test_funding_is_put_per_year_and_among_its_past(traded: tuple[Ask, datetime]) -> None:
    ask = traded[0]
    (row,) = ask("compute_funding_stress", funding_rate=3e-4, funding_rate_history=[1e-4, 2e-4])["rows"]
    assert row == [32.85, "longs", pytest.approx(1.5e-4 / (1e-4 / math.sqrt(2)), rel=1e-5), 1.0]
    (row,) = ask("funding_annualize", funding_rate=-1e-4, interval_hours=4)["rows"]
    assert row == [-21.9, "shorts", None, None]


def test_volume_is_put_into_bands_of_price(ask: Ask) -> None:
    answer = ask("compute_volume_profile", exchange="binance", bands=4, start="3h")
    assert cells(answer, "price_to")[1:] == cells(answer, "price_from")[:-1]
    flow = ask("trade_flow_get", symbol="BTCUSDT", market="binance_futures", start="3h")
    for side in ("buy", "sell"):
        assert sum(cells(answer, f"{side}_volume")) == pytest.approx(cells(flow, f"{side}_base")[0])
    assert sum(cells(answer, "share")) == pytest.approx(1, abs=1e-5)
