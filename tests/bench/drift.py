"""How soon planted drift is found, how often stationary errors raise an alarm, and what an update costs.

``python -m tests.bench.drift`` prints the tables of ``docs/drift.md`` in less than a minute of CPU time; with
``--tune`` it tries other thresholds on seeds that the report does not use.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import pyarrow.csv as csv

from orderflow_assets.forecasting import conformal
from orderflow_assets.forecasting.drift import detectors
from orderflow_assets.forecasting.drift.distributions import adjusted
from orderflow_assets.forecasting.drift.errors import RECENT, Errors, Statistics, listen, measure
from orderflow_assets.forecasting.drift.inputs import compare
from orderflow_assets.forecasting.drift.references import freeze
from orderflow_assets.forecasting.drift.thresholds import THRESHOLDS
from orderflow_assets.forecasting.drift.verdict import Finding, is_shifted, judge
from orderflow_assets.forecasting.frame import HALF_LIFE, SIGMA_FLOOR, ewma_volatility
from tests.conftest import ROOT

MARKET_DATA = ROOT.parent / "shared" / "market_data"
RECORDED = ("freqtrade_*_BTC_5m", "binance_spot_*_1h")
"""Candles of five minutes, and of an hour; left out where the files are not there."""
REFERENCE, BEFORE, AFTER, QUIET = 1_000, 500, 800, 2_000
"""Bars of the reference, before and after a planted change, and of a stream without one."""
EVERY = 6
"""Bars between two checks."""
TUNING, REPORTED = 1_000, 2_000
"""First seeds."""
DAY = 288

VOICES = ("ADWIN", "Page-Hinkley", "HDDM-A", "Kolmogorov-Smirnov", "Diebold-Mariano")
RULES = ("any voice", "rule: HIGH")

Shape = Callable[[np.ndarray], np.ndarray]
"""Factor of the model's errors by bars since the change."""


@dataclass(frozen=True, slots=True)
class Drift:
    """``shape`` multiplies the errors of the model, of naive too where ``both``; ``bias`` is added to the model's."""

    doc: str
    shape: Shape = np.ones_like
    bias: float = 0.0
    both: bool = False


DRIFTS: Mapping[str, Drift] = {
    "level": Drift("forecasts off by one usual error", bias=1.0),
    "variance": Drift("errors of model and naive x 1.5", lambda since: np.full_like(since, 1.5), both=True),
    "sudden 1.5": Drift("errors of the model x 1.5", lambda since: np.full_like(since, 1.5)),
    "sudden 2": Drift("errors of the model x 2", lambda since: np.full_like(since, 2.0)),
    "gradual": Drift("x 1 to 2 over 600 bars", lambda since: 1 + np.minimum(since / 600, 1)),
    "seasonal": Drift("x 2 in half of each day", lambda since: 1.5 + 0.5 * np.sign(np.sin(2 * np.pi * since / DAY))),
}


def gaussian(draws: np.random.Generator, bars: int) -> np.ndarray:
    return draws.standard_normal(bars)


def heavy(draws: np.random.Generator, bars: int) -> np.ndarray:
    return draws.standard_t(4, bars)


def clustered(draws: np.random.Generator, bars: int) -> np.ndarray:
    """GARCH(1, 1) returns with heavy tails, a persistence of 0.98."""
    shocks, out = draws.standard_t(5, bars) * np.sqrt(3 / 5), np.empty(bars)
    variance = 1.0
    for place, shock in enumerate(shocks):
        out[place] = np.sqrt(variance) * shock
        variance = 0.02 + 0.08 * out[place] ** 2 + 0.9 * variance
    return out


STATIONARY: Mapping[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "Gaussian": gaussian,
    "heavy tails": heavy,
    "clustered volatility": clustered,
}


def plant(noise: np.ndarray, draws: np.random.Generator, drift: Drift | None, at: int) -> Errors:
    """Errors of a model that knows a part of each return which naive does not; ``noise`` is the rest.

    Both are divided by the volatility known before, as in service. The change comes ``at`` bars after the reference.
    """
    scale = ewma_volatility(noise, HALF_LIFE)[:-1]
    scaled = noise[1:] / scale
    signal = 0.3 * draws.standard_normal(len(scaled))
    since = np.arange(len(scaled), dtype=float) - WARM - REFERENCE - at
    model, naive = scaled.copy(), scaled + signal
    if drift:
        factor = np.where(since < 0, 1.0, drift.shape(np.maximum(since, 0)))
        model = model * factor + np.where(since < 0, 0.0, drift.bias)
        naive = naive * factor if drift.both else naive
    return _errors(np.abs(model)[WARM:], np.abs(naive)[WARM:])


WARM = 100
"""Bars that the volatility settles in."""


def streams(kind: str, seed: int, count: int, bars: int, drift: Drift | None = None, at: int = 0) -> Iterator[Errors]:
    for number in range(seed, seed + count):
        draws = np.random.default_rng(number)
        yield plant(STATIONARY[kind](draws, bars + REFERENCE + WARM + 1), draws, drift, at)


@dataclass(frozen=True, slots=True)
class Heard:
    """Which voice speaks at each check; ``bars`` are the outcomes known by then."""

    bars: np.ndarray
    voices: dict[str, np.ndarray]
    types: list[str]

    def false_alarms(self) -> dict[str, int]:
        """Times each voice began to speak."""
        return {name: int((np.diff(on.astype(int), prepend=0) == 1).sum()) for name, on in self.voices.items()}

    def delay(self, name: str, at: int) -> float | None:
        """Bars from the change to the first check at which a voice speaks; None where it spoke before the change."""
        on = self.voices[name]
        if on[self.bars <= at].any():
            return None
        return float(self.bars[on.argmax()] - at) if on.any() else np.inf


def hear(errors: Errors, every: int = EVERY) -> Heard:
    """The verdict of service at every so manieth outcome, from the first full day on."""
    alarms = listen(errors)
    bars = np.arange(RECENT, len(errors.model) + 1, every)
    findings = [_finding(errors, alarms, int(stop)) for stop in bars]
    voices = {name: np.array([name in found.voices for found in findings]) for name in VOICES}
    voices |= {"any voice": np.array([found.detected for found in findings])}
    voices |= {"rule: HIGH": np.array([found.at_least("HIGH") for found in findings])}
    return Heard(bars, voices, [found.type for found in findings])


def _finding(errors: Errors, alarms: dict[str, list[int]], stop: int) -> Finding:
    known = {name: [place for place in places if place < stop] for name, places in alarms.items()}
    statistics = measure(errors.until(stop), known)
    assert isinstance(statistics, Statistics), statistics
    return judge(statistics, statistics.shift.p)


def recorded(pattern: str) -> list[Errors]:
    """Scaled errors of naive on recorded candles, twice, so that Diebold-Mariano has nothing to say."""
    found = []
    for path in sorted(MARKET_DATA.glob(f"{pattern}.csv.gz")):
        returns = np.diff(np.log(csv.read_csv(path)["close"].to_numpy()))
        scale = np.maximum(ewma_volatility(returns, HALF_LIFE), SIGMA_FLOOR)
        scaled = np.abs(returns[1:] / scale[:-1])[WARM:]
        found.append(_errors(scaled, scaled))
    return found


def _errors(model: np.ndarray, naive: np.ndarray) -> Errors:
    """The first errors are the reference; intervals are those of service."""
    widths = conformal.half_widths(model[:, None], (1,))[:, 0, conformal.LEVELS.index(0.95)]
    missed = np.where(np.isnan(widths), np.nan, model > widths)
    live = slice(REFERENCE, None)
    return Errors(model[live], naive[live], missed[live], model[:REFERENCE])


def false_alarm_rates(heard: list[Heard]) -> dict[str, float]:
    """False alarms per 1,000 bars, by voice."""
    bars = _bars(heard)
    counts = [one.false_alarms() for one in heard]
    return {name: sum(count[name] for count in counts) / bars * 1_000 for name in (*VOICES, *RULES)}


def _bars(heard: list[Heard]) -> int:
    return sum(int(one.bars[-1] - one.bars[0]) for one in heard)


def delays(heard: list[Heard], at: int) -> dict[str, tuple[float, float]]:
    """Median delay in bars and the share found at all, by voice; streams in which it spoke before are left out."""
    out = {}
    for name in (*VOICES, *RULES):
        known = [delay for one in heard if (delay := one.delay(name, at)) is not None]
        out[name] = (float(np.median(known)), float(np.isfinite(known).mean())) if known else (np.nan, np.nan)
    return out


def stationary(seed: int, count: int, bars: int = QUIET) -> dict[str, list[Heard]]:
    return {kind: [hear(errors) for errors in streams(kind, seed, count, bars)] for kind in STATIONARY}


def drifting(seed: int, count: int, names: tuple[str, ...] = tuple(DRIFTS)) -> dict[str, list[Heard]]:
    found = {}
    for name in names:
        planted = streams("clustered volatility", seed, count, BEFORE + AFTER, DRIFTS[name], BEFORE)
        found[name] = [hear(errors) for errors in planted]
    return found


def microseconds() -> dict[str, float]:
    """CPU time of one update of each detector, the median of five runs over 20,000 values."""
    values = np.abs(np.random.default_rng(0).standard_t(4, 20_000))
    misses = (values > np.quantile(values, 0.95)).astype(float)
    out = {}
    for name, detect in {**detectors.ON_ERRORS, "hddm": detectors.hddm}.items():
        given, taken = (misses if name == "hddm" else values), []
        for _ in range(5):
            started = time.process_time()
            detect(given)
            taken.append((time.process_time() - started) / len(given) * 1e6)
        out[name] = float(np.median(taken))
    return out


def inputs(seed: int, count: int) -> list[list[str]]:
    """Twelve inputs with chained noise, compared every hour: false alarms, and delays when one of them changes."""
    lines = []
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "none": lambda values: values,
        "level by one deviation": lambda values: values + values.std(),
        "spread x 2": lambda values: values * 2,
    }
    for chain in (0.0, 0.9):
        for name, change in changes.items():
            alarms, found, bars = 0, [], 0
            for number in range(seed, seed + count):
                values = _chained(np.random.default_rng(number), chain, 12, 3_000 + BEFORE + AFTER)
                frozen = [freeze(column[:3_000]) for column in values]
                live = values[:, 3_000:]
                live[0, BEFORE:] = change(live[0])[BEFORE:]
                speaks = [_shifted(live[:, stop - RECENT : stop], frozen) for stop in range(RECENT, live.shape[1], 12)]
                stops = np.arange(RECENT, live.shape[1], 12)
                others = np.array([bool(one - ({0} if name != "none" else set())) for one in speaks])
                alarms += int((np.diff(others.astype(int), prepend=0) == 1).sum())
                bars += len(stops) * 12
                hits = stops[np.array([0 in one for one in speaks]) & (stops > BEFORE)]
                found.append(hits[0] - BEFORE if len(hits) else np.inf)
            delay = "" if name == "none" else f"{np.median(found):.0f}"
            share = "" if name == "none" else f"{np.isfinite(found).mean():.0%}"
            lines.append([f"{chain:g}", name, f"{alarms / bars * 1_000:.2f}", delay, share])
    return lines


def _chained(draws: np.random.Generator, chain: float, columns: int, bars: int) -> np.ndarray:
    values = draws.standard_normal((columns, bars))
    for place in range(1, bars):
        values[:, place] += chain * values[:, place - 1]
    return values


def _shifted(values: np.ndarray, frozen: list) -> set[int]:
    """Numbers of the inputs that have shifted, all tested together."""
    found = [compare(column, reference) for column, reference in zip(values, frozen, strict=True)]
    p = adjusted([one["ks_p"] for one in found])
    return {number for number, one in enumerate(found) if is_shifted(one["ks_statistic"], p[number])}


def _print(title: str, names: list[str], lines: list[list[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def report(count: int = 24) -> None:
    quiet = stationary(REPORTED, count)
    quiet |= {f"candles, {pattern}": [hear(one, 24) for one in recorded(pattern)] for pattern in RECORDED}
    voices = [*VOICES, *RULES]
    lines = []
    for kind, heard in quiet.items():
        if heard:
            rates = false_alarm_rates(heard)
            lines.append([kind, f"{_bars(heard):,}", *(f"{rates[name]:.3f}" for name in voices)])
    _print("False alarms per 1,000 bars", ["errors", "bars", *voices], lines)
    lines, told = [], []
    for name, heard in drifting(REPORTED, count).items():
        found = delays(heard, BEFORE)
        cells = [f"{found[voice][0]:.0f} ({found[voice][1]:.0%})" for voice in voices]
        lines.append([name, DRIFTS[name].doc, *cells])
        types = [_told(one) for one in heard]
        shares = [types.count(kind) / len(types) for kind in ("sudden", "gradual")]
        told.append([name, *(f"{share:.0%}" for share in (*shares, 1 - sum(shares)))])
    _print("Bars until found: median (share found within 800)", ["drift", "planted", *voices], lines)
    _print("Type told 400 bars after the change", ["drift", "sudden", "gradual", "not told"], told)
    names = ["chain", "change of one of twelve inputs", "false alarms per 1,000 bars", "median bars", "found"]
    _print("Inputs", names, inputs(REPORTED, 8))
    costs = microseconds()
    _print("Cost", ["detector", "CPU µs per update"], [[name, f"{cost:.2f}"] for name, cost in costs.items()])


def _told(heard: Heard) -> str:
    return heard.types[int(np.searchsorted(heard.bars, BEFORE + 400))]


def tune(count: int = 40) -> None:
    """Each detector alone under other thresholds, on the tuning seeds."""
    grid: dict[str, tuple[float, ...]] = {
        "adwin": (1e-2, 2e-3, 1e-4, 1e-5, 1e-6),
        "page_hinkley": (50.0, 75.0, 100.0, 150.0, 200.0),
        "hddm": (1e-1, 1e-2, 1e-3),
    }
    quiet = [errors for kind in STATIONARY for errors in streams(kind, TUNING, count, QUIET)]
    grown = list(streams("clustered volatility", TUNING, count, BEFORE + AFTER, DRIFTS["sudden 1.5"], BEFORE))
    lines = []
    for statistic, values in grid.items():
        for value in values:
            changed = {statistic: replace(THRESHOLDS[statistic], value=value)}
            with patch.dict(THRESHOLDS, changed):
                alarms = sum(sum(place >= 0 for place in listen(errors)[statistic]) for errors in quiet)
                found = [[place for place in listen(errors)[statistic] if place >= BEFORE] for errors in grown]
            first = np.median([places[0] - BEFORE if places else np.inf for places in found])
            lines.append([statistic, f"{value:g}", f"{alarms / len(quiet) / QUIET * 1_000:.3f}", f"{first:.0f}"])
    _print("Tuning", ["detector", "threshold", "false alarms per 1,000 bars", "median bars to errors x 1.5"], lines)


if __name__ == "__main__":
    started = time.process_time()
    tune() if "--tune" in sys.argv[1:] else report()
    print(f"\n{time.process_time() - started:.0f} s of CPU time")
