"""The bytes of a comparison: recorded messages, by channel and as they would come over the socket.

Where a batch needs more frames than were recorded, they are repeated with their times and ids moved: every whole
number of nine or more digits is raised by the number of the repetition.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec

from orderflow_streaming.exchanges.books import Change
from orderflow_streaming.exchanges.protocol import Exchange, UnsupportedFrameError
from orderflow_streaming.recordings.recording import Message, messages

ROOT = Path(__file__).resolve().parents[2]
WIRE = Path(os.environ.get("ORDERFLOW_SHARED", ROOT.parent / "shared")) / "wire"
RECORDERS = {
    "binance_futures": "binance_usdm_",
    "binance_spot": "binance_spot_",
    "bybit_futures": "bybit_linear_",
    "bybit_spot": "bybit_spot_",
    "okx_futures": "okx_swap_",
    "gateio_futures": "gate_usdt_",
    "hyperliquid_futures": "hyperliquid_",
    "kucoin_spot": "kucoin_spot_",
    "kucoin_futures": "kucoin_futures_",
}
"""How the names of a market's sequences begin."""

_TIME_OR_ID = re.compile(rb'(?<=[:"])(\d{9,19})(?=[,"}\]])')
_SYMBOL_KEYS = ("s", "symbol", "instId", "contract", "coin", "currency_pair")


@dataclass(frozen=True, slots=True)
class Frame:
    received_us: int
    raw: bytes


@dataclass(slots=True)
class Sequence:
    """The changes of books in one recording, in order, and the REST answers that they join."""

    name: str
    channel: str
    events: list[tuple[str, Frame]] = field(default_factory=list)
    """Channel and frame; that of a REST answer is enveloped."""
    answers: dict[str, str] = field(default_factory=dict)
    """By the venue's symbol, as the venue sent it."""
    snapshots: dict[str, Change] = field(default_factory=dict)

    @property
    def changes(self) -> list[Frame]:
        return [frame for channel, frame in self.events if channel == self.channel]


def recordings(market: str) -> list[Path]:
    """Sequences of a market first, then its single messages."""
    sequences = sorted((WIRE / "sequences").glob(f"{RECORDERS[market]}*"))
    return sequences + sorted(path for path in (WIRE / market).rglob("*") if path.is_file())


def by_channel(exchange: Exchange) -> dict[str, list[Frame]]:
    """Distinct recorded frames that the socket of today would bring, by channel."""
    found: dict[str, dict[bytes, Frame]] = defaultdict(dict)
    for path in recordings(exchange.market.name):
        if path.name.startswith("SYNTHETIC"):
            continue
        for message in messages(str(path)):
            frame = _one_line(message)
            channel = None if message.url or message.problem else exchange.route(frame.raw)
            if channel is not None:
                found[channel].setdefault(frame.raw, frame)
    return {channel: list(frames.values()) for channel, frames in found.items()}


def alike(frames: list[Frame]) -> list[Frame]:
    """The frames of the most common form: messages of one kind gained and lost fields over the years."""
    forms = [_form(msgspec.json.decode(frame.raw)) for frame in frames]
    ((form, _),) = Counter(forms).most_common(1) or [(None, 0)]
    return [frame for frame, own in zip(frames, forms, strict=True) if own == form]


def _form(value: Any) -> tuple[str, ...]:
    """All keys, at any depth; of a list those of its first item."""
    if isinstance(value, Mapping):
        return tuple(sorted({*value, *(key for inner in value.values() for key in _form(inner))}))
    return _form(value[0]) if isinstance(value, list) and value else ()


def repeated(frames: list[Frame], wanted: int) -> list[Frame]:
    """``wanted`` frames: those given, then again with times and ids moved."""
    return list(islice(_endless(frames), wanted))


def again(changes: list[Frame], times: int) -> list[Frame]:
    """The same changes ``times`` times, received one after the other."""
    span_us = changes[-1].received_us - changes[0].received_us + 1_000_000
    return [Frame(frame.received_us + number * span_us, frame.raw) for number in range(times) for frame in changes]


def is_change(frame: Frame) -> bool:
    """Whether a message of Bybit's changes a state that another one began."""
    return b'"type":"delta"' in frame.raw


def _endless(frames: list[Frame]) -> Iterator[Frame]:
    for cycle in count():
        for frame in frames:
            yield Frame(frame.received_us + cycle, _moved(frame.raw, cycle) if cycle else frame.raw)


def _moved(raw: bytes, cycle: int) -> bytes:
    return _TIME_OR_ID.sub(lambda found: b"%d" % (int(found[1]) + cycle), raw)


def book_sequences(exchange: Exchange) -> list[Sequence]:
    """Recorded sequences of book changes; those that name no change of a book are left out."""
    found = []
    for path in recordings(exchange.market.name):
        if path.parent.name != "sequences" or "trimmed" in path.name:
            continue
        for channel, feed in exchange.books.items():
            sequence = Sequence(path.name, channel)
            for message in messages(str(path)):
                frame = _one_line(message)
                if not message.url:
                    if exchange.route(frame.raw) == channel:
                        sequence.events.append((channel, frame))
                    continue
                for kind, enveloped in _classified(exchange, message):
                    if kind == feed.snapshots and feed.decode_snapshot is not None:
                        snapshot = feed.decode_snapshot(enveloped)
                        if not snapshot.symbol:
                            snapshot = snapshot._replace(symbol=feed.decode(sequence.changes[0].raw).symbol)
                        sequence.events.append((kind, Frame(frame.received_us, enveloped)))
                        sequence.answers[snapshot.symbol] = message.raw.decode()
                        sequence.snapshots[snapshot.symbol] = snapshot
            if sequence.changes:
                found.append(sequence)
    return found


def _classified(exchange: Exchange, message: Message) -> list[tuple[str, bytes]]:
    try:
        return exchange.classify(message.raw, message.url)
    except (UnsupportedFrameError, ValueError):
        return []


def _one_line(message: Message) -> Frame:
    return Frame(message.received_at or 1_793_836_800_000_000, b" ".join(message.raw.split(b"\n")))


def symbols(frames: list[Frame]) -> set[str]:
    """The venue's spelling of every instrument that the frames name."""
    found: set[str] = set()
    for frame in frames:
        found.update(_named(msgspec.json.decode(frame.raw)))
    return found


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (value[key] for key in _SYMBOL_KEYS if isinstance(value.get(key), str))
        topic = value.get("topic")
        if isinstance(topic, str):
            yield re.split(r"[:.]", topic)[-1]
        for inner in value.values():
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def deepest(frame: Frame) -> int:
    """Length of the longest list in a frame: levels, for a book."""
    return _longest(msgspec.json.decode(frame.raw))


def _longest(value: Any) -> int:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    own = len(value) if isinstance(value, list) else 0
    return max([own, *(_longest(item) for item in inner)])
