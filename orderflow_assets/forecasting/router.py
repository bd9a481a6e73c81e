"""Which model to ask: what can answer in time, then what has erred least where it was measured.

Nothing here is a constant sold as a measurement: skill comes from ``models.leaderboard``, seconds from trainings that
were timed. A model whose seconds were never measured is not promised to meet a deadline, and one whose skill was never
measured is not preferred to naive. Naive is always there to fall back on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import mean
from types import MappingProxyType
from typing import Any

import msgspec

from orderflow_assets.forecasting.costs import RECENT, UNKNOWN, Cost, ask_cost, fit_cost, gpus, of_model
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
    """A line of the leaderboard. ``version`` is stored and can be loaded; None where the model would be trained."""

    series: str
    model: str
    rmae: float
    origins: int
    version: int | None
    load_s: float | None = None
    predict_s: float | None = None
    device: str | None = None


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
    profiles: Mapping[str, Profile] | None = None,
    specs: Iterable[ModelSpec] | None = None,
    absent: Callable[[ModelSpec], str | None] = missing,
) -> Route:
    """The model to ask, with reasons. ``standings`` and ``measured`` are of the request's target and step.

    ``profiles`` are those of other series, by key; ``absent`` says why a model is not installed.
    """
    started = time.perf_counter()
    lines, timed = list(standings), list(measured)
    options: dict[str, Option] = {}
    rejected: dict[str, str] = {}
    for spec in specs if specs is not None else SPECS.values():
        if spec.name == NAIVE or request.target not in spec.targets:
            continue
        option = _option(request, spec, lines, timed, profiles or {}, absent)
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
        known=any(line.series == request.series for line in lines),
        elapsed_ms=(time.perf_counter() - started) * 1_000,
    )


def _option(
    request: Request,
    spec: ModelSpec,
    lines: list[Standing],
    timed: list[Measured],
    profiles: Mapping[str, Profile],
    absent: Callable[[ModelSpec], str | None],
) -> Option | str:
    """What a model promises, or why it is out."""
    if reason := absent(spec):
        return reason
    own = next((line for line in lines if (line.series, line.model) == (request.series, spec.name)), None)
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
    expected, evidence = _skill(request, spec.name, own, lines, profiles)
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
    """Seconds until the answer: of loading and asking a stored version, else of training one first."""
    device = _device(request, spec.name)
    alike = of_model(timed, spec.name, request.target, device)
    if own is not None:
        if own.load_s is not None and own.predict_s is not None and own.device == device:
            return Cost(own.load_s + own.predict_s, f"measured of version {own.version}")
        return ask_cost(alike)
    fit, ask = fit_cost(alike, request.profile.bars), ask_cost(alike)
    return (
        Cost(fit.seconds + ask.seconds, fit.basis) if fit.seconds is not None and ask.seconds is not None else UNKNOWN
    )


def _device(request: Request, model: str) -> str:
    return "gpu" if request.gpus and model in SPECS and SPECS[model].gpu else "cpu"


def _skill(
    request: Request, model: str, own: Standing | None, lines: list[Standing], profiles: Mapping[str, Profile]
) -> tuple[float, str]:
    """Errors over naive's to expect, and what that rests on."""
    if own is not None:
        return shrunk(
            own.rmae, own.origins
        ), f"{own.origins} origins of this series at {own.rmae:.3f} of naive's errors"
    others = [line for line in lines if line.model == model and line.series != request.series]
    kind = request.profile.seasonal
    like = [line for line in others if line.series in profiles and profiles[line.series].seasonal is kind]
    used = like or others
    if not used:
        return 1.0, "never measured"
    ratio = sum(line.rmae * line.origins for line in used) / sum(line.origins for line in used)
    origins = round(mean(line.origins for line in used))
    named = f"{len(used)} other {'seasonal ' if like and kind else ''}series"
    return shrunk(ratio, origins), f"{origins} origins each of {named} at {ratio:.3f} of naive's errors"


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
    profiles = _profiles(reader, target) if FRAMES.qualified in stored else {}
    rows = reader.query(_BOARD_SQL, [target, step]).to_pylist() if LEADERBOARD.qualified in stored else []
    timed = reader.query(_TIMED_SQL, [target]).to_pylist() if VERSIONS.qualified in stored else []
    request = Request(
        series,
        target,
        step,
        priority,
        profiles.get(series, Profile(0)),
        budget_ms / 1_000 if budget_ms is not None else None,
        gpus(),
    )
    chosen = choose(request, [Standing(**row) for row in rows], [Measured(**row) for row in timed], profiles)
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


def _profiles(reader: Reader, target: str) -> dict[str, Profile]:
    """What the newest frame of each series says of it."""
    return {
        row["series"]: Profile(
            row["bars"],
            frozenset(msgspec.json.decode(row["columns"])),
            msgspec.json.decode(row["seasonality"]).get(target),
        )
        for row in reader.query(_PROFILES_SQL).to_pylist()
    }


_STORED_SQL = "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() WHERE schema_name = 'models'"
_BOARD_SQL = f"""
SELECT series, model, rmae, origins, version, load_s, predict_s, device
FROM {LEADERBOARD.qualified} WHERE target = ? AND step = ?
"""
_TIMED_SQL = f"""
SELECT model, target, "rows", fit_s, load_s, predict_s, device FROM {VERSIONS.qualified}
WHERE target = ? AND fit_s IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY model, device ORDER BY trained_at DESC) <= {RECENT} ORDER BY trained_at
"""
_PROFILES_SQL = f"""
SELECT series, bars, columns, seasonality FROM {FRAMES.qualified} WHERE frame_hash IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY series ORDER BY built_at DESC) = 1
"""
