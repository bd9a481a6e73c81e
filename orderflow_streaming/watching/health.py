"""How the collection is doing: figures per market, socket and stream, and whether that is as it should be."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from orderflow_streaming.markets import table_name
from orderflow_streaming.reading.connection import Connection
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.market_reader import MarketReader
from orderflow_streaming.reading.polls import Polled
from orderflow_streaming.reading.subscription import State, Subscription
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.settings import Settings
from orderflow_streaming.watching import coverage
from orderflow_streaming.watching.conditions import Condition, conditions, verdict
from orderflow_streaming.watching.rates import Rates
from orderflow_streaming.writing.storing import Tally, market_of
from orderflow_streaming.writing.writer import Writer

SAMPLE_S = 5.0


class Reading(Protocol):
    """What reads: its parts may be replaced while it runs."""

    @property
    def settings(self) -> Settings: ...
    @property
    def readers(self) -> Mapping[str, MarketReader]: ...
    @property
    def inbox(self) -> Inbox: ...


@dataclass(slots=True)
class _Feed:
    """One stream of one market, summed over its subscriptions and polls."""

    market: str
    stream: str
    symbols: set[str] = field(default_factory=set)
    channels: set[str] = field(default_factory=set)
    connected: bool = False
    messages: int = 0
    last_us: int = 0
    resyncs: int = 0
    reconnects: int = 0
    unavailable: int = 0
    refused: int = 0

    def add(self, source: Subscription | Polled, connection: Connection | None) -> None:
        self.messages += source.messages
        self.last_us = max(self.last_us, source.last_us)
        if isinstance(source, Polled):
            self.symbols.add(source.poll.symbol)
            self.channels.add(source.poll.channel)
            self.connected |= not source.failures
            return
        self.symbols.update(source.topic.symbols)
        self.channels |= {source.topic.channel, source.topic.merged}
        self.connected |= connection is not None and connection.connected
        self.resyncs += source.resyncs
        self.unavailable += not source.available
        self.refused += source.state is State.REFUSED


class Health:
    """Reads the counters of the running parts; may be asked from any thread."""

    def __init__(self, reading: Reading, journal: Journal, writer: Writer) -> None:
        self._reading, self._journal, self._writer = reading, journal, writer
        self._started_at, self._started = datetime.now(UTC), time.monotonic()
        self._rates = Rates()
        self._past_losses = 0
        self.stopping = False

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._started

    @property
    def rows_stored(self) -> int:
        return sum(tally.stored for _, tally in self._tallies())

    @property
    def reconnects(self) -> int:
        return self._past_losses + sum(reader.losses for reader in self._reading.readers.values())

    @property
    def connections(self) -> list[Connection]:
        return [connection for reader in self._reading.readers.values() for connection in reader.connections]

    def ended(self, reader: MarketReader) -> None:
        """A market is read no more; what it counted still counts."""
        self._past_losses += reader.losses

    def sample(self) -> None:
        """Take the totals that the rates are made of; to be called every few seconds."""
        totals: Counter[Hashable] = Counter({("stored", *key): tally.stored for key, tally in self._tallies()})
        for key, feed in self._feeds().items():
            totals["messages", *key] = feed.messages
            totals["resyncs", *key] = feed.resyncs
        written = self._writer.totals
        for key, count in list(written.gaps.items()):
            totals["gaps", *key] = count
        for kind, counts in (("rejected", written.rejected), ("dropped", self._reading.inbox.dropped)):
            for (market, _), count in list(counts.items()):
                totals[kind, market] += count
        totals["stored"] = self.rows_stored
        for market, source, _ in self._sources():
            totals["frames", market] += source.messages
        totals["errors"] = self._errors()
        self._rates.sample(totals, time.monotonic())

    def status(self) -> dict[str, Any]:
        """The figures and what they mean, as plain JSON values; ages in seconds, rates per minute, times in UTC."""
        figures = self.figures()
        found = conditions(figures)
        return {"status": verdict(found), "issues": [condition.message for condition in found], **figures}

    def conditions(self) -> list[Condition]:
        """What is not as it should be, worst first."""
        return conditions(self.figures())

    def figures(self) -> dict[str, Any]:
        """All figures, as plain JSON values."""
        feeds = self._feeds()
        streams = [self._stream(feed) for feed in feeds.values()]
        readers = self._reading.readers
        symbols = sorted({symbol for feed in feeds.values() for symbol in feed.symbols})
        exchanges = sorted({reader.plan.exchange.market.exchange for reader in readers.values()})
        settings, unavailable = self._reading.settings, list(self._unavailable())
        return {
            "state": "STOPPING" if self.stopping else "RUNNING",
            "pid": os.getpid(),
            "start_time": self._started_at.isoformat(timespec="seconds"),
            "uptime_seconds": round(self.uptime_s, 1),
            "uptime_hours": round(self.uptime_s / 3600, 3),
            "active_symbols": symbols,
            "active_exchanges": exchanges,
            "active_connections": sum(connection.connected for connection in self.connections),
            "active_streams": {
                "symbols": len(symbols),
                "exchanges": len(exchanges),
                "total": sum(len(feed.symbols) for feed in feeds.values()),
            },
            "health": {
                "records_ingested": self.rows_stored,
                "records_per_minute": round(self._rates.per_minute("stored"), 1),
                "messages_per_second": round(sum(map(self._messages_per_second, self._reading.readers)), 1),
                "errors": self._errors(),
                "errors_per_minute": round(self._rates.per_minute("errors"), 1),
                "last_successful_ingest": _iso(self._writer.totals.last_flush_at),
            },
            "writer": self._writing(),
            "journal": {
                "bytes": self._journal.size(),
                "waiting": not self._reading.inbox.open.is_set(),
                "errors": self._reading.inbox.sync_errors,
                "error": self._reading.inbox.last_error,
            },
            "disk": {"path": str(settings.data_dir), "free_bytes": shutil.disk_usage(settings.data_dir).free},
            "markets": [self._market(reader, streams) for reader in readers.values()],
            "sockets": [_socket(connection) for connection in self.connections],
            "streams": streams,
            "unavailable": unavailable,
            "tables": coverage.differences(readers, _tables(unavailable, State.REFUSED)),
            "config": {
                "flush_interval_seconds": settings.flush_interval_seconds,
                "batch_size": settings.batch_size,
                "journal_sync_seconds": settings.journal_sync_seconds,
                "symbols": list(settings.symbols),
                "markets": list(settings.markets),
                "stream_types": list(settings.stream_types),
            },
        }

    def line(self) -> str:
        """The whole in a line, for the log."""
        totals, connected = self._writer.totals, sum(connection.connected for connection in self.connections)
        lags = [tally.lag_ms[0] for _, tally in self._tallies() if tally.lag_ms]
        return (
            f"up {_duration(self.uptime_s)}, {connected}/{len(self.connections)} sockets, "
            f"{self._rates.per_minute('frames') / 60:,.0f} messages/s, "
            f"{self._rates.per_minute('stored'):,.0f} rows/min, "
            f"{self.rows_stored:,} rows, {self._writer.pending:,} pending, "
            f"{totals.gaps.total()} gaps, {totals.rejected.total()} rejected, "
            f"lag {max(lags, default=0.0):,.0f} ms"
        )

    # -- parts -----------------------------------------------------------------------------------------

    def _sources(self) -> Iterator[tuple[str, Subscription | Polled, Connection | None]]:
        """Every subscription with its connection, and every poll, with its market."""
        for market, reader in self._reading.readers.items():
            for connection in reader.connections:
                for subscription in connection.subscriptions.values():
                    yield market, subscription, connection
            for polled in reader.polls.polled:
                yield market, polled, None

    def _feeds(self) -> dict[tuple[str, str], _Feed]:
        wanted = self._reading.settings.stream_types
        feeds: dict[tuple[str, str], _Feed] = {}
        carriers: dict[tuple[str, str], set[Connection]] = {}
        for market, source, connection in self._sources():
            for stream in _streams(source):
                if not wanted or stream in wanted:
                    feeds.setdefault((market, stream), _Feed(market, stream)).add(source, connection)
                    if connection is not None:
                        carriers.setdefault((market, stream), set()).add(connection)
        for key, connections in carriers.items():
            feeds[key].reconnects = sum(connection.losses for connection in connections)
        return feeds

    def _messages_per_second(self, market: str) -> float:
        return self._rates.per_minute(("frames", market)) / 60

    def _stream(self, feed: _Feed) -> dict[str, Any]:
        totals, key = self._writer.totals, (feed.market, feed.stream)
        tally = totals.tallies.get(key) or Tally()
        median, high = tally.lag_ms or (None, None)
        return {
            "market": feed.market,
            "stream": feed.stream,
            "symbols": len(feed.symbols),
            "connected": feed.connected,
            "last_message_age_s": round(time.time() - feed.last_us / 1e6, 3) if feed.last_us else None,
            "messages": feed.messages,
            "messages_per_min": round(self._rates.per_minute(("messages", *key)), 1),
            "rows_stored": tally.stored,
            "rows_per_min": round(self._rates.per_minute(("stored", *key)), 1),
            "updated": tally.updated,
            "duplicates": tally.duplicates,
            "unchanged": tally.unchanged,
            "gaps": totals.gaps[key],
            "gaps_open": self._reading.readers[feed.market].refill.open.get(feed.stream, 0),
            "gaps_per_min": self._rates.gained(("gaps", *key)),
            "resyncs": feed.resyncs,
            "resyncs_per_min": self._rates.gained(("resyncs", *key)),
            "reconnects": feed.reconnects,
            "rejected": sum(totals.rejected[feed.market, channel] for channel in feed.channels),
            "dropped": sum(self._reading.inbox.dropped[feed.market, channel] for channel in feed.channels),
            "lag_ms_p50": median,
            "lag_ms_p99": high,
            "unavailable": feed.unavailable,
            "refused": feed.refused,
        }

    def _market(self, reader: MarketReader, streams: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        name, plan = reader.plan.market, reader.plan
        own = [stream for stream in streams if stream["market"] == name]
        filled = {
            table_name(identity[0], name, stream)
            for (stream, identity), rows in self._writer.storage.ledger.rows().items()
            if rows and market_of(identity) == name
        }
        return {
            "market": name,
            "sockets": len(reader.connections),
            "connected": sum(connection.connected for connection in reader.connections),
            "symbols": len(plan.symbols) - len(reader.unlisted),
            "tables": len(coverage.expected(plan)),
            "filled": len(filled & (coverage.expected(plan) | coverage.offered(reader))),
            "messages_per_min": round(sum(stream["messages_per_min"] for stream in own), 1),
            "rows_stored": sum(stream["rows_stored"] for stream in own),
            "rows_per_min": round(sum(stream["rows_per_min"] for stream in own), 1),
            "duplicates": sum(stream["duplicates"] for stream in own),
            "gaps": sum(stream["gaps"] for stream in own),
            "resyncs": sum(stream["resyncs"] for stream in own),
            "reconnects": reader.losses,
            "rejected": sum(_of_market(self._writer.totals.rejected, name)),
            "rejected_per_min": self._rates.gained(("rejected", name)),
            "dropped": sum(_of_market(self._reading.inbox.dropped, name)),
            "dropped_per_min": self._rates.gained(("dropped", name)),
            "refused": sum(stream["refused"] for stream in own),
            "rest_weight_used": reader.client.used_weight,
            "failure": reader.failure,
        }

    def _unavailable(self) -> Iterator[dict[str, Any]]:
        """Topics and polls that bring nothing and symbols the venue does not list, with the reason."""
        for market, source, _ in self._sources():
            if isinstance(source, Subscription) and not source.available:
                topic = source.topic
                for symbol in topic.symbols:
                    yield _missing(market, topic.name, symbol, topic.streams, source.state, source.reason)
            elif isinstance(source, Polled) and source.failures > 1:
                poll = source.poll
                yield _missing(
                    market, poll.path, poll.symbol, source.streams, "failing", source.reason, source.failures
                )
        for market, reader in self._reading.readers.items():
            for symbol in reader.unlisted:
                yield _missing(market, "", symbol, (), "unlisted", "the venue does not list it")

    def _writing(self) -> dict[str, Any]:
        totals = self._writer.totals
        return {
            "total_records_collected": self.rows_stored,
            "pending_records": self._writer.pending,
            "unsynced_records": self._reading.inbox.frames,
            "last_flush": _iso(totals.last_flush_at),
            "last_flush_seconds": round(totals.last_flush_s, 4),
            "flush_age_seconds": round(self._flush_age_s(), 1),
            "flushes": totals.flushes,
            "errors": totals.errors,
            "last_error": totals.last_error,
            "broken": str(self._writer.broken or ""),
            "quarantined": totals.rejected.total(),
        }

    def _errors(self) -> int:
        """Failures of any kind so far, of which each was dealt with."""
        failed = sum(source.failures for _, source, _ in self._sources() if isinstance(source, Polled))
        return self._writer.totals.errors + self._reading.inbox.sync_errors + self.reconnects + failed

    def _tallies(self) -> list[tuple[tuple[str, str], Tally]]:
        return list(self._writer.totals.tallies.items())

    def _flush_age_s(self) -> float:
        """Since the last flush that went through, or since the start."""
        last = self._writer.totals.last_flush_at
        return time.time() - last if last else self.uptime_s


def _streams(source: Subscription | Polled) -> Sequence[str]:
    return source.streams if isinstance(source, Polled) else source.topic.streams


def _socket(connection: Connection) -> dict[str, Any]:
    subscriptions = connection.subscriptions.values()
    return {
        "market": connection.exchange.market.name,
        "socket": connection.socket.name,
        "connected": connection.connected,
        "topics": len(subscriptions),
        "active": sum(subscription.state is State.ACTIVE for subscription in subscriptions),
        "connections": connection.sessions,
        "reconnects": connection.losses,
        "failures": connection.failures,
        "last_error": connection.last_error,
    }


def _missing(
    market: str, topic: str, symbol: str, streams: Sequence[str], state: str, reason: str, failures: int = 0
) -> dict[str, Any]:
    return {
        "market": market,
        "topic": topic,
        "symbol": symbol,
        "streams": list(streams),
        "state": str(state),
        "reason": reason,
        "failures": failures,
    }


def _tables(unavailable: Sequence[Mapping[str, Any]], state: str) -> set[str]:
    """Isolated names that the topics of a state would fill."""
    return {
        table_name(entry["symbol"], entry["market"], stream)
        for entry in unavailable
        if entry["state"] == state
        for stream in entry["streams"]
    }


def _of_market(counts: Mapping[tuple[str, str], int], market: str) -> list[int]:
    return [count for (name, _), count in list(counts.items()) if name == market]


def _iso(unix: float | None) -> str | None:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds") if unix else None


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}"
