"""Which model to ask: what can answer in time, then what has erred least where it was measured.

Nothing here is a constant sold as a measurement: skill comes from ``models.leaderboard``, seconds from trainings that
were timed. A model whose seconds were never measured is not promised to meet a deadline, and one whose skill was never
measured is not preferred to naive. Naive is always there to fall back on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec

from orderflow_assets.forecasting.costs import RECENT, UNKNOWN, Cost, ask_cost, fit_cost, gpus
from orderflow_assets.forecasting.frame import MIN_BARS, Series
from orderflow_assets.forecasting.leaderboard import shrunk
from orderflow_assets.forecasting.models import NAIVE, SPECS, ModelSpec, missing
from orderflow_assets.forecasting.tables import FRAMES, LEADERBOARD, VERSIONS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.forecasting.versions import Measured
from orderflow_streaming.store.reader import Reader

PRIORITIES: Mapping[str, float | None] = MappingProxyType(
    {"realtime": 0.1, "fast": 0.5, "balanced": 1.0, "accurate": 2.0, "research": None}
)
"""Seconds within which an answer is wanted; None: whatever it takes."""
FALLBACK = "ensemble_mean"
"""Asked where the chosen model fails; after it naive."""
MARGIN = 0.005
"""Errors that differ by less are alike: a balanced choice then takes the quicker model."""
SEASONAL = 0.1
"""Correlation with the day before from which on a series counts as seasonal."""


class RouteError(ValueError):
    """What was asked for does not exist; the message says what does."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a series. ``seasonality`` is its correlation with the day before, None where unknown."""

    bars: int
    covariates: frozenset[str] = frozenset()
    seasonality: float | None = None

    @property
    def seasonal(self) -> bool:
        return self.seasonality is not None and self.seasonality >= SEASONAL


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model did on the series itself. ``version`` can be loaded; None where the model would be trained."""

    model: str
    rmae: float
    origins: int
    version: int | None
    load_s: float | None = None
    predict_s: float | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How a model did on ``series`` other series, seasonal ones or others; ``origins`` are those of one of them."""

    model: str
    seasonal: bool
    rmae: float
    origins: int
    series: int


@dataclass(frozen=True, slots=True)
class Request:
    """What a forecast is wanted for. ``budget_s`` tightens the deadline of the priority."""

    series: str
    target: str
    step: int
    priority: str
    profile: Profile
    budget_s: float | None = None
    gpus: int = 0

    @property
    def deadline_s(self) -> float | None:
        limits = [limit for limit in (PRIORITIES[self.priority], self.budget_s) if limit is not None]
        return min(limits, default=None)


@dataclass(frozen=True, slots=True)
class Option:
    """A model that may be asked. ``expected_rmae`` below 1 is better than naive."""

    model: str
    version: int | None
    expected_rmae: float
    evidence: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Route:
    """The choice. ``expected_ms`` is None where nothing was measured; ``fallback`` ends with naive."""

    model: str
    version: int | None
    expected_ms: float | None
    expected_rmae: float
    deadline_ms: float | None
    device: str
    reasons: list[str]
    fallback: list[str]
    rejected: dict[str, str] = field(default_factory=dict)
    """Models that were not chosen, with why."""
    close: dict[str, str] = field(default_factory=dict)
    """Those of them that could have answered."""
    known: bool = True
    """Whether anything was ever measured of the series."""
    elapsed_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(
    request: Request,
    standings: Iterable[Standing],
    measured: Iterable[Measured],
    elsewhere: Iterable[Elsewhere] = (),
    absent: Callable[[str], str | None] | None = None,
) -> Route:
    """The model to ask, with reasons. What is given is of the request's target and step.

    ``absent`` says of a model's name why it is not installed.
    """
    started, absent = time.perf_counter(), absent or _absent
    own, timed = {line.model: line for line in standings}, _by_model(measured)
    others: dict[str, list[Elsewhere]] = {}
    for pool in elsewhere:
        others.setdefault(pool.model, []).append(pool)
    options: dict[str, Option] = {}
    rejected: dict[str, str] = {}
    for spec in SPECS.values():
        if spec.name == NAIVE or request.target not in spec.targets:
            continue
        taken = timed.get((spec.name, _device(request, spec.name)), [])
        option = absent(spec.name) or _option(request, spec, own.get(spec.name), others.get(spec.name, []), taken)
        if isinstance(option, str):
            rejected[spec.name] = option
        else:
            options[spec.name] = option
    better = [option for option in options.values() if option.expected_rmae < 1]
    best = _pick(request, better) if better else None
    fallback = [FALLBACK] if FALLBACK in options and (best is None or best.model != FALLBACK) else []
    close = {name: _not_chosen(option, best) for name, option in options.items() if option is not best}
    return Route(
        model=best.model if best else NAIVE,
        version=best.version if best else 0,
        expected_ms=best.cost.seconds * 1_000 if best and best.cost.seconds is not None else None,
        expected_rmae=best.expected_rmae if best else 1.0,
        deadline_ms=request.deadline_s * 1_000 if request.deadline_s is not None else None,
        device="gpu" if best and _device(request, best.model) == "gpu" else "cpu",
        reasons=[*_reasons(request, best, len(options))],
        fallback=[*fallback, NAIVE],
        rejected=close | rejected,
        close=close,
        known=bool(own),
        elapsed_ms=(time.perf_counter() - started) * 1_000,
    )


@cache
def _absent(name: str) -> str | None:
    """Why a model is not installed; it is looked up once, since an installation does not change under a process."""
    return missing(SPECS[name])


def _by_model(measured: Iterable[Measured]) -> dict[tuple[str, str], list[Measured]]:
    found: dict[tuple[str, str], list[Measured]] = {}
    for one in measured:
        found.setdefault((one.model, one.device), []).append(one)
    return found


def _option(
    request: Request, spec: ModelSpec, own: Standing | None, elsewhere: list[Elsewhere], timed: list[Measured]
) -> Option | str:
    """What a model promises, or why it is out."""
    stored = own.version if own else None
    if reason := _unfit(request.profile, spec, stored):
        return reason
    cost = _cost(request, spec, own if stored is not None else None, timed)
    if request.deadline_s is not None and cost.seconds is None:
        return f"its latency is unknown ({cost.basis}), so no deadline can be promised"
    if request.deadline_s is not None and cost.seconds is not None and cost.seconds > request.deadline_s:
        work = "loading and asking it" if stored is not None else "training and asking it"
        return (
            f"{work} takes about {cost.seconds * 1e3:.3g} ms ({cost.basis}), {request.deadline_s * 1e3:g} are allowed"
        )
    expected, evidence = _skill(request, own, elsewhere)
    return Option(spec.name, stored, expected, evidence, cost)


def _unfit(profile: Profile, spec: ModelSpec, stored: int | None) -> str | None:
    """Why the series is not one that the model could forecast."""
    needed = max(MIN_BARS, spec.lags + 1, 2 * season(spec), spec.min_bars if stored is None else 0)
    if profile.bars < needed:
        return f"the series has {profile.bars} bars, {needed} are needed"
    if spec.covariates and not profile.covariates & set(spec.covariates):
        return "none of the covariates that it looks at is there"
    return None


def season(spec: ModelSpec) -> int:
    """Bars of the longest season that a model is declared with; 0 where it has none."""
    given = [spec.parameters.get(name) for name in ("K", "season_length", "seasonal_periods", "seasonality_period")]
    periods = [period for value in given for period in (value if isinstance(value, list | tuple) else [value])]
    return max((period for period in periods if isinstance(period, int) and period > 1), default=0)


def _cost(request: Request, spec: ModelSpec, own: Standing | None, timed: list[Measured]) -> Cost:
    """Seconds until the answer: of loading and asking a stored version, else of training one first.

    ``timed`` is what the model took on the device that it would run on.
    """
    if own is not None:
        if own.load_s is not None and own.predict_s is not None and own.device == _device(request, spec.name):
            return Cost(own.load_s + own.predict_s, f"measured of version {own.version}")
        return ask_cost(timed)
    fit, ask = fit_cost(timed, request.profile.bars), ask_cost(timed)
    return (
        Cost(fit.seconds + ask.seconds, fit.basis) if fit.seconds is not None and ask.seconds is not None else UNKNOWN
    )


def _device(request: Request, model: str) -> str:
    return "gpu" if request.gpus and model in SPECS and SPECS[model].gpu else "cpu"


def _skill(request: Request, own: Standing | None, elsewhere: list[Elsewhere]) -> tuple[float, str]:
    """Errors over naive's to expect, and what that rests on: the series itself, else others, of its kind if any."""
    if own is not None:
        evidence = f"{own.origins} origins of this series at {own.rmae:.3f} of naive's errors"
        return shrunk(own.rmae, own.origins), evidence
    kind = request.profile.seasonal
    pool = next((pool for pool in elsewhere if pool.seasonal is kind), elsewhere[0] if elsewhere else None)
    if pool is None:
        return 1.0, "never measured"
    named = f"{pool.series} other {'seasonal' if pool.seasonal else 'hardly seasonal'} series"
    evidence = f"{pool.origins} origins each of {named} at {pool.rmae:.3f} of naive's errors"
    return shrunk(pool.rmae, pool.origins), evidence


def _pick(request: Request, better: list[Option]) -> Option:
    """The least expected error; of a balanced choice the quickest of those that are about as good."""
    best = min(better, key=lambda option: (option.expected_rmae, option.cost.seconds or 0.0, option.model))
    if request.priority != "balanced":
        return best
    alike = [option for option in better if option.expected_rmae <= best.expected_rmae + MARGIN]
    return min(alike, key=lambda option: (option.cost.seconds or 0.0, option.expected_rmae, option.model))


def _not_chosen(option: Option, best: Option | None) -> str:
    said = f"expected at {option.expected_rmae:.3f} of naive's errors ({option.evidence})"
    if best is None:
        return f"{said}: not better than naive"
    quicker = option.expected_rmae <= best.expected_rmae
    return f"{said}, {best.model} at {best.expected_rmae:.3f}{' is quicker and about as good' if quicker else ''}"


def _reasons(request: Request, best: Option | None, options: int) -> Iterable[str]:
    profile = request.profile
    season_said = "unknown" if profile.seasonality is None else f"{profile.seasonality:+.2f}"
    yield (
        f"{request.series}: {profile.bars} bars, {len(profile.covariates)} covariates, "
        f"correlation with the day before {season_said}"
    )
    limit = "no deadline" if request.deadline_s is None else f"an answer within {request.deadline_s * 1e3:g} ms"
    yield f"{request.priority}: {limit}; {options} models can give one"
    yield f"{request.gpus} GPUs" if request.gpus else "no GPU: only what was measured on the CPU counts"
    if best is None:
        yield "naive: no model that can answer in time has been measured to be better"
        return
    yield f"{best.model}: expected at {best.expected_rmae:.3f} of naive's errors, from {best.evidence}"
    if best.cost.seconds is None:
        yield f"latency unknown: {best.cost.basis}"
    else:
        how = f"version {best.version} is stored" if best.version is not None else "it is trained first"
        yield f"about {best.cost.seconds * 1e3:.3g} ms ({best.cost.basis}); {how}"


def route(
    reader: Reader,
    series: str,
    target: str,
    priority: str = "balanced",
    *,
    step: int | None = None,
    budget_ms: float | None = None,
) -> Route:
    """The model to ask for a series of the store. ``step`` counts bars ahead, by default the farthest of the target.

    Raises :class:`RouteError` for an unknown priority, target or step and for a budget that is not above zero.
    """
    started = time.perf_counter()
    step = _checked(series, target, priority, step, budget_ms)
    stored = {row["name"] for row in reader.query(_STORED_SQL).to_pylist()}
    profile = _profile(reader, series, target) if FRAMES.qualified in stored else None
    board = reader.query(_BOARD_SQL, [series, target, step]).to_pylist() if LEADERBOARD.qualified in stored else []
    others = {"series": series, "target": target, "step": step, "path": f"$.{target}", "seasonal": SEASONAL}
    pools = reader.query(_POOLS_SQL, others).to_pylist() if stored >= {LEADERBOARD.qualified, FRAMES.qualified} else []
    timed = reader.query(_TIMED_SQL, [target]).to_pylist() if VERSIONS.qualified in stored else []
    budget_s = budget_ms / 1_000 if budget_ms is not None else None
    chosen = choose(
        Request(series, target, step, priority, profile or Profile(0), budget_s, gpus()),
        [Standing(**row) for row in board],
        [Measured(**row) for row in timed],
        [Elsewhere(**row) for row in pools],
    )
    if profile is None:
        chosen.reasons.insert(0, f"no training frame of {series} was built yet (models/frames)")
    return replace(chosen, elapsed_ms=(time.perf_counter() - started) * 1_000)


def _checked(series: str, target: str, priority: str, step: int | None, budget_ms: float | None) -> int:
    """The step to ask for; raises :class:`RouteError` where anything asked for does not exist."""
    if priority not in PRIORITIES:
        raise RouteError(f"there is no priority {priority!r}; allowed are {', '.join(PRIORITIES)}")
    if target not in TARGETS:
        raise RouteError(f"there is no target {target!r}; allowed are {', '.join(TARGETS)}")
    steps = TARGETS[target].steps
    if step is not None and step not in steps:
        raise RouteError(f"{target} is not forecast {step} bars ahead; allowed are {', '.join(map(str, steps))}")
    if budget_ms is not None and not budget_ms > 0:
        raise RouteError(f"a budget of {budget_ms:g} ms leaves no time; it must be above zero")
    try:
        Series.parse(series)
    except ValueError as error:
        raise RouteError(str(error)) from None
    return step if step is not None else steps[-1]


def _profile(reader: Reader, series: str, target: str) -> Profile | None:
    """What the newest frame of a series says of it; None where none was built."""
    rows = reader.query(_PROFILE_SQL, [series]).to_pylist()
    return (
        Profile(
            rows[0]["bars"],
            frozenset(msgspec.json.decode(rows[0]["columns"])),
            msgspec.json.decode(rows[0]["seasonality"]).get(target),
        )
        if rows
        else None
    )


_STORED_SQL = "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() WHERE schema_name = 'models'"
_BOARD_SQL = f"""
SELECT model, rmae, origins, version, load_s, predict_s, device
FROM {LEADERBOARD.qualified} WHERE series = ? AND target = ? AND step = ?
"""
_POOLS_SQL = f"""
WITH kinds AS (
    SELECT series, coalesce(json_extract(arg_max(seasonality, built_at), $path)::DOUBLE >= $seasonal, false) AS seasonal
    FROM {FRAMES.qualified} WHERE frame_hash IS NOT NULL GROUP BY series)
SELECT model, seasonal, sum(rmae * origins) / sum(origins) AS rmae, round(avg(origins))::INTEGER AS origins,
       count(*) AS series
FROM {LEADERBOARD.qualified} JOIN kinds USING (series)
WHERE target = $target AND step = $step AND series <> $series GROUP BY model, seasonal ORDER BY model, seasonal
"""
_PROFILE_SQL = f"""
SELECT bars, columns, seasonality FROM {FRAMES.qualified}
WHERE series = ? AND frame_hash IS NOT NULL ORDER BY built_at DESC LIMIT 1
"""
_TIMED_SQL = f"""
SELECT model, target, "rows", fit_s, load_s, predict_s, device FROM {VERSIONS.qualified}
WHERE target = ? AND fit_s IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY model, device ORDER BY trained_at DESC) <= {RECENT} ORDER BY trained_at
"""
