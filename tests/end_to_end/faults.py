"""Accounts of what a daemon stored under a fault, against the simulator's own log of what it sent."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orderflow_streaming.daemon import Daemon as InProcess
from orderflow_streaming.settings import Settings
from orderflow_streaming.store import Store, connect
from orderflow_streaming.store.endpoint import database_path
from tests.streaming.processes import Simulation, wait_for

SYMBOLS = ("BTCUSDT", "ETHUSDT")
MARKET = "binance_futures"
SLACK_US = 3_000_000
"""Between the venue's clock and the times of receipt that a gap is bounded by."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one fault cost. A trade can be asked for again by its number; a quote or a book cannot."""

    fault: str
    sent: int
    """Trades the venue published from the first stored one to the last."""
    stored: int
    duplicated: int
    lost: int
    states_sent: int
    """Quotes and books sent on the daemon's connections."""
    states_missing: int
    """Of these, not stored, within a stretch that ``ops.gaps`` records."""
    states_unexplained: int
    """Of these, not stored, and recorded nowhere."""
    states_duplicated: int
    quarantined: int

    @staticmethod
    def table(accounts: list[Account]) -> str:
        heads = (
            "fault",
            "trades sent",
            "stored",
            "twice",
            "lost",
            "states sent",
            "in gaps",
            "unexplained",
            "twice",
            "quarantined",
        )
        rows = [[str(getattr(account, name)) for name in account.__slots__] for account in accounts]
        widths = [max(len(row[column]) for row in [list(heads), *rows]) for column in range(len(heads))]
        lines = [
            "  ".join(
                cell.ljust(width) if not column else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [list(heads), *rows]
        ]
        return "\n".join(lines)


def account(fault: str, data_dir: Path, simulation: Simulation, connections: list[int]) -> Account:
    """Read the closed database of a daemon whose connections the simulator gave these numbers."""
    trades: dict[str, list[int]] = {}
    missing: dict[tuple[str, str], list[int]] = {}
    states_sent = states_duplicated = 0
    with duckdb.connect(str(database_path(data_dir)), read_only=True) as database:
        for symbol in SYMBOLS:
            trades[symbol] = _column(database, symbol, "trades", "trade_id")
            for topic, stream in (("bookTicker", "prices"), ("depth20@100ms", "orderbooks")):
                stored = _column(database, symbol, stream, "source_seq")
                states_duplicated += len(stored) - len(set(stored))
                sent = {
                    key: when
                    for key, kind, when in simulation.sent(f"{symbol.lower()}@{topic}", connections)
                    if kind in ("", "duplicate")
                }
                last = max(stored, default=0)
                states_sent += sum(key <= last for key in sent)
                kept = set(stored)
                missing[symbol, stream] = [when for key, when in sent.items() if key <= last and key not in kept]
        gaps = database.execute(
            "SELECT symbol, stream, epoch_us(started_at), epoch_us(ended_at) FROM ops.gaps"
        ).fetchall()
        (quarantined,) = database.execute("SELECT count(*) FROM ops.quarantine").fetchall()[0]
    unexplained = sum(
        not any(
            (symbol, stream) == series and (start or 0) - SLACK_US <= when <= end + SLACK_US
            for symbol, stream, start, end in gaps
        )
        for series, times in missing.items()
        for when in times
    )
    sent_trades = sum(max(ids) - min(ids) + 1 for ids in trades.values() if ids)
    distinct = sum(len(set(ids)) for ids in trades.values())
    return Account(
        fault,
        sent_trades,
        distinct,
        sum(map(len, trades.values())) - distinct,
        sent_trades - distinct,
        states_sent,
        sum(map(len, missing.values())) - unexplained,
        unexplained,
        states_duplicated,
        quarantined,
    )


def _column(database: duckdb.DuckDBPyConnection, symbol: str, stream: str, column: str) -> list[int]:
    sql = f"SELECT {column}::BIGINT FROM {symbol.lower()}_{MARKET}_{stream}"
    return [row[0] for row in database.execute(sql).fetchall()]


def trades_are_whole(store: Store) -> bool:
    """Whether no number is missing between the first stored trade and the last, for every symbol."""
    numbers = "max(trade_id::BIGINT) - min(trade_id::BIGINT) + 1 - count(DISTINCT trade_id)"
    sql = f"SELECT coalesce(bool_and(n = 0), false) AS whole FROM (SELECT {numbers} AS n FROM trades GROUP BY symbol)"
    return bool(store.query(sql)["whole"][0].as_py())


def await_whole(data_dir: Path, timeout_s: float = 60.0) -> None:
    """Wait until what can be had again was had again."""
    with connect(data_dir, embedded=False) as store:
        wait_for(lambda: trades_are_whole(store), timeout_s, what="the refill of missing trades")


@contextmanager
def collecting(data_dir: Path, simulation: Simulation, **settings: Any) -> Iterator[list[int]]:
    """A daemon in this process, whose parts a test can disturb; the numbers of its connections, at the end."""
    earlier, connections = len(simulation.connections()), list[int]()
    daemon = InProcess(
        Settings(
            data_dir=data_dir,
            markets=(MARKET,),
            symbols=SYMBOLS,
            simulator_url=simulation.url.replace("127.0.0.1", "localhost"),
            store_port=0,
            http_port=0,
            flush_interval_seconds=0.3,
            **settings,
        )
    )
    started = threading.Event()
    thread = threading.Thread(target=daemon.run, kwargs={"started": started.set})
    thread.start()
    try:
        assert started.wait(30)
        yield connections
    finally:
        with connect(data_dir, scope="write", embedded=False) as store:
            store.action("stop")
        thread.join(60)
        connections += simulation.connections()[earlier:]
    assert not thread.is_alive()


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of a process can grow, as on a disk without room."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
