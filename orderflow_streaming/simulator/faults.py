"""Misbehaviour on request, declared once: its fields are those of the control request and of ``--fault``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal, get_args

import msgspec

Entry = tuple[str, bytes, int, str]
"""Topic, frame, key, and the fault it stands for (empty for a sound frame)."""


class FaultError(ValueError):
    """The fault cannot be understood; the message says what is allowed."""


class _Fault(msgspec.Struct, tag_field="fault", tag=str.lower, forbid_unknown_fields=True, kw_only=True):
    after: float = 0.0
    """Seconds from now until it begins."""
    market: str = ""
    """Only this market; empty for all."""


class Drop(_Fault):
    """Close connections: with a close frame, or abruptly, when frames on the way may be lost."""

    route: str = ""
    """Only connections of this route (``public``); empty for all."""
    abrupt: bool = True


class _OnFrames(_Fault):
    topic: str = ""
    """Only frames of this topic; empty for all."""
    count: int = 1
    """How many frames."""


class Skip(_OnFrames):
    """Lose frames, so that their numbers are missing."""


class Duplicate(_OnFrames):
    """Send frames twice."""


class Malformed(_OnFrames):
    """Send frames broken: cut off, with wrong types, or blown up to 2 MB."""

    kind: Literal["truncated", "types", "huge"] = "truncated"


class Stall(_Fault):
    """Send no data for a while, and lose what was due; pings are still answered."""

    seconds: float
    route: str = ""


class Refuse(_Fault):
    """Answer subscriptions of a topic with an error."""

    topic: str
    count: int = 1
    """How many requests."""


class RateLimit(_Fault, tag="rate_limit"):
    """Answer REST requests with 429, or with 418 as to a banned address."""

    seconds: float = 30.0
    status: Literal[429, 418] = 429


class SlowAck(_Fault, tag="slow_ack"):
    """Answer requests on a socket late."""

    seconds: float
    count: int = 1


Fault = Drop | Skip | Duplicate | Malformed | Stall | Refuse | RateLimit | SlowAck

NAMES: tuple[str, ...] = tuple(str(kind.__struct_config__.tag) for kind in get_args(Fault))

_HUGE = b'"' + b"x" * 2_000_000 + b'"'


def parse(given: Any) -> Fault:
    """A fault from a JSON object (bytes or decoded) or from ``skip,topic=btcusdt@aggTrade,count=3``."""
    try:
        if isinstance(given, bytes):
            return msgspec.json.decode(given, type=Fault)
        if isinstance(given, str) and not given.lstrip().startswith("{"):
            name, *pairs = given.split(",")
            fields = dict(pair.split("=", 1) for pair in pairs)
            return msgspec.convert({"fault": name.strip(), **fields}, Fault, strict=False)
        if isinstance(given, str):
            return msgspec.json.decode(given.encode(), type=Fault)
        return msgspec.convert(given, Fault)
    except (msgspec.MsgspecError, ValueError) as error:
        raise FaultError(
            f"{error}. A fault is one of {', '.join(NAMES)} with its fields, such as "
            'skip,topic=btcusdt@aggTrade,count=3 or {"fault": "stall", "seconds": 5}.'
        ) from error


def break_frame(frame: bytes, kind: str) -> bytes:
    """``frame`` made unusable."""
    if kind == "truncated":
        return frame[: len(frame) * 2 // 3]
    if kind == "types":
        return frame.replace(b'"data":{', b'"data":[', 1).rstrip(b"}") + b"]}"
    return frame[:-1] + b',"padding":' + _HUGE + b"}"


class Faults:
    """The faults in force, and how often each was played."""

    frame_faults: ClassVar[tuple[type, ...]] = (Skip, Duplicate, Malformed)

    def __init__(self, given: Iterable[Fault] = (), passed: Callable[[], float] = time.monotonic) -> None:
        self._passed = passed
        self._active: list[tuple[float, Fault]] = []
        self.played: Counter[str] = Counter()
        for fault in given:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        self._active.append((self._passed() + fault.after, fault))

    @property
    def active(self) -> list[Fault]:
        return [fault for _, fault in self._active]

    def _due(self, market: str | None, *kinds: type) -> list[tuple[float, Any]]:
        """Faults of ``kinds`` in force for ``market``; None for all markets."""
        now = self._passed()
        return [
            (since, fault)
            for since, fault in self._active
            if since <= now and isinstance(fault, kinds) and (market is None or fault.market in ("", market))
        ]

    def _play(self, since: float, fault: Any) -> None:
        """Count ``fault`` and use up one of its turns."""
        self.played[fault.__struct_config__.tag] += 1
        if getattr(fault, "count", 1) <= 1:
            self._active.remove((since, fault))
        else:
            fault.count -= 1

    def drops(self) -> list[Drop]:
        """Drops that are due; each is handed out once."""
        due = self._due(None, Drop)
        for since, fault in due:
            self._active.remove((since, fault))
        return [fault for _, fault in due]

    def on_frames(self, market: str, entries: list[Entry]) -> list[Entry]:
        """``entries`` with the frames that faults take out, break or repeat marked in their last field."""
        if not self._active or not self._due(market, *self.frame_faults):
            return entries
        changed: list[Entry] = []
        for topic, frame, key, _ in entries:
            due = self._due(market, *self.frame_faults)
            hit = next(((since, fault) for since, fault in due if fault.topic in ("", topic)), None)
            if hit is None:
                changed.append((topic, frame, key, ""))
                continue
            self._play(*hit)
            match hit[1]:
                case Skip():
                    changed.append((topic, b"", key, "skip"))
                case Duplicate():
                    changed += [(topic, frame, key, ""), (topic, frame, key, "duplicate")]
                case Malformed(kind=kind):
                    changed.append((topic, break_frame(frame, kind), key, "malformed"))
        return changed

    def stalled(self, market: str, route: str) -> bool:
        now = self._passed()
        stalled = False
        for since, fault in self._due(market, Stall):
            if now >= since + fault.seconds:
                self._play(since, fault)
            elif fault.route in ("", route):
                stalled = True
        return stalled

    def refused(self, market: str) -> list[str]:
        return [fault.topic for _, fault in self._due(market, Refuse)]

    def refuse(self, market: str, topics: Iterable[str]) -> None:
        """Use up a turn of the refusals that met one of ``topics``."""
        asked = set(topics)
        for since, fault in self._due(market, Refuse):
            if fault.topic in asked:
                self._play(since, fault)

    def ack_delay(self, market: str) -> float:
        for since, fault in self._due(market, SlowAck):
            self._play(since, fault)
            return float(fault.seconds)
        return 0.0

    def rate_limit(self, market: str) -> tuple[int, float] | None:
        """Status and seconds left while REST is to be refused."""
        now = self._passed()
        for since, fault in self._due(market, RateLimit):
            left = since + fault.seconds - now
            if left > 0:
                self.played["rate_limit"] += 1
                return fault.status, left
            self._active.remove((since, fault))
        return None
