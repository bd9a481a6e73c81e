"""What a recording itself says about instruments: rows of the kind ``instrument``, as far as it holds the answers."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.writing.normalize import Unstored

INSTRUMENT = "instrument"
"""Kind of the rows that say how large a contract is."""
TABLE = "told_instruments"


def tells_instruments(exchange: Exchange, channel: str) -> bool:
    """Whether messages of a channel are about instruments."""
    return channel in exchange.channels and any(rows.kind == INSTRUMENT for rows in exchange.channels[channel].rows)


class ToldInstruments:
    """The table :data:`TABLE` of a connection, in the shape of ``ops.instruments``: the last that was told of each."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, exchange: Exchange) -> None:
        self._connection, self._market = connection, exchange.market
        columns = ", ".join(f'"{column.name}" {column.type}' for column in INSTRUMENTS.columns)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {TABLE} ({columns})")

    def learn(self, told: Unstored) -> None:
        """Take in rows that a normalizer which inspects hands out."""
        if told.kind != INSTRUMENT or "venue_symbol" not in told.rows.column_names:
            return
        self._connection.register("told", told.rows)
        values = ", ".join(
            f'"{column.name}"'
            if column.name in told.rows.column_names
            else f'{self._fixed(column.name)} AS "{column.name}"'
            for column in INSTRUMENTS.columns
        )
        self._connection.execute(
            f"DELETE FROM {TABLE} WHERE venue_symbol IN (SELECT venue_symbol FROM told);"
            f"INSERT INTO {TABLE} SELECT {values} FROM told WHERE contract_size IS NOT NULL "
            "QUALIFY row_number() OVER (PARTITION BY venue_symbol ORDER BY frame DESC) = 1"
        )
        self._connection.unregister("told")

    def rows(self) -> pa.Table:
        """What is known; ``as_of`` is NULL where the recording does not tell when it was said."""
        return self._connection.sql(f"FROM {TABLE}").to_arrow_table()

    def _fixed(self, name: str) -> str:
        market = self._market
        return {"exchange": f"'{market.exchange}'", "market_type": f"'{market.market_type}'"}.get(name, "NULL")
