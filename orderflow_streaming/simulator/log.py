"""The simulator's own account of what it sent: one tab-separated line per frame.

``connection  topic  time_us  key  fault``: the time of sending on the simulated clock; the key is the trade id,
update id or time that identifies the frame; the fault is empty for sound frames, else ``skip`` (was not sent),
``duplicate`` (sent once more) or ``malformed``. Other events have the topic ``-``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import IO


class SentLog:
    """Counts always; writes where a file is given."""

    def __init__(self, file: Path | None = None) -> None:
        self.sent: Counter[str] = Counter()
        """Sound frames per topic."""
        self._file: IO[str] | None = file.open("w", encoding="utf-8") if file else None

    def frames(self, connection: int, when_us: int, entries: list[tuple[str, bytes, int, str]]) -> None:
        self.sent.update(topic for topic, _, _, fault in entries if not fault)
        if self._file is not None:
            self._file.writelines(
                f"{connection}\t{topic}\t{when_us}\t{key}\t{fault}\n" for topic, _, key, fault in entries
            )

    def event(self, connection: int, when_us: int, what: str) -> None:
        if self._file is not None:
            self._file.write(f"{connection}\t-\t{when_us}\t\t{what}\n")

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
