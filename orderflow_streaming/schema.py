"""The stream tables: what each stream stores, column by column.

Ticks of all markets live in one physical table per stream, in schema ``main``, with the identity columns
``symbol, exchange, market_type`` after ``id``. Each isolated name, such as ``btcusdt_binance_futures_prices``,
is a view of it with the identity columns (and the columns of :attr:`Stream.internal`) left out.

Units: quantities are base coin after the contract multiplier, ``raw_*`` is what the venue sent; rates are
fractions unless a name ends in ``_pct`` (percent) or ``_bps`` (1/10,000). Times are UTC: ``timestamp`` is the
exchange's event time (the receive time where the venue sends none), ``received_at`` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from orderflow_streaming import markets
from orderflow_streaming.tables import Column, Table

LEVELS = 10
"""Book levels stored as columns, per side."""

LARGE_LIQUIDATION_USD = 100_000.0

IDENTITY: tuple[Column, ...] = (
    Column("symbol", "VARCHAR", "exchange-neutral pair, upper case", nullable=False),
    Column("exchange", "VARCHAR", "venue", nullable=False),
    Column("market_type", "VARCHAR", "futures or spot", nullable=False),
)

_ID = Column("id", "BIGINT", "row number within the stream, in storing order", nullable=False)
_TIMESTAMP = Column("timestamp", "TIMESTAMP", "exchange event time", "UTC", nullable=False)
_RECEIVED = Column("received_at", "TIMESTAMP", "local receive time", "UTC", nullable=False)
_SEQUENCE = Column("source_seq", "VARCHAR", "sequence or update id of the venue, where it sends one")


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of market data. ``columns`` are those of the isolated view, in their specified order."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Natural key within one symbol and market; a second row with it is a duplicate (candles: an update)."""
    identifier: str = ""
    """Column of the key that tells a row alone wherever it is not NULL: the rest of the key may then differ, as times
    do that a venue sends finer on one way than on another."""
    time: str = "timestamp"
    internal: tuple[Column, ...] = ()
    """Stored beside the specified columns and left out of the isolated views."""

    @property
    def table(self) -> Table:
        """What readers use: the rows in the database and those in the archive, as one."""
        identity, key = IDENTITY, tuple(column.name for column in IDENTITY)
        columns = (self.columns[0], *identity, *self.columns[1:], *self.internal)
        return Table("main", self.name, columns, (*key, *self.key), self.time, self.doc)

    @property
    def hot(self) -> Table:
        """What the writer fills: the rows in the database."""
        return replace(self.table, schema="hot")

    def view_ddl(self, symbol: str, market: markets.Market) -> str:
        """The isolated view of this stream for one symbol on one market."""
        names = ", ".join(f'"{column.name}"' for column in self.columns)
        return (
            f'CREATE OR REPLACE VIEW "{markets.table_name(symbol, market.name, self.name)}" AS '
            f'SELECT {names} FROM "{self.name}" '
            f"WHERE symbol = '{symbol}' AND exchange = '{market.exchange}' AND market_type = '{market.market_type}'"
        )


def _book_levels() -> tuple[Column, ...]:
    return tuple(
        Column(f"{side}_{level}_{what}", "DOUBLE", f"{what} of the {side} level {level}", unit)
        for side in ("bid", "ask")
        for level in range(1, LEVELS + 1)
        for what, unit in (("price", "quote"), ("qty", "base"))
    )


_PRICE, _BASE, _QUOTE, _PCT, _BPS, _RATE = "quote", "base", "quote", "percent", "bps", "fraction"

STREAMS: dict[str, Stream] = {
    stream.name: stream
    for stream in (
        Stream(
            "prices",
            "Best bid and ask, on every change the venue publishes.",
            (
                _ID,
                _TIMESTAMP,
                Column(
                    "mid_price", "DOUBLE", "(bid + ask) / 2; a quote without both sides is not stored", _PRICE, False
                ),
                Column("bid_price", "DOUBLE", "best bid", _PRICE),
                Column("ask_price", "DOUBLE", "best ask", _PRICE),
                Column("spread", "DOUBLE", "ask - bid", _PRICE),
                Column("spread_bps", "DOUBLE", "spread / mid x 10,000", _BPS),
                _RECEIVED,
                _SEQUENCE,
                Column("bid_qty", "DOUBLE", "size at the best bid", _BASE),
                Column("ask_qty", "DOUBLE", "size at the best ask", _BASE),
                Column("last_price", "DOUBLE", "last traded price, where the same message carries it", _PRICE),
            ),
            key=("source_seq", "timestamp"),
        ),
        Stream(
            "orderbooks",
            "Book snapshots: ten levels a side as columns, totals over these ten.",
            (
                _ID,
                _TIMESTAMP,
                *_book_levels(),
                Column("total_bid_depth", "DOUBLE", "sum of the ten bid quantities", _BASE),
                Column("total_ask_depth", "DOUBLE", "sum of the ten ask quantities", _BASE),
                Column("bid_ask_ratio", "DOUBLE", "bid depth / ask depth", "ratio"),
                Column("spread", "DOUBLE", "ask_1 - bid_1", _PRICE),
                Column("spread_pct", "DOUBLE", "spread / mid x 100", _PCT),
                Column("mid_price", "DOUBLE", "(bid_1 + ask_1) / 2", _PRICE),
                _RECEIVED,
                _SEQUENCE,
                Column("raw_bid_depth", "DOUBLE", "bid depth as the venue counts it", "contracts"),
                Column("raw_ask_depth", "DOUBLE", "ask depth as the venue counts it", "contracts"),
            ),
            key=("source_seq", "timestamp"),
            internal=(
                Column("bid_tail", "DOUBLE[][]", "levels 11 and deeper as [price, qty], best first"),
                Column("ask_tail", "DOUBLE[][]", "levels 11 and deeper as [price, qty], best first"),
            ),
        ),
        Stream(
            "trades",
            "Prints with the taker's side.",
            (
                _ID,
                _TIMESTAMP,
                Column("trade_id", "VARCHAR", "the venue's id"),
                Column("price", "DOUBLE", "price", _PRICE, False),
                Column("quantity", "DOUBLE", "size", _BASE, False),
                Column("quote_value", "DOUBLE", "price x quantity", _QUOTE, False),
                Column("side", "VARCHAR", "taker side: buy or sell", "", False),
                Column("is_buyer_maker", "BOOLEAN", "true when the taker sold"),
                _RECEIVED,
                _SEQUENCE,
                Column("raw_quantity", "DOUBLE", "size as the venue counts it", "contracts"),
            ),
            key=("trade_id", "timestamp"),
            identifier="trade_id",
        ),
        Stream(
            "mark_prices",
            "Mark and index price with the funding rate in force.",
            (
                _ID,
                _TIMESTAMP,
                Column("mark_price", "DOUBLE", "mark price", _PRICE, False),
                Column("index_price", "DOUBLE", "index price", _PRICE),
                Column("basis", "DOUBLE", "mark - index", _PRICE),
                Column("basis_pct", "DOUBLE", "basis / index x 100", _PCT),
                Column("funding_rate", "DOUBLE", "rate per funding interval", _RATE),
                Column("annualized_rate", "DOUBLE", "rate x (24 / interval hours) x 365 x 100", _PCT),
                _RECEIVED,
                _SEQUENCE,
            ),
            key=("timestamp",),
        ),
        Stream(
            "funding_rates",
            "Funding rate, a row whenever the rate or the settlement time changes.",
            (
                _ID,
                _TIMESTAMP,
                Column("funding_rate", "DOUBLE", "0.0001 is 0.01 %; longs pay when positive", _RATE, False),
                Column("funding_pct", "DOUBLE", "rate x 100", _PCT),
                Column("annualized_pct", "DOUBLE", "rate x (24 / interval hours) x 365 x 100", _PCT),
                Column("next_funding_time", "TIMESTAMP", "next settlement", "UTC"),
                Column("countdown_secs", "INTEGER", "seconds to the next settlement", "s"),
                _RECEIVED,
                _SEQUENCE,
                Column("funding_interval_hours", "DOUBLE", "hours between settlements, as the venue states", "h"),
            ),
            key=("timestamp",),
        ),
        Stream(
            "open_interest",
            "Outstanding contracts.",
            (
                _ID,
                _TIMESTAMP,
                Column("open_interest", "DOUBLE", "outstanding position", _BASE, False),
                Column("open_interest_usd", "DOUBLE", "open interest x mark price at that time", _QUOTE),
                Column("oi_change_1h", "DOUBLE", "against the last value one hour earlier", _BASE),
                Column("oi_change_pct_1h", "DOUBLE", "the same in percent of it", _PCT),
                _RECEIVED,
                _SEQUENCE,
                Column("raw_quantity", "DOUBLE", "open interest as the venue counts it", "contracts"),
            ),
            key=("timestamp",),
        ),
        Stream(
            "ticker_24h",
            "Rolling statistics of the last 24 hours, as the venue publishes them.",
            (
                _ID,
                _TIMESTAMP,
                Column("volume_24h", "DOUBLE", "traded volume", _BASE),
                Column("quote_volume_24h", "DOUBLE", "traded value", _QUOTE),
                Column("trade_count_24h", "INTEGER", "number of trades", "count"),
                Column("high_24h", "DOUBLE", "highest price", _PRICE),
                Column("low_24h", "DOUBLE", "lowest price", _PRICE),
                Column("open_24h", "DOUBLE", "price 24 hours ago", _PRICE),
                Column("last_price", "DOUBLE", "last price", _PRICE),
                Column("price_change", "DOUBLE", "last - open", _PRICE),
                Column("price_change_pct", "DOUBLE", "change in percent of open", _PCT),
                Column("vwap_24h", "DOUBLE", "volume-weighted mean price", _PRICE),
                _RECEIVED,
                _SEQUENCE,
            ),
            key=("timestamp",),
        ),
        Stream(
            "candles",
            "The venue's own bars, upserted while they form.",
            (
                _ID,
                Column("open_time", "TIMESTAMP", "first instant of the bar", "UTC", False),
                Column("close_time", "TIMESTAMP", "last instant of the bar", "UTC"),
                Column("interval", "VARCHAR", "bar length, such as 1m", "", False),
                Column("open", "DOUBLE", "first price", _PRICE, False),
                Column("high", "DOUBLE", "highest price", _PRICE, False),
                Column("low", "DOUBLE", "lowest price", _PRICE, False),
                Column("close", "DOUBLE", "last price", _PRICE, False),
                Column("volume", "DOUBLE", "traded volume", _BASE, False),
                Column("quote_volume", "DOUBLE", "traded value", _QUOTE),
                Column("trade_count", "INTEGER", "number of trades", "count"),
                Column("taker_buy_volume", "DOUBLE", "volume bought by takers", _BASE),
                Column("taker_buy_quote", "DOUBLE", "value bought by takers", _QUOTE),
                Column("taker_buy_pct", "DOUBLE", "taker buy volume / volume x 100", _PCT),
                _RECEIVED,
                _SEQUENCE,
                Column("is_closed", "BOOLEAN", "false while the bar still forms"),
            ),
            key=("interval", "open_time"),
            time="open_time",
        ),
        Stream(
            "liquidations",
            "Forced closures the venue publishes; most venues publish a sample of them.",
            (
                _ID,
                _TIMESTAMP,
                Column("side", "VARCHAR", "side of the position closed: long or short", "", False),
                Column("price", "DOUBLE", "average fill price, else the order's", _PRICE, False),
                Column("quantity", "DOUBLE", "size", _BASE, False),
                Column("value_usd", "DOUBLE", "price x quantity", _QUOTE, False),
                Column("is_large", "BOOLEAN", f"value above {LARGE_LIQUIDATION_USD:,.0f} USD"),
                _RECEIVED,
                _SEQUENCE,
                Column("raw_quantity", "DOUBLE", "size as the venue counts it", "contracts"),
            ),
            key=("timestamp", "side", "price", "quantity"),
        ),
        Stream(
            "index_prices",
            "Index price of the underlying.",
            (
                _ID,
                _TIMESTAMP,
                Column("index_price", "DOUBLE", "index price", _PRICE, False),
                _RECEIVED,
                _SEQUENCE,
            ),
            key=("timestamp",),
        ),
        Stream(
            "positioning",
            "Who is long and who short, as venues count it every five minutes. No isolated views: one table for all.",
            (
                _ID,
                _TIMESTAMP,
                Column(
                    "kind",
                    "VARCHAR",
                    "what is counted: accounts, top_accounts or top_positions (of the largest traders), taker_volume",
                    nullable=False,
                ),
                Column("long_short_ratio", "DOUBLE", "long over short; taker_volume: bought over sold", "ratio", False),
                Column("long_share", "DOUBLE", "ratio / (1 + ratio)", _RATE),
                _RECEIVED,
                _SEQUENCE,
            ),
            key=("timestamp", "kind"),
        ),
    )
}

INSTRUMENTS = Table(
    "ops",
    "instruments",
    (
        *IDENTITY,
        Column("venue_symbol", "VARCHAR", "the venue's own spelling", nullable=False),
        Column("status", "VARCHAR", "trading status as the venue names it"),
        Column("contract_size", "DOUBLE", "base coin per contract; 1 where the venue counts coins", _BASE, False),
        Column("tick_size", "DOUBLE", "smallest price step", _PRICE),
        Column("lot_size", "DOUBLE", "smallest size step", "contracts"),
        Column("funding_interval_hours", "DOUBLE", "hours between funding settlements", "h"),
        Column("as_of", "TIMESTAMP", "when the venue was asked", "UTC", False),
    ),
    ("symbol", "exchange", "market_type"),
    "as_of",
    "What the venues say about the instruments, refreshed at start and daily.",
)

QUARANTINE = Table(
    "ops",
    "quarantine",
    (
        Column("received_at", "TIMESTAMP", "local receive time", "UTC", False),
        Column("market", "VARCHAR", "market the frame came from", nullable=False),
        Column("topic", "VARCHAR", "topic it was routed to"),
        Column("reason", "VARCHAR", "why no row was made of it", nullable=False),
        Column("raw", "BLOB", "the frame as received", nullable=False),
    ),
    ("received_at", "market"),
    "received_at",
    "Frames no row could be made of, with the bytes and the reason.",
)

GAPS = Table(
    "ops",
    "gaps",
    (
        Column("detected_at", "TIMESTAMP", "when it was noticed", "UTC", False),
        *IDENTITY,
        Column("stream", "VARCHAR", "stream with the hole", nullable=False),
        Column("started_at", "TIMESTAMP", "event time of the last row before it", "UTC"),
        Column("ended_at", "TIMESTAMP", "event time of the first row after it", "UTC"),
        Column("first_missing", "VARCHAR", "first sequence that is absent, where the venue numbers them"),
        Column("last_missing", "VARCHAR", "last sequence that is absent"),
        Column("reason", "VARCHAR", "sequence jump, disconnection, overflow", nullable=False),
        Column("filled_at", "TIMESTAMP", "when the venue had given all of it again; NULL while it is open", "UTC"),
        Column("filled_rows", "BIGINT", "rows that came of asking again", "count"),
        Column("fill_reason", "VARCHAR", "why it is open"),
        Column("given_up_at", "TIMESTAMP", "when it was settled that it stays open", "UTC"),
    ),
    ("symbol", "exchange", "market_type", "stream", "detected_at", "ended_at", "first_missing"),
    "detected_at",
    "Stretches the stored data did not cover, and what became of them.",
)

BACKFILLS = Table(
    "ops",
    "backfills",
    (
        *IDENTITY,
        Column("stream", "VARCHAR", "stream that was asked for", nullable=False),
        Column("started_at", "TIMESTAMP", "beginning of the span", "UTC", False),
        Column("ended_at", "TIMESTAMP", "its end, not included", "UTC", False),
        Column("rows", "BIGINT", "rows stored that were not there before", "count", False),
        Column("requests", "INTEGER", "REST requests it took", "count", False),
        Column("missing", "VARCHAR", "what the venue did not offer of it; NULL when it gave all"),
        Column("done_at", "TIMESTAMP", "when its rows were stored", "UTC", False),
    ),
    ("symbol", "exchange", "market_type", "stream", "started_at", "ended_at"),
    "started_at",
    "Spans of the past that were asked for over REST and stored.",
)

ARCHIVE = Table(
    "ops",
    "archive",
    (
        Column("stream", "VARCHAR", "stream", nullable=False),
        Column("node", "VARCHAR", "daemon that sealed it", nullable=False),
        Column("hour", "TIMESTAMP", "first instant of the hour", "UTC", False),
        Column("version", "INTEGER", "1, and one more each time its content changed", "count", False),
        Column("path", "VARCHAR", "file, under the root of the archive", nullable=False),
        Column("rows", "BIGINT", "rows in it", "count", False),
        Column("content_hash", "VARCHAR", "sum of the hashes of all rows, in any order", nullable=False),
        Column("hashed_as", "VARCHAR", "DuckDB version and columns that hash goes by", nullable=False),
        Column("sha256", "VARCHAR", "SHA-256 of the file", nullable=False),
        Column("bytes", "BIGINT", "size of the file", "bytes", False),
        Column("first_time", "TIMESTAMP", "oldest event time in it", "UTC", False),
        Column("last_time", "TIMESTAMP", "newest event time in it", "UTC", False),
        Column("last_id", "BIGINT", "highest row number in it", nullable=False),
        Column("sealed_at", "TIMESTAMP", "when it was written and verified", "UTC", False),
        Column("dropped_at", "TIMESTAMP", "when its rows left the database of its node", "UTC"),
    ),
    ("stream", "node", "hour"),
    "hour",
    "Sealed hours: the file of each stream and node, and what it held when it was verified.",
)

JOURNAL_MARK = Table(
    "ops",
    "journal_mark",
    (
        Column("segment", "BIGINT", "journal segment", nullable=False),
        Column("offset", "BIGINT", "bytes of it that are stored", nullable=False),
        Column("moved_at", "TIMESTAMP", "when the mark moved", "UTC", False),
    ),
    ("segment",),
    "moved_at",
    "How far the journal is stored; moves in the same transaction as the rows.",
)

OPERATIONS: tuple[Table, ...] = (INSTRUMENTS, QUARANTINE, GAPS, BACKFILLS, ARCHIVE, JOURNAL_MARK)


def stream(name: str) -> Stream:
    """The stream called ``name``; raises :class:`~orderflow_streaming.markets.UnknownNameError`."""
    try:
        return STREAMS[name]
    except KeyError:
        hint = markets.suggestion(name, list(STREAMS))
        raise markets.UnknownNameError(f"unknown stream {name!r}.{hint} Allowed: {', '.join(STREAMS)}.") from None
