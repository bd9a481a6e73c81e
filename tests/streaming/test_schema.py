from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from orderflow_streaming import markets, schema
from orderflow_streaming.tables import Column, Table

SPECIFIED = {
    "prices": "id timestamp mid_price bid_price ask_price spread spread_bps",
    "trades": "id timestamp trade_id price quantity quote_value side is_buyer_maker",
    "mark_prices": "id timestamp mark_price index_price basis basis_pct funding_rate annualized_rate",
    "funding_rates": "id timestamp funding_rate funding_pct annualized_pct next_funding_time countdown_secs",
    "open_interest": "id timestamp open_interest open_interest_usd oi_change_1h oi_change_pct_1h",
    "ticker_24h": "id timestamp volume_24h quote_volume_24h trade_count_24h high_24h low_24h open_24h last_price "
    "price_change price_change_pct vwap_24h",
    "candles": "id open_time close_time interval open high low close volume quote_volume trade_count "
    "taker_buy_volume taker_buy_quote taker_buy_pct",
    "liquidations": "id timestamp side price quantity value_usd is_large",
    "index_prices": "id timestamp index_price",
}
"""Columns the isolated tables promise, in order; recommended additions follow them."""


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    for table in (*(stream.table for stream in schema.STREAMS.values()), *schema.OPERATIONS):
        for statement in table.ddl:
            connection.execute(statement)
    for market in markets.MARKETS.values():
        for symbol in market.symbols:
            for stream in market.streams:
                connection.execute(schema.STREAMS[stream].view_ddl(symbol, market))
    yield connection
    connection.close()


@pytest.mark.parametrize("stream", SPECIFIED)
def test_an_isolated_view_starts_with_the_specified_columns(database, stream: str) -> None:
    view = markets.table_name("BTCUSDT", "binance_futures", stream)
    columns = [row[0] for row in database.execute(f"describe {view}").fetchall()]
    specified = SPECIFIED[stream].split()
    assert columns[: len(specified)] == specified
    assert columns[len(specified)] == "received_at"


def test_a_book_has_ten_levels_then_its_totals(database) -> None:
    columns = [row[0] for row in database.execute("describe btcusdt_binance_futures_orderbooks").fetchall()]
    pairs = [f"{side}_{level}_{what}" for side in ("bid", "ask") for level in range(1, 11) for what in ("price", "qty")]
    totals = ["total_bid_depth", "total_ask_depth", "bid_ask_ratio", "spread", "spread_pct", "mid_price"]
    assert columns[:48] == ["id", "timestamp", *pairs, *totals]


def test_every_expected_name_is_a_view(database) -> None:
    views = {row[0] for row in database.execute("select view_name from duckdb_views() where not internal").fetchall()}
    assert views == set(markets.expected_tables())


def test_a_view_shows_only_its_own_symbol_and_market(database) -> None:
    insert = (
        "insert into index_prices (id, symbol, exchange, market_type, timestamp, index_price, received_at) "
        "values (?, ?, ?, ?, now()::timestamp, 1, now()::timestamp)"
    )
    for number, identity in enumerate(
        [("BTCUSDT", "binance", "futures"), ("ETHUSDT", "binance", "futures"), ("BTCUSDT", "okx", "futures")]
    ):
        database.execute(insert, [number, *identity])
    assert database.execute("select id from btcusdt_binance_futures_index_prices").fetchall() == [(0,)]


def test_every_column_says_what_it_means() -> None:
    for stream in schema.STREAMS.values():
        assert all(column.doc for column in stream.table.columns), stream.name


def test_a_table_survives_the_wire() -> None:
    for stream in schema.STREAMS.values():
        assert Table.from_dict(stream.table.to_dict()) == stream.table


def test_declarations_that_cannot_work_are_refused() -> None:
    column = Column("a", "DOUBLE")
    with pytest.raises(ValueError, match="appears twice"):
        Table("s", "t", (column, column), ("a",), "a")
    with pytest.raises(ValueError, match="not a column"):
        Table("s", "t", (column,), ("b",), "a")
    with pytest.raises(ValueError, match="type 'FLOAT32' is not one of"):
        Column("a", "FLOAT32")


def test_arrow_schema_and_engine_agree(database) -> None:
    for stream in schema.STREAMS.values():
        stored = database.sql(f'select * from "{stream.name}"').to_arrow_table().schema
        assert stored.names == list(stream.table.names)
        for column, field in zip(stream.table.arrow_schema, stored, strict=True):
            same = column.type == field.type or pa.types.is_list(column.type)
            assert same, f"{stream.name}.{column.name}: {column.type} against {field.type}"
