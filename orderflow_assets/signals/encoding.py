"""JSON objects made of arrays, column by column: a value in each row costs no Python."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_assets.features.grid import Array


def numbers(values: Array, *, boolean: bool = False) -> pa.Array:
    """JSON of each number, ``null`` for NaN and infinities; 1 and 0 as ``true`` and ``false`` where boolean."""
    cells = pa.array(values, mask=~np.isfinite(values))
    text = pc.cast(pc.cast(cells, pa.bool_()), pa.string()) if boolean else pc.cast(cells, pa.string())
    return pc.fill_null(text, "null")


def strings(values: np.ndarray) -> pa.Array:
    """JSON of each word, ``null`` for None. Words need no escaping: they are declared identifiers."""
    return pc.fill_null(pc.binary_join_element_wise('"', pa.array(values, pa.string()), '"', ""), "null")


def objects(members: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """One object per row with the JSON of ``members`` under their names."""
    if not members:
        return pa.array(["{}"] * rows, pa.string())
    pieces: list[str | pa.Array] = []
    for place, (name, text) in enumerate(members.items()):
        pieces += [f"{', ' if place else '{'}{json.dumps(name)}: ", text]
    return pc.binary_join_element_wise(*pieces, "}", "")
