"""Order flow of ten levels: single steps by hand, the component against singular values, loadings of the day before."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orderflow_assets.features.orderbook import loadings
from orderflow_assets.features.orderbook.changes import Pairs, pairs
from orderflow_assets.features.orderbook.flow import MLOFI, first_component, level_depth, level_flow
from orderflow_assets.features.orderbook.minutes import BOOKS_1M
from orderflow_assets.features.orderbook.seconds import DEPTH, Books, Side
from orderflow_streaming.store import connect

MIDNIGHT = datetime(2025, 3, 10)  # noqa: DTZ001
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def side(best: list[float], step: float, qty: list[list[float]], levels: int = DEPTH) -> Side:
    price = np.array(best)[:, None] + step * np.arange(DEPTH)
    size = np.ones((len(best), DEPTH))
    size[:, :2] = qty
    price[:, levels:], size[:, levels:] = np.nan, np.nan
    return Side(price.T, size.T)


def second_by_second(bid: Side, ask: Side) -> tuple[Books, Pairs]:
    """One series whose snapshots stand a second each, and each with the one before it."""
    standing = np.arange(bid.price.shape[1])[None]
    return Books(np.zeros(1, np.int64), bid, ask, standing), pairs(standing, 1)


def test_a_level_gains_and_loses_by_price() -> None:
    bid = side([10.0, 10.0, 10.1, 10.0], -0.1, [[5, 2], [7, 2], [3, 7], [6, 2]])
    ask = side([10.2, 10.2, 10.2, 10.3], 0.1, [[4, 1], [3, 1], [3, 1], [1, 9]])
    books, step = second_by_second(bid, ask)
    flow = level_flow(books, step)
    np.testing.assert_allclose(flow[0], [2 - (-1), 3 - 0, -3 - (-3)])
    np.testing.assert_allclose(flow[1], [0, 7 - 0, -7 - (-1)])
    np.testing.assert_allclose(level_depth(books)[0], [4.5, 5, 3, 3.5])


def test_a_level_that_is_not_there_has_no_flow() -> None:
    bid, ask = side([10.0, 10.0], -0.1, [[5, 2], [7, 2]], levels=5), side([10.2, 10.2], 0.1, [[4, 1], [3, 1]])
    flow = level_flow(*second_by_second(bid, ask))
    assert np.isfinite(flow[:5]).all()
    assert np.isnan(flow[5:]).all()


def test_a_pair_of_books_is_looked_at_once_however_long_it_stands() -> None:
    standing = np.array([[0, 0, 1, 1, -1, 2], [3, 4, 4, 4, 4, 4]])
    step = pairs(standing, 1)
    assert list(zip(step.then.tolist(), step.now.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1), (3, 4), (4, 4)]
    np.testing.assert_array_equal(step.place, [[0, 1, 2, -1, -1], [3, 4, 4, 4, 4]])
    said = step.by_second(np.arange(5.0))
    np.testing.assert_array_equal(said, [[0, 1, 2, np.nan, np.nan], [3, 4, 4, 4, 4]])


def test_the_component_is_that_of_the_largest_singular_value() -> None:
    rng = np.random.default_rng(1)
    flows = rng.normal(size=(500, 1)) * np.linspace(1, 0.3, 10) + 0.2 * rng.normal(size=(500, 10)) + 3
    found = first_component(flows)
    assert found is not None
    _, singular, vectors = np.linalg.svd(flows - flows.mean(axis=0))
    expected = vectors[0] / np.abs(vectors[0]).sum() * np.sign(vectors[0].sum())
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)
    assert found[1] == pytest.approx(singular[0] ** 2 / (singular**2).sum())
    assert found[0].sum() == pytest.approx(1)


def test_flows_that_never_change_have_no_component() -> None:
    assert first_component(np.full((100, 10), 2.0)) is None


@pytest.mark.parametrize(("minutes", "rows"), [(59, 0), (60, 10)])
def test_loadings_rest_on_the_day_before_alone(minutes: int, rows: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    opening = [MIDNIGHT - (minutes - k) * MINUTE for k in range(minutes + 30)]
    flows = rng.normal(size=(len(opening), 10))
    flows[minutes:] *= 1_000
    columns: dict[str, object] = {
        "symbol": ["AAAUSDT"] * len(opening),
        "exchange": ["binance"] * len(opening),
        "market_type": ["futures"] * len(opening),
        "open_time": opening,
        "bar_ts": [time + MINUTE for time in opening],
        "n_obs": [60] * len(opening),
        **dict(zip(MLOFI, flows.T, strict=True)),
    }
    arrays = [pa.array(columns.get(one.name, [None] * len(opening)), one.type) for one in BOOKS_1M.arrow_schema]
    with connect(tmp_path, scope="write") as store:
        store.write(BOOKS_1M, pa.Table.from_arrays(arrays, schema=BOOKS_1M.arrow_schema))
        assert loadings.LAYER.compute(store, MIDNIGHT + MINUTE, MIDNIGHT + 30 * MINUTE) == 0
        assert loadings.LAYER.compute(store, MIDNIGHT - 30 * MINUTE, MIDNIGHT + 30 * MINUTE) == rows
        found = store.query("SELECT level, loading, minutes FROM bars.ofi_loadings ORDER BY level").to_pylist()
    if rows:
        expected = first_component(flows[:minutes])
        assert expected is not None
        np.testing.assert_allclose([row["loading"] for row in found], expected[0], rtol=1e-9)
        assert {row["minutes"] for row in found} == {minutes}
