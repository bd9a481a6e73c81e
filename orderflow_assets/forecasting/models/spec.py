"""What a model is declared by: everything else about it is derived."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import msgspec

from orderflow_assets.forecasting.frame import HORIZON
from orderflow_assets.forecasting.targets import Feed

Family = Literal["naive", "statistical", "learning", "deep", "ensemble", "foundation"]
Adapter = Literal["naive", "regression", "local", "deep", "zero_shot", "ensemble"]

ALL = ("price", "volatility", "volume")


class ModelError(Exception):
    """A model cannot be trained, loaded or asked; the message is the reason recorded."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model and how it is used here.

    ``path`` is the class, imported on use only; ``estimator`` is the class of another library that does its work, and
    whose parameters it takes too.
    """

    name: str
    doc: str
    family: Family
    adapter: Adapter
    targets: tuple[str, ...] = ALL
    """What it can forecast."""
    trained: tuple[str, ...] = ()
    """Targets of which every scheduled training trains it; for others it is trained when asked for by name."""
    aliases: tuple[str, ...] = ()
    path: str = ""
    estimator: str | None = None
    extra: str | None = None
    """Optional dependency group that holds it."""
    needs: tuple[str, ...] = ()
    """Import names of the packages it cannot do without."""
    hub: str = ""
    """Where its weights are on the Hugging Face hub, of a pretrained model."""
    unavailable: str | None = None
    """Why it is listed without being offered."""
    feed: Feed = "learned"
    """The series it is fed."""
    lags: int = 0
    """Bars before the last one that it looks at when it is asked."""
    covariates: tuple[str, ...] = ()
    """Columns of the frame it is fed, where they are there."""
    past: bool = False
    """Whether the class takes covariates known up to the forecast."""
    future: bool = False
    """Whether the class takes covariates known ahead, such as the hour."""
    static: bool = False
    """Whether the class takes constants of a series."""
    multivariate: bool = False
    probabilistic: bool = False
    """Whether the class can put out a distribution. Intervals here are conformal for every model alike."""
    gpu: bool = False
    takes_missing: bool = False
    """Whether a covariate may be absent in some bars; where not, training and forecasts leave such bars out."""
    min_bars: int = 1
    """Bars without a gap below which it is not trained."""
    weight: float = 1.0
    """Share of the model in its mean with naive on a price, of which little can be known ahead."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    by_target: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parameters that are others for a target."""

    @property
    def code_version(self) -> str:
        """Hash of the declaration: a model trained under another one is another model."""
        return hashlib.sha256(msgspec.json.encode(asdict(self), order="sorted")).hexdigest()[:16]

    @property
    def least_bars(self) -> int:
        """Bars without a gap that training asks for: one example, where anything is learnt of examples."""
        ahead = HORIZON if self.adapter in ("regression", "deep") else 0
        return max(self.min_bars, self.lags + ahead + 1)

    def share(self, target: str) -> float:
        """Factor of the model's deviations from naive."""
        return self.weight if target == "price" else 1.0

    def on(self, target: str, overrides: Mapping[str, Any] | None = None) -> ModelSpec:
        """This model as it is trained for a target, ``overrides`` before what is declared."""
        return self.tuned({**self.by_target.get(target, {}), **(overrides or {})})

    def tuned(self, overrides: Mapping[str, Any]) -> ModelSpec:
        """This model with other parameters; ``lags`` among them is its own :attr:`lags`."""
        parameters = {**self.parameters, **overrides}
        lags = parameters.pop("lags", self.lags)
        if not isinstance(lags, int) or lags < 0:
            raise ModelError(f"lags of {self.name} count bars, from 0 up; {lags!r} does not")
        return replace(self, lags=lags, parameters=parameters)
