"""Tools that forecast or cross-validate while the caller waits, with models light enough for that; and their list."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mcp_server import catalog, windows
from mcp_server.arguments import DEFAULT_MARKET, NamedMarket, Symbol, Time, moment, one_of
from mcp_server.context import Context
from mcp_server.errors import ToolError
from mcp_server.registry import tool
from mcp_server.results import Answer, rounded
from orderflow_assets.forecasting.frame import BARS, FrameError, Series, floor_step, known_until, read_frame
from orderflow_assets.forecasting.models import SPECS, ModelError, ModelSpec, describe, missing, resolve
from orderflow_assets.forecasting.models.spec import Family
from orderflow_assets.forecasting.router import PRIORITIES, Route, route
from orderflow_assets.forecasting.tables import FORECASTS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.markets import market as declared_market
from orderflow_streaming.tables import Column

if TYPE_CHECKING:
    from orderflow_assets.forecasting.frame import Frame
    from orderflow_assets.forecasting.targets import Target as Declared

TOOLSET = "forecasting"
TIMEOUT_S = 45.0
SPARE_S = 3.0
"""Left over for making the answer."""
RUN_IT = "model_train trains it in Dagster where writes are allowed; leaderboard_get says how good it was."
Target = Annotated[str, one_of(TARGETS)]
Priority = Annotated[str, one_of(PRIORITIES)]
Model = Annotated[str, Field(max_length=64, description="name or alias; forecast_models_list lists them")]
Hours = Annotated[float, Field(ge=48, le=2_160, description="hours of bars to look at")]
_LEVEL = "quote, fraction or base"
_FORECAST = (
    Column("step", "BIGINT", "bars of five minutes ahead", "bars"),
    Column("target_ts", "TIMESTAMP", "closing edge forecast", "UTC"),
    *(Column(name, "DOUBLE", name, _LEVEL) for name in ("point", "naive", "lower_80", "upper_80")),
    *(Column(name, "DOUBLE", name, _LEVEL) for name in ("lower_95", "upper_95")),
)


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def forecast_now(
    context: Context,
    symbol: Symbol,
    market: NamedMarket = DEFAULT_MARKET,
    target: Target = "price",
    model: Model | None = None,
    members: Annotated[list[str], Field(max_length=8, description="of an ensemble_… model")] | None = None,
    lags: Annotated[int, Field(ge=1, le=500, description="bars looked back")] | None = None,
    hours: Hours = 336,
    end: Time | None = None,
    priority: Priority = "balanced",
) -> Answer:
    """Train a light model now on stored bars of five minutes and forecast from the newest (or from end). Without model
    the router picks by priority. Point and 80 and 95 % bounds are levels; meta says how it did on the newest day of
    bars, which it was not trained on: rmae below 1 beats naive. Of networks and pretrained models the newest stored
    forecast is told. Others: forecasts_get. Times UTC."""
    series = _series(symbol, market)
    spec, reasons = (_named(model), []) if model else _routed(context, series, target, priority)
    if heavy := _heavy(spec, members):
        if members:
            raise ToolError("too_heavy", f"{heavy}.", "Take other members; forecast_models_list lists models.")
        return _stored(context, series, target, spec, missing(spec) or heavy)
    if reason := missing(spec):
        raise _refused(ModelError(reason))
    frame = _frame(context, series, hours, end)
    if isinstance(frame, str):
        return Answer(_FORECAST, [[] for _ in _FORECAST], BARS, hint=frame)
    own = {name: value for name, value in (("members", members), ("lags", lags)) if value is not None}
    from orderflow_assets.forecasting import on_demand

    try:
        made = on_demand.forecast(spec, TARGETS[target], frame, own, context.left_s - SPARE_S)
    except ModelError as error:
        raise _refused(error) from None
    rows = [
        (
            one.step,
            one.target_ts,
            one.point,
            made.last_value,
            *(bound for both in one.bounds.values() for bound in both or (None, None)),
        )
        for one in made.steps
    ]
    meta = {
        "series": series.key,
        "target": target,
        "model": made.model,
        "origin": made.origin.isoformat() + "Z",
        "trained_to": made.trained_to.isoformat() + "Z",
        "trained_bars": made.trained_bars,
        "held_out": {
            "origins": made.origins,
            "rmae": made.rmae,
            "p_better": made.p_better,
            "coverage": {f"{level:.0%}": share for level, share in made.coverage.items()},
        },
        "seconds": made.seconds,
        "reasons": reasons,
    }
    return Answer.rows(_FORECAST, rows, source=BARS, moment=made.origin, dated=end is None, meta=_rounded(meta))


_FOLDS = (
    Column("fold", "BIGINT"),
    Column("trained_bars", "BIGINT", "bars trained on", "bars"),
    Column("origins", "BIGINT", "origins forecast", "count"),
    *(
        Column(name, "TIMESTAMP", f"{name.replace('_', ' ')} forecast", "UTC")
        for name in ("first_origin", "last_origin")
    ),
    Column("score", "DOUBLE", "the metric on the fold"),
)
_SHAPES = {"walk_forward": None, "combinatorial_purged": "groups"}
"""What the number of folds is called by the strategies that do not call it folds."""


@tool(toolset=TOOLSET, timeout_s=TIMEOUT_S)
def model_cross_validate(
    context: Context,
    symbol: Symbol,
    model: Model,
    market: NamedMarket = DEFAULT_MARKET,
    target: Target = "price",
    strategy: Literal[
        "expanding", "sliding", "walk_forward", "blocked", "purged_kfold", "combinatorial_purged"
    ] = "expanding",
    folds: Annotated[int, Field(ge=2, le=20, description="not for walk_forward: days")] = 5,
    metric: Literal["rmae", "mae", "rmse", "mape", "smape"] = "rmae",
    hours: Hours = 336,
    end: Time | None = None,
) -> Answer:
    """Cross-validate a light model now on stored bars of five minutes: train and score it on every fold, with as many
    bars between training and test as their outcomes and inputs overlap. rmae below 1 beats naive; mae and rmse are
    levels, mape and smape percent and say little of the model. Its spread over the folds is in meta. Full walk-forward
    tests with P&L: backtest_results."""
    series, spec = _series(symbol, market), _named(model)
    if reason := missing(spec):
        raise _refused(ModelError(reason))
    if reason := _heavy(spec, None):
        raise ToolError("too_heavy", f"{reason}.", "backtest_results has stored tests; backtest_start runs one.")
    frame = _frame(context, series, hours, end)
    if isinstance(frame, str):
        return Answer(_FOLDS, [[] for _ in _FOLDS], BARS, hint=frame)
    name = _SHAPES.get(strategy, "folds")
    shape = {name: folds} if name else {}
    rows, meta = _validated(context, spec, TARGETS[target], frame, strategy, metric, shape)
    about = {"series": series.key, "target": target, "model": spec.name, "strategy": strategy, "metric": metric}
    newest = frame.times[-1].astype("datetime64[us]").item()
    return Answer.rows(_FOLDS, rows, source=BARS, moment=newest, dated=end is None, meta=about | _rounded(meta))


def _validated(
    context: Context, spec: ModelSpec, target: Declared, frame: Frame, strategy: str, metric: str, shape: dict[str, int]
) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """A row per fold, and what the folds have in common; stops where the folds left would not be done in time."""
    import numpy as np

    from orderflow_assets.forecasting import validation

    gap = validation.purge(spec, target) + int(np.ceil(validation.EMBARGO * len(frame)))
    rows: list[tuple[Any, ...]] = []
    try:
        folds = validation.split(strategy, len(frame), gap, **shape)
        for number, fold in enumerate(folds, 1):
            started = time.monotonic()
            (parts,) = validation.forecasts(spec, target, frame, [fold], stride=max(target.steps))
            score = validation.score(parts, metric)
            edges = (frame.times[fold.test[place]].astype("datetime64[us]").item() for place in (0, -1))
            origins = len(range(0, len(fold.test), max(target.steps)))
            rows.append((number, len(fold.train), origins, *edges, score))
            left = len(folds) - number
            if left and left * (time.monotonic() - started) > context.left_s - SPARE_S:
                raise ModelError(f"{spec.name} did {number} of {len(folds)} folds in the time there is")
    except (ModelError, validation.ValidationError) as error:
        raise _refused(error) from None
    scores = [row[-1] for row in rows]
    spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
    return rows, {"gap_bars": gap, "mean": float(np.mean(scores)), "sd": spread, "stride_bars": max(target.steps)}


_MODELS = (
    *(Column(name, "VARCHAR") for name in ("name", "family")),
    *(Column(name, "JSON") for name in ("targets", "aliases")),
    Column("in_call", "BOOLEAN", "light enough for forecast_now"),
    Column("available", "BOOLEAN", "usable in this installation"),
    *(Column(name, "VARCHAR") for name in ("reason", "description")),
)


@tool(toolset=TOOLSET)
def forecast_models_list(context: Context, family: Annotated[str, one_of(Family.__args__)] | None = None) -> Answer:
    """Forecasting models that are declared, by family (naive, statistical, learning, deep, foundation, ensemble): what
    they are, which targets they forecast, other names they go by, whether this installation can use them (reason says
    why not) and whether forecast_now may train them in a call. Which did best: leaderboard_get; which serves:
    models_list."""
    rows = []
    for spec in SPECS.values():
        if family in (None, spec.family):
            said = describe(spec)
            rows.append(
                (
                    spec.name,
                    spec.family,
                    said["targets"],
                    said["aliases"],
                    _heavy(spec, None) is None,
                    *(said[name] for name in ("available", "reason", "description")),
                )
            )
    return Answer.rows(_MODELS, rows, source="declarations")


def _series(symbol: str, market: str) -> Series:
    venue = declared_market(market)
    return Series(symbol, venue.exchange, venue.market_type)


def _named(model: str) -> ModelSpec:
    try:
        return resolve(model)
    except ModelError:
        raise catalog.unknown("model", model, list(SPECS)) from None


def _heavy(spec: ModelSpec, members: list[str] | None) -> str | None:
    from orderflow_assets.forecasting.on_demand import heavy

    chosen = [_named(name) for name in members] if members else [spec]
    return next((reason for one in chosen if (reason := heavy(one))), None)


def _stored(context: Context, series: Series, target: str, spec: ModelSpec, reason: str) -> Answer:
    """The newest stored forecast of a model that cannot be trained in a call, and why that is what is told."""
    equals = {"series": series.key, "target": target, "model": spec.name}
    where, values = windows.conditions(FORECASTS, equals, None, None)
    names = [column.name for column in _FORECAST]
    sql = f"""SELECT {", ".join(names)}, issued_at, version FROM {FORECASTS.qualified} WHERE {where}
        QUALIFY issued_at = max(issued_at) OVER () ORDER BY step"""
    columns = [FORECASTS.column(name) for name in (*names, "issued_at", "version")]
    answer = windows.aggregated(context, FORECASTS, columns, sql, values, equals=equals, time="issued_at")
    answer.hint = f"{reason}. {'This is its newest stored forecast.' if len(answer) else answer.hint} {RUN_IT}"
    return answer


def _routed(context: Context, series: Series, target: str, priority: str) -> tuple[ModelSpec, list[str]]:
    """What the router picks, or what it would fall back on where that is too heavy for a call."""
    found: Route = route(context, series.key, target, priority)
    for name in (found.model, *found.fallback):
        if _heavy(SPECS[name], None) is None:
            passed = [] if name == found.model else [f"{found.model} is too heavy for a call: {name} instead"]
            return SPECS[name], [*found.reasons, *passed]
    raise AssertionError("naive is the last to fall back on, and light")


def _frame(context: Context, series: Series, hours: float, end: str | None) -> Frame | str:
    """Stored bars up to ``end``, or why there are none."""
    newest = known_until(context)
    if newest is None:
        return f"{BARS} holds no bars yet. Dagster fills it: materialize its asset."
    asked = moment("end", end)
    until = min(newest, floor_step(asked)) if asked else newest
    try:
        return read_frame(context, series, until, timedelta(hours=hours))
    except FrameError as error:
        return f"{series.key}: {error}."


def _refused(error: Exception) -> ToolError:
    said = str(error)
    if "pip install" in said:
        fact, _, remedy = said.partition(". ")
        return ToolError("missing_library", f"{fact}.", f"{remedy}.")
    return ToolError("model", f"{said}.", "Take other hours or another model; forecast_models_list lists them.")


def _rounded(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with six significant digits."""

    def one(value: Any) -> Any:
        if isinstance(value, dict):
            return _rounded(value)
        return rounded(value, 6) if isinstance(value, float) else value

    return {name: one(value) for name, value in meta.items()}
