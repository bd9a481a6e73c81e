"""Arrays of words for features that are labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import Mask

Words = npt.NDArray[np.object_]


def worded(*said: tuple[Mask, str]) -> Words:
    """Of each place the first word whose condition holds there, None where none does."""
    words: Words = np.full(said[0][0].shape, None, dtype=object)
    for condition, word in reversed(said):
        words[condition] = word
    return words
