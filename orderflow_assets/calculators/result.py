"""What a calculator answers: data, signals, and what went wrong, all of it storable as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Literal, TypeVar, get_args

from orderflow_streaming.store.window import naive_utc

T = TypeVar("T")
SignalType = Literal["BULLISH", "BEARISH", "NEUTRAL", "WARNING", "INFO"]
DIGITS = 10
"""Significant digits of a stored number."""


@dataclass(frozen=True, slots=True)
class CalculatorSignal:
    """Something worth noticing. ``strength`` lies in 0 to 1; ``timestamp`` is the call's end unless given.

    Raises ValueError where the type or the strength is none.
    """

    type: SignalType
    strength: float
    description: str
    timestamp: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.type not in get_args(SignalType):
            raise ValueError(f"a signal of type {self.type!r}: allowed are {', '.join(get_args(SignalType))}.")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"a signal of strength {self.strength!r}: allowed is 0 to 1, such as min(1, z / 3).")

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "strength": plain(self.strength),
            "description": self.description,
            "timestamp": plain(self.timestamp),
            "metadata": plain(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """``data`` is empty where nothing could be computed, and ``errors`` says why.

    ``metadata`` tells how the figures came about: the market taken, the model chosen, the share of missing minutes.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    signals: Sequence[CalculatorSignal] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    errors: Sequence[str] = ()

    @classmethod
    def nothing(cls, reason: str) -> Result:
        """No data, and one sentence on why."""
        return cls(errors=(reason,))

    def settled(self, end: datetime) -> Result:
        """The same in plain JSON values, every signal with a time; raises ValueError where one lies after ``end``."""
        signals = [replace(item, timestamp=naive_utc(item.timestamp or end)) for item in self.signals]
        late = next((item for item in signals if item.timestamp and item.timestamp > end), None)
        if late:
            raise ValueError(f"the signal {late.description!r} lies after the end {end}: only rows up to it are known.")
        return Result(plain(self.data), tuple(signals), plain(self.metadata), tuple(map(str, self.errors)))


def tried(errors: list[str], what: str, compute: Callable[[], T]) -> T | None:
    """What ``compute`` returns; None, and a line in ``errors``, where the rows or a library do not suffice."""
    try:
        return compute()
    except ValueError as error:
        errors.append(f"{what}: {error}")
    except ImportError as error:
        errors.append(f"{what}: {absent(error)}")
    return None


def absent(error: ImportError) -> str:
    """What to do about a library that is not installed."""
    return f'the package {error.name} is not installed. Install it with: pip install "orderflow[timeseries]"'


def strength(value: float) -> float:
    """``value`` cut to 0 to 1."""
    return min(1.0, max(0.0, float(value)))


def plain(value: Any) -> Any:
    """``value`` as JSON knows it: numpy becomes Python, a number that is none becomes null, times end in Z.

    Raises TypeError for anything else, such as a data frame.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
        case datetime():
            return f"{naive_utc(value).isoformat()}Z"
        case date():
            return value.isoformat()
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _ if hasattr(value, "tolist"):
            return plain(value.tolist())
        case _:
            raise TypeError(
                f"a result holds {type(value).__name__}: use numbers, text, times, lists and dicts, or arrays of numpy."
            )
