"""Every feature, bar by bar and series by series, against an independent slow computation."""

from __future__ import annotations

import pytest

from orderflow_assets.features.catalog import GROUPS
from orderflow_streaming.store import Store
from tests.assets import reference, reference_books, reference_trades
from tests.assets.computing import same, stored
from tests.assets.reference import Row
from tests.assets.tape import Tape, us

pytestmark = pytest.mark.slow

TAPED = {name: GROUPS[name] for name in ("prices", "orderbook", "trades")}
"""Groups of what the tape holds; the others have tapes of their own."""

ELSEWHERE = {
    "prices.hurst_exponent",
    "prices.hurst_stderr",
    "trades.flow_intensity",
    "trades.flow_toxicity",
    "trades.amihud_illiq",
    "trades.iceberg_detected",
}
"""Features that need days of bars; tests/assets/test_features_long.py has them."""

FLAGS = [
    f"{group.name}.{feature.name}"
    for group in TAPED.values()
    for feature in group.columns
    if feature.dtype == "flag" and f"{group.name}.{feature.name}" not in ELSEWHERE
]
COLUMNS = [
    f"{group.name}.{name}"
    for group in TAPED.values()
    for name in ("n_obs", *(feature.name for feature in group.columns))
    if f"{group.name}.{name}" not in ELSEWHERE
]

Rows = dict[tuple[str, int], Row]


@pytest.fixture(scope="session")
def expected(tapes: dict[str, Tape]) -> dict[str, Rows]:
    alive = reference_trades.alive_bars(tapes)
    found: dict[str, Rows] = {name: {} for name in TAPED}
    for symbol, tape in tapes.items():
        bars = reference_trades.bars_with_rows(tape)
        prices = reference.price_rows(tape, reference_trades.vwap_parts(tape))
        trades = reference_trades.trade_rows(tape, bars, alive)
        with_mid = {edge: row | {"mid": prices[edge]["mid_price"]} for edge, row in trades.items()}
        books = reference_books.book_rows(tape, with_mid)
        for name, rows in (("prices", prices), ("trades", trades), ("orderbook", books)):
            found[name] |= {(symbol, edge): row for edge, row in rows.items()}
    return found


@pytest.fixture(scope="session")
def computed(tape_store: Store) -> dict[str, Rows]:
    return {
        name: {(row["symbol"], us(row["bar_ts"])): row for row in stored(tape_store, group.table).values()}
        for name, group in TAPED.items()
    }


@pytest.mark.parametrize("group", TAPED)
def test_rows_are_those_of_bars_with_data(group: str, computed: dict[str, Rows], expected: dict[str, Rows]) -> None:
    assert set(computed[group]) == set(expected[group])


@pytest.mark.parametrize("column", COLUMNS)
def test_every_value_is_the_defined_one(column: str, computed: dict[str, Rows], expected: dict[str, Rows]) -> None:
    group, _, name = column.partition(".")
    wrong = {
        key: (row[name], expected[group][key][name])
        for key, row in computed[group].items()
        if not same(row[name], expected[group][key][name])
    }
    assert not wrong, f"{len(wrong)} of {len(computed[group])} differ, such as {next(iter(wrong.items()))}"
    assert any(row[name] is not None for row in computed[group].values()), "the tape never reaches this feature"


@pytest.mark.parametrize("name", FLAGS)
def test_the_tape_holds_both_answers_of_every_flag(name: str, computed: dict[str, Rows]) -> None:
    group, _, column = name.partition(".")
    assert {row[column] for row in computed[group].values()} >= {True, False}
