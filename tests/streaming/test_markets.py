import hashlib

import pytest

from orderflow_streaming import markets
from orderflow_streaming.markets import MARKETS, SYMBOLS, UnknownNameError, expected_tables


def test_the_nine_markets_expect_593_tables_and_54_index_prices() -> None:
    names = expected_tables(index_prices=False)
    assert len(names) == len(set(names)) == 593
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    assert digest == "96bc3ffe9e6bd7d457e91fb26c881d20963ecbc2f50ac19c463f4e9aaad92b63"
    assert len(expected_tables()) == 593 + 54


def test_a_table_name_has_symbol_exchange_and_market_type_as_its_first_three_parts() -> None:
    for name in expected_tables():
        symbol, exchange, market_type, *stream = name.split("_")
        assert symbol.upper() in SYMBOLS
        assert "_".join(stream) in MARKETS[f"{exchange}_{market_type}"].streams
    assert markets.table_name("ETHUSDT_210625", "binance_futures", "trades") == "ethusdt210625_binance_futures_trades"


@pytest.mark.parametrize(
    ("lookup", "name", "near"),
    [(markets.market, "binance_future", "binance_futures"), (markets.symbol, "BTCUSD", "BTCUSDT")],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all_allowed(lookup, name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{near}'.*Allowed: "):
        lookup(name)


def test_a_symbol_is_accepted_in_any_case() -> None:
    assert markets.symbol("btcusdt") == "BTCUSDT"
