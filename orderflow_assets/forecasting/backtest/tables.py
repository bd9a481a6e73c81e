"""The tables of backtests: a row of figures per model and step of each run, and the trading curve of the newest run.

A run of a series is named by ``run_at``. Figures are over the origins of the test part at which the model and naive
both forecast and the outcome is known.
"""

from __future__ import annotations

from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column, Table

GRADES = ("S", "A", "B", "C", "D", "F", "ungraded")
WINDOWS = ("expanding", "sliding")

_SERIES: tuple[Column, ...] = (
    Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
    *IDENTITY,
    Column("target", "VARCHAR", "what was forecast: price, volatility or volume", nullable=False),
    Column("model", "VARCHAR", "model of the catalogue", nullable=False),
    Column("step", "INTEGER", "bars of five minutes ahead", "bars", False),
)
_LEVEL = "unit of the target"

_DESIGN = (
    Column("run_at", "TIMESTAMP", "clock time of the run", "UTC", False),
    Column("data_from", "TIMESTAMP", "first bar known to the first training", "UTC", False),
    Column("test_from", "TIMESTAMP", "first origin forecast from", "UTC", False),
    Column("data_to", "TIMESTAMP", "last bar of the test part", "UTC", False),
    Column("train_window", "VARCHAR", " or ".join(WINDOWS), nullable=False),
    Column("retrain_every", "INTEGER", "bars between trainings", "bars", False),
    Column("fits", "INTEGER", "trainings in the run", "count", False),
    Column("parameters", "JSON", "hyper-parameters that replaced the declared ones"),
    Column("code_version", "VARCHAR", "hash of what the model declares", nullable=False),
    Column("data_hash", "VARCHAR", "sha256 of the frame", nullable=False),
    Column("fit_seconds", "DOUBLE", "CPU time of all trainings", "s"),
    Column("predict_seconds", "DOUBLE", "CPU time of all forecasts of the test part", "s"),
)
_ERRORS = (
    Column("origins", "INTEGER", "origins with a forecast and a known outcome", "count", False),
    Column("folds", "INTEGER", "origins / step: outcomes that do not overlap", "count", False),
    Column("rmae", "DOUBLE", "mean scaled absolute error over naive's; below 1 beats naive", "ratio"),
    Column("mase", "DOUBLE", "mean absolute error over naive's of the same step on the training part", "ratio"),
    Column("mae", "DOUBLE", "mean absolute error", _LEVEL),
    Column("naive_mae", "DOUBLE", "the same of naive", _LEVEL),
    Column("rmse", "DOUBLE", "root mean squared error", _LEVEL),
    Column("median_ae", "DOUBLE", "median absolute error", _LEVEL),
    Column("max_error", "DOUBLE", "largest absolute error", _LEVEL),
    Column("bias", "DOUBLE", "mean of forecast - outcome", _LEVEL),
    Column("mape", "DOUBLE", "mean absolute error in per cent of the outcome; never graded", "%"),
    Column("smape", "DOUBLE", "mean absolute error in per cent of the mean of both sizes", "%"),
    Column("r2", "DOUBLE", "1 - squared log errors / naive's", "fraction"),
    Column("dm_statistic", "DOUBLE", "Diebold-Mariano against naive; negative: the model is better"),
    Column("dm_p", "DOUBLE", "probability of so large a gain if both were equal", "fraction"),
)
_INTERVALS = (
    Column("coverage_80", "DOUBLE", "share of outcomes inside the 80 % interval", "fraction"),
    Column("coverage_95", "DOUBLE", "share of outcomes inside the 95 % interval", "fraction"),
    Column("coverage_origins", "INTEGER", "origins with an interval and a known outcome", "count"),
    Column("crps_ratio", "DOUBLE", "quantile score (CRPS) over naive's with its own intervals", "ratio"),
    Column("winkler_ratio", "DOUBLE", "interval score at 95 % over naive's", "ratio"),
)
_DIRECTION = (
    Column("direction_origins", "INTEGER", "origins at which forecast and outcome both moved", "count"),
    Column("direction_hit", "DOUBLE", "share of them with the sign right; NULL for naive", "fraction"),
    Column("direction_low", "DOUBLE", "95 % Wilson interval, lower, of the outcomes that do not overlap", "fraction"),
    Column("direction_high", "DOUBLE", "the same, upper", "fraction"),
    Column("direction_p", "DOUBLE", "Pesaran-Timmermann p-value of independence of the signs", "fraction"),
)
_TRADING = (
    Column("trades", "INTEGER", "positions opened; NULL: the step was not traded", "count"),
    Column("exposure", "DOUBLE", "mean size of the position", "fraction"),
    Column("turnover", "DOUBLE", "traded value per day over the value at stake", "1/day"),
    Column("gross_bps", "DOUBLE", "sum of the P&L before costs", "bps"),
    Column("fees_bps", "DOUBLE", "fees paid", "bps"),
    Column("spread_bps", "DOUBLE", "half spreads paid", "bps"),
    Column("funding_bps", "DOUBLE", "funding paid, negative: received", "bps"),
    Column("net_bps", "DOUBLE", "sum of the P&L after costs", "bps"),
    Column("hit_rate", "DOUBLE", "share of closed positions that won after costs", "fraction"),
    Column("profit_factor", "DOUBLE", "won over lost, of the positions; NULL where none lost", "ratio"),
    Column("max_drawdown_bps", "DOUBLE", "largest fall of the cumulated P&L from its peak", "bps"),
    Column("sharpe", "DOUBLE", "annualised mean over deviation of the P&L per bar, after costs"),
    Column(
        "deflated_sharpe",
        "DOUBLE",
        "probability that the true Sharpe ratio exceeds the best of luck; NULL unless two traded",
        "fraction",
    ),
    Column("trials", "INTEGER", "strategies tried that the deflation allows for", "count"),
    Column("costs", "JSON", "fee, half spread and funding used, and where each comes from"),
)
_VERDICT = (
    Column("pbo_skill", "DOUBLE", "probability that the model of least error is chosen by luck", "fraction"),
    Column("pbo_trading", "DOUBLE", "the same of the strategy of best Sharpe ratio", "fraction"),
    Column("grade", "VARCHAR", " or ".join(GRADES), nullable=False),
    Column("reason", "VARCHAR", "what the grade rests on, or why there is none", nullable=False),
)

BACKTESTS = Table(
    "forecasts",
    "backtests",
    (*_SERIES, *_DESIGN, *_ERRORS, *_INTERVALS, *_DIRECTION, *_TRADING, *_VERDICT),
    ("series", "target", "model", "step", "run_at"),
    "run_at",
    "Walk-forward backtests: every model of a run on the same bars, one row per step.",
)

BACKTEST_CURVE = Table(
    "forecasts",
    "backtest_curve",
    (
        *_SERIES,
        Column("run_at", "TIMESTAMP", "clock time of the run", "UTC", False),
        Column("bar_ts", "TIMESTAMP", "closing edge at which the position was decided", "UTC", False),
        Column("position", "DOUBLE", "held from the next price on: 1 long, 0 out, -1 short", "fraction", False),
        Column("gross_bps", "DOUBLE", "P&L until the price after, before costs", "bps", False),
        Column("cost_bps", "DOUBLE", "fee and half spread of getting into the position", "bps", False),
        Column("funding_bps", "DOUBLE", "funding paid meanwhile, negative: received", "bps", False),
        Column("equity_bps", "DOUBLE", "P&L after costs, summed since the test part began", "bps", False),
    ),
    ("series", "target", "model", "step", "bar_ts"),
    "bar_ts",
    "What trading on the forecasts of the newest backtest would have brought, bar by bar.",
)

TABLES: tuple[Table, ...] = (BACKTESTS, BACKTEST_CURVE)
