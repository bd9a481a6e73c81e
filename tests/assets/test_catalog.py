"""The declarations of features and signals: complete, readable, findable."""

from __future__ import annotations

import duckdb
import pytest

from orderflow_assets.features import catalog
from orderflow_assets.features.feature import Interval
from orderflow_assets.signals import catalog as signals
from orderflow_assets.signals.reading import SOURCES
from orderflow_streaming.markets import UnknownNameError

EVERY = [(group.name, feature) for group in catalog.GROUPS.values() for feature in group.columns]


def test_the_groups_have_their_features() -> None:
    assert {name: len(group.features) for name, group in catalog.GROUPS.items()} == {
        "prices": 19,
        "orderbook": 20,
        "trades": 22,
        "funding": 13,
        "oi": 17,
        "liquidations": 18,
        "mark_prices": 15,
        "ticker": 15,
        "funding_arbitrage": 5,
        "basis_arbitrage": 6,
    }


def test_every_column_says_what_it_is() -> None:
    for group in catalog.GROUPS.values():
        assert group.table.names[:5] == ("symbol", "exchange", "market_type", "open_time", "bar_ts")
        for feature in group.columns:
            column = group.table.column(feature.name)
            assert column.nullable
            assert feature.unit
            assert feature.source
            assert feature.definition.rstrip()[-1] in ".;"
            assert column.doc.startswith(feature.definition)


def test_glossary_has_a_row_per_column() -> None:
    rows = catalog.glossary()
    assert len(rows) == len(EVERY) == len({row["feature"] for row in rows})
    assert {row["kind"] for row in rows} == {"feature", "companion"}


def test_a_feature_is_found_by_either_name() -> None:
    group, feature = catalog.feature("microprice")
    assert (group.name, feature.name) == ("prices", "microprice")
    assert catalog.feature("trades.vwap")[1].unit == "quote ccy"
    with pytest.raises(UnknownNameError, match="Did you mean 'hurst_exponent'"):
        catalog.feature("hurst_exponant")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("[0, 1]", [0, 1], [-0.1, 1.1]), ("(0, inf)", [1e-9, 1e9], [0, -1]), ("(-inf, inf)", [-1e9, 1e9], [])],
)
def test_ranges_judge(text: str, inside: list[float], outside: list[float]) -> None:
    test = Interval.parse(text).violation("x")
    with duckdb.connect() as connection:
        for values, expected in ((inside, False), ([*outside, float("nan"), float("inf")], True)):
            for value in values:
                row = connection.execute(f"SELECT {test} FROM (SELECT ?::DOUBLE AS x)", [value]).fetchone()
                assert row == (expected,)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not written like"):
        Interval.parse("0 to 1")


def test_signals_read_features_that_exist() -> None:
    for signal in signals.SIGNALS.values():
        for name in signal.inputs:
            source, _, column = name.partition(".")
            assert column in SOURCES[source].names, name
    assert signals.glossary()[0]["signal"] == "smart_money_index"
    with pytest.raises(UnknownNameError, match="smart_money_index"):
        signals.signal("smart_money_indx")
