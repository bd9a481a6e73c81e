"""Whole numbers written as decimals, a column at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decimal(value: int, places: int) -> str:
    """``decimal(-1234, 2)`` is ``-12.34``."""
    if not places:
        return str(value)
    sign = "-" if value < 0 else ""
    whole, part = divmod(abs(value), 10**places)
    return f"{sign}{whole}.{part:0{places}d}"


def decimals(values: NDArray[np.int64], places: int) -> list[str]:
    """:func:`decimal` of each; every distinct value is written once."""
    distinct, where = np.unique(values, return_inverse=True)
    written = np.array([decimal(value, places) for value in distinct.tolist()], dtype=object)
    column: list[str] = written[where].tolist() if distinct.size else []
    return column


def levels(prices: NDArray[np.int64], price_places: int, sizes: NDArray[np.int64], size_places: int) -> list[list[str]]:
    """``["price","size"]`` of each book level, row by row; ``prices`` and ``sizes`` are of one two-dimensional shape.

    Both must be non-negative, sizes below 2**31.
    """
    distinct, where = np.unique(prices << 31 | sizes, return_inverse=True)
    written = np.array(
        [
            f'["{decimal(key >> 31, price_places)}","{decimal(key & 0x7FFFFFFF, size_places)}"]'
            for key in distinct.tolist()
        ],
        dtype=object,
    )
    rows: list[list[str]] = written[where].reshape(prices.shape).tolist()
    return rows
