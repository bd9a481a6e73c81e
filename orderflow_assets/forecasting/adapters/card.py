"""The card of a stored model: what is needed to ask it again, beside what the library stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from orderflow_assets.forecasting.models import SPECS, ModelError, ModelSpec
from orderflow_assets.forecasting.targets import TARGETS, Target

_CARD_FILE = "card.json"


class Card(msgspec.Struct, frozen=True):
    """What was trained. ``state`` is what the adapter itself keeps."""

    model: str
    target: str
    lags: int
    columns: tuple[str, ...] = ()
    parameters: dict[str, Any] = {}
    state: dict[str, Any] = {}

    @property
    def spec(self) -> ModelSpec:
        return SPECS[self.model].tuned(self.parameters | {"lags": self.lags})

    def write(self, folder: Path) -> None:
        (folder / _CARD_FILE).write_bytes(msgspec.json.encode(self))


def card_of(
    spec: ModelSpec, target: Target, columns: tuple[str, ...] = (), state: dict[str, Any] | None = None
) -> Card:
    return Card(spec.name, target.name, spec.lags, columns, dict(spec.parameters), state or {})


def read_card(folder: Path) -> Card:
    """The card in ``folder``. Raises :class:`ModelError` where there is none or it names what no longer exists."""
    try:
        card = msgspec.json.decode((folder / _CARD_FILE).read_bytes(), type=Card)
        SPECS[card.model], TARGETS[card.target]
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise ModelError(f"the card of the stored model {folder.name[:12]} cannot be read: {error!r}") from error
    return card
