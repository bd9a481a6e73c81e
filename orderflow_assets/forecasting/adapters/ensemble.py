"""Combinations: each member is trained on its own, through the facade, and stored in a folder of its own.

Weights are learnt from forecasts of bars that the members were not trained on; then every member is trained again on
all bars.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orderflow_assets.forecasting import ensembles, fitting, validation
from orderflow_assets.forecasting.adapters.card import Card, card_of
from orderflow_assets.forecasting.ensembles import Weights
from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec, resolve
from orderflow_assets.forecasting.targets import TARGETS, Target

_FOLDS = 4
"""Parts of the newer half of the bars that are forecast in turn, each from everything before it."""
_STRIDE = 4
"""Bars between the origins that weights are learnt from."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trained members and how they are combined."""

    spec: ModelSpec
    target: Target
    members: tuple[Fitted, ...]
    weights: Weights
    """One per member where the rule learns them."""
    left_out: Mapping[str, str]
    """Declared members that could not be trained, with the reason."""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for member in self.members for column in member.columns))

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """See :class:`orderflow_assets.forecasting.fitting.Fitted`. NaN where a member has no answer."""
        forecasts = np.stack(
            [member.deviations(frame, origins) / member.spec.share(self.target.name) for member in self.members]
        )
        rule = self.spec.parameters["rule"]
        return ensembles.weighted(forecasts, self.weights) if self.weights else ensembles.PLAIN[rule](forecasts)

    def save(self, folder: Path) -> None:
        for member in self.members:
            (folder / member.spec.name).mkdir()
            member.save(folder / member.spec.name)
        names = [member.spec.name for member in self.members]
        state = {"members": names, "weights": self.weights, "left_out": self.left_out}
        card_of(self.spec, self.target, self.columns, state).write(folder)


def fit(spec: ModelSpec, target: Target, frame: Frame) -> Ensemble:
    """Train the members that can be trained here, and learn their weights where the rule asks for it.

    Raises :class:`ModelError` where none can, or the bars are too few to hold some back for the weights.
    """
    rule, declared = _parameters(spec, target)
    members, left_out = [], {}
    for member in declared:
        try:
            members.append(fitting.fit(member, target, frame))
        except ModelError as error:
            left_out[member.name] = str(error)
            logger.warning("%s goes without %s: %s", spec.name, member.name, error)
    if not members:
        raise ModelError(f"{spec.name} has no member that can be trained: {'; '.join(left_out.values())}")
    weights = _learn(rule, spec, target, frame, members) if rule in ensembles.LEARNT else ()
    return Ensemble(spec, target, tuple(members), weights, left_out)


def load(folder: Path, card: Card) -> Ensemble:
    """Each member by its own adapter, with its restrictions."""
    try:
        names = [resolve(name).name for name in card.state["members"]]
        weights, left_out = tuple(card.state["weights"]), card.state["left_out"]
    except KeyError as error:
        raise ModelError(f"the card of the stored model {folder.name[:12]} cannot be read: {error!r}") from error
    members = tuple(fitting.load(folder / name) for name in names)
    return Ensemble(card.spec, TARGETS[card.target], members, weights, left_out)


def _parameters(spec: ModelSpec, target: Target) -> tuple[str, list[ModelSpec]]:
    """The rule and the members that forecast ``target``; naive is one without being named."""
    rule, names = spec.parameters["rule"], spec.parameters["members"]
    if unknown := sorted(spec.parameters.keys() - {"rule", "members"}):
        raise ModelError(f"{spec.name} has no parameter {', '.join(unknown)}; it takes rule and members")
    if rule not in (rules := {**ensembles.PLAIN, **ensembles.LEARNT}):
        raise ModelError(f"the rule of an ensemble is one of {', '.join(rules)}, not {rule!r}")
    members = [member for member in map(resolve, names) if target.name in member.targets]
    if unfit := [member.name for member in members if member.family in ("naive", "ensemble")]:
        raise ModelError(f"{', '.join(unfit)} cannot be a member of {spec.name}: naive always is, ensembles never are")
    return rule, members


def _learn(rule: str, spec: ModelSpec, target: Target, frame: Frame, members: list[Fitted]) -> Weights:
    """Weights from forecasts of the newer half of the bars by members trained on what came before."""
    gap = max(validation.purge(member.spec, target) for member in members)
    try:
        folds = validation.split("expanding", len(frame), gap, folds=_FOLDS, first=0.5)
        forecasts = [
            [
                part
                for parts in validation.forecasts(member.spec, target, frame, folds, stride=_STRIDE)
                for part in parts
            ]
            for member in members
        ]
    except (validation.ValidationError, ModelError) as error:
        raise ModelError(f"{spec.name} cannot hold bars back to learn weights from: {error}") from error
    scales = np.concatenate([part.scales for part in forecasts[0]])
    moved = np.concatenate([part.outcomes - part.anchor[:, None] for part in forecasts[0]]) / scales
    deviations = np.stack([np.concatenate([part.deviations for part in parts]) for parts in forecasts]) / scales
    deviations /= np.array([member.spec.share(target.name) for member in members])[:, None, None]
    known = ~np.isnan(moved).any(axis=1) & ~np.isnan(deviations).any(axis=(0, 2))
    if not known.any():
        raise ModelError(f"{spec.name} has no origin at which all of its members answer, to learn weights from")
    return ensembles.LEARNT[rule](moved[known], deviations[:, known])
