"""What the frames of both markets of KuCoin share: when they are sent, and which state they show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orderflow_streaming.simulator.dialects.dialect import Frames
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Books, Ints, Minute, Touches

Renderer = Callable[[str, Minute], Frames]

SEQUENCE_ORIGIN_US = 1_567_900_800_000_000
PUSH_US = 100_000
CANDLE_US = 500_000
TRADE_STEP = 3
"""Between the numbers of consecutive trades."""


def sequence(when_us: int) -> int:
    """Numbers of a book rise with the time of its changes."""
    return when_us - SEQUENCE_ORIGIN_US


def head(topic: str, subject: str) -> str:
    return f'{{"topic":"{topic}","type":"message","subject":"{subject}"'


def pushed_touches(touches: Touches) -> tuple[Ints, Ints]:
    """Rows of the last change in each tenth of a second that had one, and when they are pushed."""
    window = touches.when_us // PUSH_US
    rows = np.flatnonzero(np.append(window[1:] > window[:-1], True)) if len(window) else np.empty(0, np.int64)
    return rows, (window[rows] + 1) * PUSH_US


def changed_books(books: Books) -> tuple[Ints, Ints]:
    """Rows of snapshots that differ from the one before, and the row before each."""
    rows = np.flatnonzero(books.last_us[1:] > books.last_us[:-1]) + 1
    return rows, rows - 1


def bars(minute: Minute) -> tuple[list[int], Ints]:
    """When the forming bar is pushed, and the last trade in it each time: twice a second, if there was a trade."""
    grid = minute.start_us + np.arange(CANDLE_US, MINUTE_US + 1, CANDLE_US)
    upto = np.searchsorted(minute.trades.when_us, grid)
    fresh = np.diff(upto, prepend=0) > 0
    when: list[int] = grid[fresh].tolist()
    return when, upto[fresh] - 1
