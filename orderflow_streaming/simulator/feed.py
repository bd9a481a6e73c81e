"""The frames of one dialect, rendered when somebody listens and kept while they may be sent."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from orderflow_streaming.simulator.dialects.dialect import Dialect, Frames
from orderflow_streaming.simulator.history import History
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Minute

Sent = tuple[int, int, str, bytes, int]
"""Time of sending, rank of the topic, topic, frame, key."""

_NOTHING = Frames((), (), ())


class Batch:
    """All listings of one venue during one minute, with the frames rendered so far."""

    def __init__(self, minutes: Iterable[Minute]) -> None:
        self.minutes = {minute.listing.symbol: minute for minute in minutes}
        self._rendered: dict[str, Frames] = {}

    @property
    def start_us(self) -> int:
        return next(iter(self.minutes.values())).start_us

    def frames(self, dialect: Dialect, topic: str) -> Frames:
        if topic not in self._rendered:
            minute = self.minutes.get(dialect.symbol(topic) or "")
            self._rendered[topic] = dialect.render(topic, minute) if minute is not None else _NOTHING
        return self._rendered[topic]


class Feed:
    """What one venue has to say, minute after minute."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.history: dict[str, History] = {}
        self._batches: deque[Batch] = deque(maxlen=2)

    def add(self, batch: Batch) -> None:
        """The next minute. Frames may be sent up to a minute after the one they stem from."""
        self._batches.append(batch)
        for symbol, minute in batch.minutes.items():
            self.history.setdefault(symbol, History()).add(minute)

    @property
    def end_us(self) -> int:
        return self._batches[-1].start_us + MINUTE_US if self._batches else 0

    def between(self, topics: Mapping[str, int] | Sequence[str], start_us: int, end_us: int) -> list[Sent]:
        """Frames of ``topics`` sent in ``[start_us, end_us)``, in order; ties keep the order of the topics."""
        sent: list[Sent] = []
        for batch in self._batches:
            for rank, topic in enumerate(topics):
                rendered = batch.frames(self.dialect, topic)
                first, last = bisect_left(rendered.when_us, start_us), bisect_left(rendered.when_us, end_us)
                if first < last:
                    part = slice(first, last)
                    count = last - first
                    sent.extend(
                        zip(
                            rendered.when_us[part],
                            [rank] * count,
                            [topic] * count,
                            rendered.frames[part],
                            rendered.keys[part],
                            strict=True,
                        )
                    )
        sent.sort(key=_order)
        return sent


def _order(entry: Sent) -> tuple[int, int]:
    return entry[0], entry[1]
