"""A small market with known rows, for asking the server about."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.features.catalog import GROUPS
from orderflow_assets.forecasting.backtest.tables import BACKTEST_CURVE, BACKTESTS
from orderflow_assets.forecasting.drift.tables import DRIFT
from orderflow_assets.forecasting.explain.tables import ERRORS, EXPLANATIONS
from orderflow_assets.forecasting.tables import EVENTS, FORECASTS, FRAMES, LEADERBOARD, SCORES, VERSIONS
from orderflow_assets.signals.aggregate_layer import AGGREGATE
from orderflow_assets.signals.calibration import CALIBRATION
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_assets.signals.probabilities import PROBABILITIES
from orderflow_assets.signals.worth import WORTH
from orderflow_streaming.schema import GAPS, QUARANTINE, STREAMS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Table

MINUTES = 120
IDENTITY = {"symbol": "BTCUSDT", "exchange": "binance", "market_type": "futures"}
SERIES = {"series": "BTCUSDT|binance_futures", **IDENTITY, "target": "price", "model": "nbeats", "version": 3}
LEVEL = 61_234.5
RECOMMENDATION = {
    "direction": "BULLISH",
    "strength": "WEAK",
    "confidence": 0.4,
    "explanation": "flow leans up",
    **{
        name: json.dumps(["smart_money_index"] if name in ("top_signals", "bullish_signals", "primary_signals") else [])
        for name, column in zip(AGGREGATE.names, AGGREGATE.columns, strict=True)
        if column.type == "JSON"
    },
    "scores": json.dumps({"smart_money_index": 0.3}),
    "category_scores": json.dumps({"flow": 0.25}),
}


def now() -> datetime:
    """The last full minute, naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None, second=0, microsecond=0)


def plant(store: Store) -> datetime:
    """Fill the store; returns the closing edge of the newest bar."""
    end = now()
    start = end - timedelta(minutes=MINUTES)
    minutes = [start + timedelta(minutes=number) for number in range(MINUTES)]
    for table, rows in _rows(minutes, end):
        store.write(table, rows_of(table, rows))
    return end


def rows_of(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with every declared column; what is not given is NULL."""
    names = table.names
    return pa.table({name: [row.get(name) for row in rows] for name in names}, schema=table.arrow_schema)


def _backtests(end: datetime) -> list[dict[str, Any]]:
    """Two runs of two models at step 12, the newer one better; naive beside them."""
    model = {name: value for name, value in SERIES.items() if name != "version"}
    run = model | {"step": 12, "data_from": end, "test_from": end, "data_to": end, "train_window": "expanding"}
    run |= {"retrain_every": 288, "fits": 4, "fit_seconds": 2.0, "code_version": "b" * 16, "data_hash": "a" * 64}
    run |= {"origins": 600, "folds": 50, "reason": "as planted", "dm_p": 0.5, "coverage_95": 0.95}
    before = end - timedelta(days=1)
    return [
        run | {"run_at": before, "rmae": 1.2, "dm_p": 0.99, "grade": "F"},
        run | {"run_at": end, "rmae": 0.96, "dm_p": 0.01, "grade": "A"},
        run | {"run_at": end, "model": "naive", "rmae": 1.0, "grade": "C"},
        run | {"run_at": end, "symbol": "ETHUSDT", "series": "ETHUSDT|binance_futures", "rmae": 1.04, "grade": "D"},
    ]


def _curve(end: datetime) -> list[dict[str, Any]]:
    """Ten bars long that win a basis point each, bought and sold for half a one."""
    model = {name: value for name, value in SERIES.items() if name != "version"}
    return [
        model
        | {"step": 1, "run_at": end, "bar_ts": end - timedelta(minutes=5 * (10 - bar)), "position": float(bar < 10)}
        | {"gross_bps": float(bar < 10), "cost_bps": 0.5 * (bar in (0, 10)), "funding_bps": 0.0}
        | {"equity_bps": min(bar + 1, 10) - 0.5 - 0.5 * (bar == 10)}
        for bar in range(11)
    ]


def _explanations(end: datetime) -> list[dict[str, Any]]:
    """Two steps of a forecast of which each input says twice as much as the one before, and what the model needs."""
    of_one = SERIES | {"explained_at": end, "first_issued_at": end, "last_issued_at": end, "origins": 1}
    shap = of_one | {"method": "shap", "base": 0.1, "unit": "volatility-scaled log return"}
    ranked = of_one | {"method": "permutation", "step": 0, "origins": 500, "base": 0.9, "unit": "rmae"}
    return [
        *(
            shap
            | {"step": step, "feature": "history", "lag": lag, "input": 1.0, "value": value * step}
            | {"effect": value / 1_000, "output": 0.1 + 0.7 * step}
            for step in (1, 2)
            for lag, value in ((0, 0.4), (1, 0.2), (2, 0.1))
        ),
        ranked | {"feature": "day_sin", "value": 0.001, "low": -0.01, "high": 0.01},
        ranked | {"feature": "history", "value": 0.05, "low": 0.04, "high": 0.06},
        SERIES
        | {"explained_at": end, "target": "volatility", "model": "theta", "method": "shap", "step": 0}
        | {"feature": "all", "origins": 0, "unit": "log realized volatility", "reason": "theta has none"},
    ]


def _errors(end: datetime) -> list[dict[str, Any]]:
    """Hours of which one is known and one is empty."""
    model = {name: value for name, value in SERIES.items() if name != "version"}
    cell = model | {"step": 1, "grouping": "hour", "analysed_at": end}
    return [
        cell
        | {"cell": "00", "first_issued_at": end, "last_issued_at": end, "scores": 90, "blocks": 9, "rmae": 0.9}
        | {"rmae_low": 0.8, "rmae_high": 0.97, "coverage_95": 0.94},
        cell | {"cell": "01", "scores": 0, "blocks": 0, "reason": "no scored forecast was issued in it"},
    ]


def _rows(minutes: list[datetime], end: datetime) -> list[tuple[Table, list[dict[str, Any]]]]:
    newest = {"timestamp": end, "received_at": end}
    midnight = end.replace(hour=0, minute=0)
    step = [IDENTITY | {"timestamp": minute, "received_at": minute, "id": i} for i, minute in enumerate(minutes)]
    bars = [IDENTITY | {"open_time": minute, "bar_ts": minute + timedelta(minutes=1)} for minute in minutes]
    trades = [
        row
        | {
            "trade_id": str(i),
            "price": LEVEL + i / 100,
            "quantity": 0.125,
            "quote_value": (LEVEL + i / 100) * 0.125,
            "side": "buy" if i % 3 else "sell",
            "is_buyer_maker": i % 3 == 0,
        }
        for i, row in enumerate(step)
    ]
    quotes = [
        row
        | {
            "mid_price": LEVEL + 0.05,
            "bid_price": LEVEL,
            "ask_price": LEVEL + 0.1,
            "spread": 0.1,
            "spread_bps": 0.1 / LEVEL * 1e4,
            "bid_qty": 1.5,
            "ask_qty": 2.5,
            "source_seq": str(i),
        }
        for i, row in enumerate(step)
    ]
    book = IDENTITY | newest | {"id": 1, "mid_price": LEVEL + 0.05}
    for level in range(1, 11):
        book |= {
            f"bid_{level}_price": LEVEL - level / 10,
            f"ask_{level}_price": LEVEL + level / 10,
            f"bid_{level}_qty": float(level),
            f"ask_{level}_qty": 2.0 * level,
        }
    outcome = end - timedelta(minutes=10)
    scores = [
        SERIES
        | {
            "issued_at": outcome - timedelta(minutes=5 * (number + 1)),
            "target_ts": outcome - timedelta(minutes=5 * number),
            "step": 1,
            "actual": LEVEL,
            "error": 1.0 + number,
            "naive_error": 2.0 + number,
            "scaled_error": 0.1,
            "scaled_naive_error": 0.2,
            "inside_80": number % 2 == 0,
            "inside_95": True,
            "scored_at": end,
        }
        for number in range(6)
    ]
    forecasts = [
        SERIES
        | {
            "issued_at": end,
            "target_ts": end + timedelta(minutes=5 * number),
            "step": number,
            "last_value": LEVEL,
            "point": LEVEL + number,
            "naive": LEVEL,
            "lower_80": LEVEL - 10,
            "upper_80": LEVEL + 10,
            "lower_95": LEVEL - 20,
            "upper_95": LEVEL + 20,
            "made_at": end,
        }
        for number in (1, 2, 3)
    ]
    volatility = SERIES | {"target": "volatility", "model": "naive", "version": 0, "issued_at": end, "step": 12}
    forecasts.append(
        volatility
        | {"target_ts": end + timedelta(hours=1), "made_at": end, "reason": "fewer than 200 bars: no trained model yet"}
    )
    return [
        (STREAMS["trades"].table, trades),
        (STREAMS["prices"].table, quotes),
        (STREAMS["orderbooks"].table, [book]),
        (
            STREAMS["mark_prices"].table,
            [row | {"mark_price": LEVEL, "index_price": LEVEL - 1, "funding_rate": 0.0001} for row in step[-3:]],
        ),
        (STREAMS["funding_rates"].table, [row | {"funding_rate": 0.0001} for row in step[-3:]]),
        (STREAMS["open_interest"].table, [row | {"open_interest": 80_000.5 + row["id"]} for row in step[-3:]]),
        (
            STREAMS["liquidations"].table,
            [row | {"side": "long", "price": LEVEL, "quantity": 0.5, "value_usd": LEVEL / 2} for row in step[-2:]],
        ),
        (
            BARS_1M,
            [
                row
                | {
                    "open": LEVEL,
                    "high": LEVEL + 2,
                    "low": LEVEL - 1,
                    "close": LEVEL + 1,
                    "volume": 2.0,
                    "quote_volume": 2 * LEVEL,
                    "taker_buy_volume": 1.5,
                    "taker_buy_quote": 1.5 * LEVEL,
                    "trade_count": 10,
                    "vwap": LEVEL,
                    "mid_close": LEVEL + 1,
                    "quote_count": 60,
                    "quoted_s": 60.0,
                }
                for row in bars
            ],
        ),
        (GROUPS["prices"].table, [row | {"n_obs": 60, "mid_price": LEVEL, "spread_bps": 0.0163} for row in bars]),
        (GROUPS["trades"].table, [row | {"n_obs": 10} for row in bars]),
        (
            SIGNALS_TABLE,
            [
                row
                | {
                    "signal": "smart_money_index",
                    "value": 0.25,
                    "confidence": 0.75,
                    "components": json.dumps({"flow": 0.5, "depth": None}),
                    "vote": 1,
                    "fields": json.dumps({"accumulation": 1}),
                }
                for row in bars
            ],
        ),
        (AGGREGATE, [row | RECOMMENDATION for row in bars]),
        (
            PROBABILITIES,
            [
                row | {"signal": signal, "name": name, "value": 0.6, "probability": chance}
                for row in bars
                for signal, name, chance in (
                    ("squeeze_probability", "squeeze", 0.3),
                    ("volatility_breakout", "expansion", None),
                )
            ],
        ),
        (
            WORTH,
            [
                {"signal": signal, "measured_at": day, "days": 30, "pairs": 900, "gain": 0.01}
                | {"measure": measure, "horizon_minutes": 60, "estimate": estimate, "low": -0.01, "high": 0.05}
                for day in (midnight - timedelta(days=1), midnight)
                for signal, measure, estimate in (
                    ("smart_money_index", "information_coefficient", 0.02),
                    ("momentum_quality", "hit_rate", 0.55),
                )
            ],
        ),
        (
            CALIBRATION,
            [
                {"signal": "squeeze_probability", "valid_from": day, "method": "platt", "outcomes": 400, "events": 80}
                | {"curve": json.dumps([[0.0, 0.1], [1.0, 0.6]]), "judged": 80, "brier": 0.14, "brier_base": 0.16}
                | {"reliability": json.dumps([[0.2, 0.25, 80]])}
                for day in (midnight - timedelta(days=1), midnight)
            ],
        ),
        (FORECASTS, forecasts),
        (SCORES, scores),
        (BACKTESTS, _backtests(end)),
        (BACKTEST_CURVE, _curve(end)),
        (EXPLANATIONS, _explanations(end)),
        (ERRORS, _errors(end)),
        (
            VERSIONS,
            [
                SERIES
                | {
                    "status": "deployed",
                    "alias": "champion",
                    "trained_at": end,
                    "data_from": minutes[0],
                    "data_to": end,
                    "rows": 24,
                    "data_hash": "a" * 64,
                    "code_version": "b" * 12,
                    "metrics": json.dumps({"ratio": 0.93}),
                }
            ],
        ),
        (
            EVENTS,
            [
                SERIES | {"id": number, "happened_at": end, "event": event, "by": "run 1", "reason": "it won"}
                for number, event in enumerate(("registered", "champion_set", "deployed"))
            ],
        ),
        (
            FRAMES,
            [
                {name: SERIES[name] for name in ("series", *IDENTITY)}
                | {
                    "built_at": end,
                    "frame_hash": "c" * 64,
                    "data_from": minutes[0],
                    "data_to": end,
                    "bars": 400,
                    "missing": 0,
                    "columns": json.dumps(["momentum_12", "log_sigma"]),
                    "seasonality": json.dumps({"price": 0.02, "volatility": None}),
                }
            ],
        ),
        (
            LEADERBOARD,
            [
                {name: SERIES[name] for name in ("series", *IDENTITY, "target")}
                | {
                    "model": model,
                    "step": 12,
                    "rank": rank,
                    "shrunk_rmae": (400 * rmae + 200) / 600,
                    "rmae": rmae,
                    "origins": 400,
                    "held_out_origins": 400,
                    "live_origins": 0,
                    "backtest_origins": 0,
                    "load_s": 0.02,
                    "predict_s": predict_s,
                    "device": "cpu",
                    "version": 3,
                    "refreshed_at": end,
                }
                for rank, (model, rmae, predict_s) in enumerate((("ridge", 0.94, 0.4), ("lightgbm", 0.97, 0.03)), 1)
            ],
        ),
        (
            DRIFT,
            [
                SERIES
                | {
                    "checked_at": end,
                    "scores": 6,
                    "error_ratio": 1.4,
                    "severity": "MEDIUM",
                    "detected": True,
                    "type": "sudden",
                    "reason": "errors grew by 40 %",
                }
            ],
        ),
        (
            GAPS,
            [
                IDENTITY
                | {
                    "detected_at": end,
                    "stream": "trades",
                    "started_at": end - timedelta(minutes=3),
                    "ended_at": end - timedelta(minutes=2),
                    "first_missing": "7",
                    "last_missing": "9",
                    "reason": "sequence jump",
                }
            ],
        ),
        (
            QUARANTINE,
            [{"received_at": end, "market": "binance_futures", "topic": "trades", "reason": "not JSON", "raw": b"{"}],
        ),
    ]
