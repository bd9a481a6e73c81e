"""Features that are words: declared, judged and stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from orderflow_assets.features.feature import Feature, Group
from orderflow_assets.features.grid import Grid

WEATHER = Feature(
    "weather", "label", "none", "bar", "What it is like outside.", "a window", "{dry, wet}", dtype="label"
)


def test_a_label_is_text_and_one_of_its_words() -> None:
    assert WEATHER.column.type == "VARCHAR"
    assert WEATHER.labels == ("dry", "wet")
    with duckdb.connect() as connection:
        for word, outside in (("dry", False), ("wet", False), ("fog", True), (None, None)):
            found = connection.execute(f"SELECT {WEATHER.violation} FROM (SELECT ?::VARCHAR AS weather)", [word])
            assert found.fetchone() == (outside,)


def test_only_a_label_has_words() -> None:
    with pytest.raises(ValueError, match="no words like"):
        _ = replace(WEATHER, interval="[0, 1]").labels


def test_labels_of_a_grid_are_stored_as_words() -> None:
    start = datetime(2025, 3, 1)  # noqa: DTZ001
    minute = timedelta(minutes=1)
    group = Group("weather", "Weather.", "looks", (WEATHER,))
    grid = Grid((("A", "x", "spot"),), start + minute, minute, np.array([[True, True, True]]), {})
    values = {"n_obs": np.zeros((1, 2)), "weather": np.array([["wet", None]], dtype=object)}
    rows = grid.table(group.table, values, 2)
    assert rows["weather"].to_pylist() == ["wet", None]
    assert rows["bar_ts"].to_pylist() == [start + 2 * minute, start + 3 * minute]
    assert rows.schema.field("weather").type == pa.string()
