"""Regimes by a Gaussian hidden Markov model: learned on the past, then filtered forward value by value.

``fit`` learns from a stretch that is over; ``filter`` gives the probability of each state at t from the values up to t
alone. Smoothed probabilities, which know the future, are not offered. Rows with a missing value are skipped in
learning and only moved on by the transition matrix in filtering.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import MAD_TO_SD, Array, Mask

LABELS: Mapping[int, tuple[str, ...]] = {
    2: ("BEAR", "BULL"),
    3: ("BEAR", "RANGING", "BULL"),
    4: ("BEAR", "RANGING_DOWN", "RANGING_UP", "BULL"),
}
"""Names of the states, ordered by the mean of the first column, then by its variance."""

LEAST_PER_STATE = 60
FARTHEST = 10.0
"""Scales at which values are cut off, so that no state is spent on one outlier."""

_SCREENING, _ITERATIONS = 10, 100
_TOLERANCE = 0.02
"""Gain of the whole log likelihood at which EM stops."""

_STAY = 0.95
_SEEDS = (0, 1)


@dataclass(frozen=True, eq=False)
class RegimeModel:
    """A fitted model of k states and d columns: ``start`` (k,), ``transition`` (k, k), rows from, columns to.

    ``mean`` (k, d) and ``covariance`` (k, d, d) are of the columns less ``centre``, their median, over ``scale`` (d,),
    their 1.4826 MAD (the sd where more than half of the values are equal), cut at +-10. ``mean_t`` (k,) is how many
    standard errors each state's mean of the first column lies from the overall one: labels of states with small
    values say little about direction. ``n`` rows were learned from.
    """

    start: Array
    transition: Array
    mean: Array
    covariance: Array
    centre: Array
    scale: Array
    mean_t: Array
    labels: tuple[str, ...]
    n: int
    log_likelihood: float

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, as :meth:`from_dict` takes them."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in plain.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RegimeModel:
        arrays = {name: np.asarray(value, dtype=np.float64) for name, value in plain.items() if name in _ARRAYS}
        return cls(
            **arrays,
            labels=tuple(plain["labels"]),
            n=int(plain["n"]),
            log_likelihood=float(plain["log_likelihood"]),
        )

    @property
    def durations(self) -> dict[str, float]:
        """Expected stay in each state in steps, 1 / (1 - p_ii); infinite where it is never left."""
        stay = np.diag(self.transition)
        with np.errstate(divide="ignore"):
            return dict(zip(self.labels, (1 / (1 - stay)).tolist(), strict=True))


_ARRAYS = ("start", "transition", "mean", "covariance", "centre", "scale", "mean_t")


@dataclass(frozen=True, eq=False)
class RegimeResult:
    """``history`` is the most probable state at each row, ``probabilities`` (rows, k) filtered, of ``labels``.

    ``confidence`` is the probability of ``current``; ``durations`` are expected stays in steps.
    """

    current: str
    confidence: float
    history: tuple[str, ...]
    durations: Mapping[str, float]
    transition_matrix: Array
    probabilities: Array
    labels: tuple[str, ...]


class NoRegimesError(ValueError):
    """The values do not hold as many states as were asked for."""


def fit(values: npt.ArrayLike, *, states: int = 3) -> RegimeModel:
    """The most likely model of ``values`` (rows, columns); the first column, the return, orders the states.

    EM from four deterministic beginnings (two k-means, sorted by the first and by the last column), the best after
    10 rounds is carried on (Rabiner 1989). Raises ValueError under 60 complete rows per state and NoRegimesError where
    a column never moves or EM leaves a state without rows.
    """
    if states not in LABELS:
        raise ValueError(f"states is one of {', '.join(map(str, LABELS))}, not {states}")
    rows = _columns(values)
    complete = _complete(rows)
    if complete.sum() < states * LEAST_PER_STATE:
        raise ValueError(
            f"{states} states need at least {states * LEAST_PER_STATE} complete rows, here are {complete.sum()}: take "
            "a longer window or fewer states"
        )
    known = rows[complete]
    centre = np.median(known, axis=0)
    spread = MAD_TO_SD * np.median(np.abs(known - centre), axis=0)
    scale = np.where(spread > 0, spread, known.std(axis=0, ddof=1))
    if (scale <= 1e-12 * np.abs(centre)).any():
        raise NoRegimesError("a column never moves: there are no regimes to tell apart")
    z = _standardised(known, centre, scale)
    best = _learned(z, _runs(complete), states)
    order = np.lexsort((best.covars_[:, 0, 0], best.means_[:, 0]))
    weight = best.predict_proba(z, _runs(complete)).sum(axis=0)[order]
    mean, covariance = best.means_[order], best.covars_[order]
    return RegimeModel(
        best.startprob_[order],
        best.transmat_[np.ix_(order, order)],
        mean,
        covariance,
        centre,
        scale,
        (mean[:, 0] - z[:, 0].mean()) / np.sqrt(covariance[:, 0, 0] / np.maximum(weight, 1)),
        LABELS[states],
        len(known),
        float(best.score(z, _runs(complete))),
    )


def filter(model: RegimeModel, values: npt.ArrayLike) -> RegimeResult:
    """Probabilities of the states at each row of ``values`` (rows, columns), from that row and those before it.

    Raises ValueError where the columns are not those of the model or there is no row.
    """
    rows = _columns(values)
    if rows.shape[1] != len(model.centre):
        raise ValueError(f"the model has {len(model.centre)} columns, these values {rows.shape[1]}")
    if not len(rows):
        raise ValueError("there is no row to filter")
    probabilities = filtered(model.start, model.transition, log_density(model, rows))
    places = probabilities.argmax(axis=1)
    return RegimeResult(
        model.labels[places[-1]],
        float(probabilities[-1].max()),
        tuple(model.labels[place] for place in places),
        model.durations,
        model.transition,
        probabilities,
        model.labels,
    )


def log_density(model: RegimeModel, rows: Array) -> Array:
    """Log density of each row in each state (rows, k); zero, which says nothing, where a value is missing."""
    z = _standardised(rows, model.centre, model.scale)
    deviation = z[:, None, :] - model.mean
    inverse = np.linalg.inv(model.covariance)
    distance = np.einsum("tki,kij,tkj->tk", deviation, inverse, deviation)
    constant = np.linalg.slogdet(2 * np.pi * model.covariance)[1]
    return np.where(_complete(rows)[:, None], -0.5 * (distance + constant), 0.0)


def filtered(start: Array, transition: Array, log_likelihood: Array) -> Array:
    """P(state at t | values up to t), (rows, k), by the forward recursion (Hamilton 1989).

    ``start`` is the distribution before the first row. Leading axes are series: (series, rows, k) with ``start``
    (series, k) and ``transition`` (series, k, k).
    """
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=-1, keepdims=True))
    found = np.empty_like(likelihood)
    prior = start
    for row in range(likelihood.shape[-2]):
        posterior = prior * likelihood[..., row, :]
        posterior = posterior / posterior.sum(axis=-1, keepdims=True)
        found[..., row, :] = posterior
        prior = (posterior[..., None, :] @ transition)[..., 0, :]
    return found


def ahead(probabilities: Array, transition: Array, steps: int) -> Array:
    """Distribution of the state ``steps`` later, from filtered ``probabilities`` (..., k)."""
    return probabilities @ np.linalg.matrix_power(transition, steps)


def leaving(probabilities: Array, transition: Array, steps: int) -> Array:
    """1 - probability that the state ``steps`` later is the one most probable now, (...)."""
    later = ahead(probabilities, transition, steps)
    current = probabilities.argmax(axis=-1)
    return 1 - np.take_along_axis(later, current[..., None], axis=-1)[..., 0]


def _columns(values: npt.ArrayLike) -> Array:
    rows = np.asarray(values, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2:
        raise ValueError(f"values are rows by columns, not of {rows.ndim} dimensions")
    if np.isinf(rows).any():
        raise ValueError("values are infinite: mark missing ones as NaN, for instance the log of a zero variance")
    return rows


def _standardised(rows: Array, centre: Array, scale: Array) -> Array:
    return np.clip((rows - centre) / scale, -FARTHEST, FARTHEST)


def _complete(rows: Array) -> Mask:
    return np.asarray(np.isfinite(rows).all(axis=1))


def _runs(complete: Mask) -> list[int]:
    """Lengths of the stretches without a missing row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], complete.astype(np.int8), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


def _learned(z: Array, runs: Sequence[int], states: int) -> Any:
    """The likeliest of the models that EM reaches from each beginning, on one thread: these products are tiny.

    A model is passed over where a state ended without rows, or was entered by the last row alone and never left.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    candidates = [_begun(z, states, seed=seed) for seed in _SEEDS]
    candidates += [_begun(z, states, column=column) for column in dict.fromkeys((0, z.shape[1] - 1))]
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        for model in candidates:
            model.fit(z, runs)
        whole = [model for model in candidates if _is_whole(model)]
        for model in sorted(whole, key=lambda model: model.score(z, runs), reverse=True):
            model.n_iter, model.init_params = _ITERATIONS, ""
            if _is_whole(model.fit(z, runs)):
                return model
    raise NoRegimesError(f"no {states} states that are each visited and left again: take fewer or a longer window")


def _is_whole(model: Any) -> bool:
    """Whether EM has left every state with rows of its own and a way out of it."""
    parts = (model.means_, model.covars_, model.transmat_)
    return all(np.isfinite(part).all() for part in parts) and np.allclose(model.transmat_.sum(axis=1), 1)


def _begun(z: Array, states: int, *, seed: int = 0, column: int | None = None) -> Any:
    from hmmlearn.hmm import GaussianHMM

    model = GaussianHMM(
        states,
        covariance_type="full",
        n_iter=_SCREENING,
        tol=_TOLERANCE,
        random_state=seed,
        init_params="mc" if column is None else "",
        implementation="scaling",
    )
    model.startprob_ = np.full(states, 1 / states)
    model.transmat_ = np.full((states, states), (1 - _STAY) / (states - 1)) + np.eye(states) * (
        _STAY - (1 - _STAY) / (states - 1)
    )
    if column is not None:
        parts = np.array_split(z[np.argsort(z[:, column], kind="stable")], states)
        model.means_ = np.stack([part.mean(axis=0) for part in parts])
        model.covars_ = np.stack([np.cov(part.T).reshape(z.shape[1], -1) + 0.01 * np.eye(z.shape[1]) for part in parts])
    return model
