"""What a model answered at past bars, kept in a file of its version, so that nothing is asked twice.

The errors of some fifteen hundred past answers set the intervals of the next one; a model that is estimated anew at
every bar would take seconds for them. An answer is kept as it was given: bars that are corrected later change no
forecast that was made.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Ask = Callable[[slice], np.ndarray]
"""Answers ``(bars, steps)`` at a stretch of bars."""


def recalled(path: Path, times: np.ndarray, wanted: slice, ask: Ask) -> np.ndarray:
    """Answers at the bars ``wanted`` of ``times``, ``(bars, steps)``: those in the file, and asked for the others.

    The file then holds the answers at the bars wanted, and no others.
    """
    edges = times[wanted]
    kept = _read(path)
    known = np.isin(edges, kept[0]) if kept else np.zeros(len(edges), dtype=bool)
    asked = [
        (stretch, ask(slice(wanted.start + stretch.start, wanted.start + stretch.stop)))
        for stretch in _stretches(~known)
    ]
    if not asked:
        return kept[1][np.searchsorted(kept[0], edges)] if kept else ask(wanted)
    answers = np.full((len(edges), asked[0][1].shape[1]), np.nan)
    if kept:
        answers[known] = kept[1][np.searchsorted(kept[0], edges[known])]
    for stretch, given in asked:
        answers[stretch] = given
    _write(path, edges, answers)
    return answers


def _stretches(chosen: np.ndarray) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen.astype(np.int8), [0]))))
    return [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _read(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Times, ascending, and answers."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        return kept["times"], kept["answers"]


def _write(path: Path, times: np.ndarray, answers: np.ndarray) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".npz", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        np.savez(file, times=times, answers=answers)
    os.replace(name, path)
