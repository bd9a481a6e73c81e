"""What a model cannot do without: how much worse it forecasts when one input is put out of order in time.

An input is permuted in blocks, so that it stays as autocorrelated as it was and only loses its tie to what followed
(Breiman 2001 with blocks in place of single rows). Of two inputs that say the same, neither may seem to matter. The
target's past counts as an input of models fed what the target learns from; one fed levels has it for its anchor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orderflow_assets.forecasting.explain.shapley import HISTORY, NotExplainableError
from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import HORIZON, Frame
from orderflow_assets.forecasting.held_out import hold_out
from orderflow_assets.forecasting.models import ModelSpec
from orderflow_assets.forecasting.targets import Learn, Target

BLOCK = 4 * HORIZON
"""Bars of a permuted block: four hours."""
REPEATS = 5
LEAST_BLOCKS = 8
"""Blocks without which nothing is measured."""
_DRAWS = 2_000
_BOUNDS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Importance:
    """``rmae`` is what is lost without the input: rmae with it permuted less rmae. Above 0: the input helps.

    ``low`` and ``high`` bound its 95 % interval over the permutations and over blocks of the origins drawn again.
    """

    feature: str
    rmae: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Importances, greatest first, over ``origins`` forecasts whose errors are ``rmae`` times naive's."""

    importances: tuple[Importance, ...]
    rmae: float
    origins: int


def rank(
    fitted: Fitted, frame: Frame, origins: slice, *, repeats: int = REPEATS, block: int = BLOCK, seed: int = 0
) -> Ranking:
    """Permute each input of a model over bars it was not trained on, ``origins``, in blocks of ``block`` bars.

    Raises :class:`NotExplainableError` where there are too few origins, or only one input to permute.
    """
    if not fitted.columns:
        raise NotExplainableError(f"{fitted.spec.name} sees the target's own past alone: there is nothing to rank")
    answers = [member.deviations(frame, origins) for member in getattr(fitted, "members", ())]
    losses, naive = _losses(_seeing(fitted, answers, None), frame, origins)
    blocks = np.arange(*origins.indices(len(frame))) // block
    if len(np.unique(blocks[~np.isnan(losses)])) < LEAST_BLOCKS:
        raise NotExplainableError(
            f"{np.isfinite(losses).sum()} forecasts on bars it was not trained on have a known outcome, "
            f"in fewer than {LEAST_BLOCKS} blocks of {block} bars"
        )
    draws = np.random.default_rng(seed)
    looked_at = slice(max(0, origins.start - fitted.spec.lags), origins.stop)
    importances = []
    for feature in _features(fitted):
        asked = _seeing(fitted, answers, feature)
        permuted = np.stack(
            [_losses(*_without(asked, frame, feature, looked_at, block, draws), origins)[0] for _ in range(repeats)]
        )
        importances.append(_importance(feature, permuted - losses, naive, blocks, draws))
    known = ~np.isnan(losses)
    ranked = sorted(importances, key=lambda item: -item.rmae)
    return Ranking(tuple(ranked), float(losses[known].sum() / naive[known].sum()), int(known.sum()))


def shuffled(values: np.ndarray, within: slice, block: int, draws: np.random.Generator) -> np.ndarray:
    """``values`` with what is known ``within`` a stretch cut into blocks and these put in a random order.

    What is unknown stays where it is; outside nothing changes.
    """
    out = values.copy()
    places = np.flatnonzero(~np.isnan(values[within])) + within.start
    blocks = np.split(values[places], np.arange(block, len(places), block))
    if len(places):
        out[places] = np.concatenate([blocks[place] for place in draws.permutation(len(blocks))])
    return out


def _features(fitted: Fitted) -> tuple[str, ...]:
    own = (HISTORY,) if any(_sees(member, HISTORY) for member in getattr(fitted, "members", (fitted,))) else ()
    return (*own, *fitted.columns)


def _sees(fitted: Fitted, feature: str | None) -> bool:
    return feature in fitted.columns or (feature == HISTORY and fitted.spec.feed == "learned")


@dataclass(frozen=True, slots=True)
class _Unmoved:
    """A member that does not see the permuted input: it forecasts what it forecast before."""

    spec: ModelSpec
    target: Target
    columns: tuple[str, ...]
    answers: np.ndarray

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        return self.answers


def _seeing(fitted: Fitted, answers: Sequence[np.ndarray], feature: str | None) -> Fitted:
    """An ensemble that asks those members again that see ``feature``, and takes the ``answers`` of the others."""
    if not answers:
        return fitted
    ensemble: Any = fitted
    members = tuple(
        member if _sees(member, feature) else _Unmoved(member.spec, member.target, member.columns, answer)
        for member, answer in zip(ensemble.members, answers, strict=True)
    )
    return replace(ensemble, members=members)


def _without(
    fitted: Fitted, frame: Frame, feature: str, within: slice, block: int, draws: np.random.Generator
) -> tuple[Fitted, Frame]:
    """The model and the frame with one input permuted; the anchor of the forecast and its scale stay."""
    if feature != HISTORY:
        values = frame.covariates.get(feature, np.full(len(frame), np.nan))
        return fitted, replace(frame, covariates={**frame.covariates, feature: shuffled(values, within, block, draws)})
    learn = shuffled(fitted.target.learn(frame), within, block, draws)
    return _learning_from(fitted, lambda _: learn), frame


def _learning_from(fitted: Fitted, learn: Learn) -> Fitted:
    """The model with ``learn`` as the target's past, wherever that is what it is fed."""
    model: Any = fitted
    if fitted.spec.adapter == "ensemble":
        return replace(model, members=tuple(_learning_from(member, learn) for member in model.members))
    return replace(model, target=replace(fitted.target, learn=learn)) if _sees(fitted, HISTORY) else fitted


def _losses(fitted: Fitted, frame: Frame, origins: slice) -> tuple[np.ndarray, np.ndarray]:
    """Scaled absolute errors of the model and of naive, mean over the steps, (origins,)."""
    held = hold_out(fitted, frame, origins)
    return held.errors.mean(axis=1), held.naive_errors.mean(axis=1)


def _importance(
    feature: str, lost: np.ndarray, naive: np.ndarray, blocks: np.ndarray, draws: np.random.Generator
) -> Importance:
    """``lost`` is (repeats, origins): error with the input permuted less error with it; NaN where unknown."""
    known = ~np.isnan(lost).any(axis=0) & ~np.isnan(naive)
    _, place = np.unique(blocks[known], return_inverse=True)
    lost_by_block = np.stack([np.bincount(place, repeat) for repeat in lost[:, known]])
    naive_by_block = np.bincount(place, naive[known])
    count = len(naive_by_block)
    weights = draws.multinomial(count, np.full(count, 1 / count), _DRAWS)
    repeats = draws.multinomial(len(lost), np.full(len(lost), 1 / len(lost)), _DRAWS) / len(lost)
    drawn = ((repeats @ lost_by_block) * weights).sum(axis=1) / (weights @ naive_by_block)
    low, high = np.quantile(drawn, _BOUNDS)
    return Importance(feature, float(lost[:, known].mean(axis=0).sum() / naive[known].sum()), float(low), float(high))
