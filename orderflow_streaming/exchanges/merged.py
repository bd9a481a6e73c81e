"""The channel of the frames that a :class:`~orderflow_streaming.exchanges.books.BookMerger` makes, for every venue."""

from __future__ import annotations

from orderflow_streaming.exchanges.protocol import Channel, Rows, milliseconds, values

MERGED_BOOK = Channel(
    "book",
    values(BIGINT="E", VARCHAR="s u", LEVELS="b a"),
    (Rows("orderbooks", {"timestamp": milliseconds("$E"), "bids": "$b", "asks": "$a", "source_seq": "$u"}),),
)
