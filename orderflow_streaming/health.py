"""How the collection is doing: figures per market, socket and stream, and whether that is as it should be."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orderflow_streaming.connection import Connection
from orderflow_streaming.inbox import Inbox
from orderflow_streaming.journal import Journal
from orderflow_streaming.polls import Polled, Polls
from orderflow_streaming.settings import Settings
from orderflow_streaming.storing import Tally
from orderflow_streaming.subscription import State, Subscription
from orderflow_streaming.writer import Writer

SAMPLE_S = 5.0
WINDOW_S = 60.0
"""Rates are over so much of the past."""
GRACE_S = 120.0
"""A daemon younger than this may have few rows yet."""
FEWEST_ROWS_PER_MINUTE = 10
OLD_FLUSH_S = 60.0
VERY_OLD_FLUSH_S = 120.0
LEAST_DISK_BYTES = 1 << 30


class Rates:
    """Increase per minute of many totals, over the last minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[Hashable, int]]] = deque()

    def sample(self, totals: Mapping[Hashable, int], now: float) -> None:
        self._samples.append((now, dict(totals)))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_S:
            self._samples.popleft()

    def per_minute(self, key: Hashable) -> float:
        """0 before the second sample."""
        if len(self._samples) < 2:
            return 0.0
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after.get(key, 0) - before.get(key, 0)) * 60 / (end - start)


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
    unavailable: int = 0


class Health:
    """Reads the counters of the running parts; may be asked from any thread."""

    def __init__(
        self,
        settings: Settings,
        connections: Sequence[Connection],
        polls: Sequence[Polls],
        inbox: Inbox,
        journal: Journal,
        writer: Writer,
    ) -> None:
        self._settings, self._connections, self._polls = settings, connections, polls
        self._inbox, self._journal, self._writer = inbox, journal, writer
        self.unlisted: list[tuple[str, str]] = []
        """Markets and symbols that are wanted and that the venue does not list."""
        self._started_at, self._started = datetime.now(UTC), time.monotonic()
        self._rates = Rates()
        self.stopping = False

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._started

    def sample(self) -> None:
        """Take the totals that the rates are made of; to be called every few seconds."""
        totals: dict[Hashable, int] = {("stored", *key): tally.stored for key, tally in self._tallies()}
        totals |= {("messages", feed.market, feed.stream): feed.messages for feed in self._feeds().values()}
        totals["stored"] = self.rows_stored
        totals["frames"] = sum(self._all_messages())
        self._rates.sample(totals, time.monotonic())

    @property
    def rows_stored(self) -> int:
        return sum(tally.stored for _, tally in self._tallies())

    @property
    def reconnects(self) -> int:
        return sum(connection.losses for connection in self._connections)

    @property
    def rows_per_minute(self) -> float:
        return self._rates.per_minute("stored")

    @property
    def messages_per_second(self) -> float:
        return self._rates.per_minute("frames") / 60

    def status(self) -> dict[str, Any]:
        """Everything, as plain JSON values; ages in seconds, rates per minute, times in UTC."""
        issues = self.issues()
        streams = [self._stream(feed) for feed in self._feeds().values()]
        symbols = sorted({symbol for feed in self._feeds().values() for symbol in feed.symbols})
        exchanges = sorted({connection.exchange.market.exchange for connection in self._connections})
        totals = self._writer.totals
        return {
            "status": "DEGRADED" if issues else "HEALTHY",
            "state": "STOPPING" if self.stopping else "RUNNING",
            "issues": issues,
            "pid": os.getpid(),
            "start_time": self._started_at.isoformat(timespec="seconds"),
            "uptime_seconds": round(self.uptime_s, 1),
            "uptime_hours": round(self.uptime_s / 3600, 3),
            "active_symbols": symbols,
            "active_exchanges": exchanges,
            "active_connections": sum(connection.connected for connection in self._connections),
            "active_streams": {
                "symbols": len(symbols),
                "exchanges": len(exchanges),
                "total": sum(len(feed.symbols) for feed in self._feeds().values()),
            },
            "health": {
                "records_ingested": self.rows_stored,
                "records_per_minute": round(self.rows_per_minute, 1),
                "messages_per_second": round(self.messages_per_second, 1),
                "errors": totals.errors + self._inbox.sync_errors,
                "last_successful_ingest": _iso(totals.last_flush_at),
            },
            "writer": self._writing(),
            "sockets": [_socket(connection) for connection in self._connections],
            "streams": streams,
            "unavailable": list(self._unavailable()),
            "config": {
                "flush_interval_seconds": self._settings.flush_interval_seconds,
                "batch_size": self._settings.batch_size,
                "journal_sync_seconds": self._settings.journal_sync_seconds,
            },
        }

    def issues(self) -> list[str]:
        """What is not as it should be, worst first, each in a line; empty when all is well."""
        found: list[str] = []
        if self._writer.broken:
            found.append(f"the store is broken: {self._writer.broken}")
        age = self._flush_age_s()
        if self._writer.pending and age > OLD_FLUSH_S:
            level = "CRITICAL: " if age > VERY_OLD_FLUSH_S else ""
            found.append(f"{level}nothing was stored for {age:.0f} s, {self._writer.pending} frames wait")
        if self._writer.totals.last_error:
            found.append(f"the last flush failed: {self._writer.totals.last_error}")
        if not self._inbox.open.is_set():
            found.append("reading waits for the disk")
        found += [
            f"{market} {channel}: {count} frames dropped"
            for (market, channel), count in list(self._inbox.dropped.items())
        ]
        free = shutil.disk_usage(self._settings.data_dir).free
        if free < LEAST_DISK_BYTES:
            found.append(f"{free / 1e6:.0f} MB left on the disk of {self._settings.data_dir}")
        found += [
            f"{connection.name}: not connected ({connection.last_error or 'connecting'})"
            for connection in self._connections
            if not connection.connected
        ]
        found += [f"{entry['market']} {entry['topic']}: {entry['reason']}" for entry in self._unavailable(listed=True)]
        if self.uptime_s > GRACE_S and self.rows_per_minute < FEWEST_ROWS_PER_MINUTE:
            found.append(f"only {self.rows_per_minute:.0f} rows in the last minute")
        return found

    def line(self) -> str:
        """The whole in a line, for the log."""
        totals, connected = self._writer.totals, sum(connection.connected for connection in self._connections)
        lags = [tally.lag_ms[0] for _, tally in self._tallies() if tally.lag_ms]
        return (
            f"up {_duration(self.uptime_s)}, {connected}/{len(self._connections)} sockets, "
            f"{self.messages_per_second:,.0f} messages/s, {self.rows_per_minute:,.0f} rows/min, "
            f"{self.rows_stored:,} rows, {self._writer.pending:,} pending, "
            f"{totals.gaps.total()} gaps, {totals.rejected.total()} rejected, "
            f"lag {max(lags, default=0.0):,.0f} ms"
        )

    # -- parts -----------------------------------------------------------------------------------------

    def _sources(self) -> Iterator[tuple[str, Subscription | Polled, bool]]:
        """Every subscription and poll with its market and whether it can bring anything now."""
        for connection in self._connections:
            for subscription in connection.subscriptions.values():
                yield connection.exchange.market.name, subscription, connection.connected
        for polls in self._polls:
            for polled in polls.polled:
                yield polls.exchange.market.name, polled, not polled.failures

    def _all_messages(self) -> Iterator[int]:
        return (source.messages for _, source, _ in self._sources())

    def _feeds(self) -> dict[tuple[str, str], _Feed]:
        wanted = self._settings.stream_types
        feeds: dict[tuple[str, str], _Feed] = {}
        for market, source, connected in self._sources():
            of_topic = source.topic if isinstance(source, Subscription) else source.poll
            for stream in source.topic.streams if isinstance(source, Subscription) else source.streams:
                if wanted and stream not in wanted:
                    continue
                feed = feeds.setdefault((market, stream), _Feed(market, stream))
                feed.symbols.add(of_topic.symbol)
                feed.channels.add(of_topic.channel)
                feed.connected |= connected
                feed.messages += source.messages
                feed.last_us = max(feed.last_us, source.last_us)
                feed.unavailable += isinstance(source, Subscription) and not source.available
        return feeds

    def _stream(self, feed: _Feed) -> dict[str, Any]:
        totals = self._writer.totals
        tally = totals.tallies.get((feed.market, feed.stream)) or Tally()
        median, high = tally.lag_ms or (None, None)
        return {
            "market": feed.market,
            "stream": feed.stream,
            "symbols": len(feed.symbols),
            "connected": feed.connected,
            "last_message_age_s": round(time.time() - feed.last_us / 1e6, 3) if feed.last_us else None,
            "messages": feed.messages,
            "messages_per_min": round(self._rates.per_minute(("messages", feed.market, feed.stream)), 1),
            "rows_stored": tally.stored,
            "rows_per_min": round(self._rates.per_minute(("stored", feed.market, feed.stream)), 1),
            "updated": tally.updated,
            "duplicates": tally.duplicates,
            "unchanged": tally.unchanged,
            "gaps": totals.gaps[feed.market, feed.stream],
            "rejected": sum(totals.rejected[feed.market, channel] for channel in feed.channels),
            "dropped": sum(self._inbox.dropped[feed.market, channel] for channel in feed.channels),
            "lag_ms_p50": median,
            "lag_ms_p99": high,
            "unavailable": feed.unavailable,
        }

    def _unavailable(self, *, listed: bool = False) -> Iterator[dict[str, Any]]:
        """Topics that bring nothing, with the reason; ``listed`` leaves out what the venue does not list."""
        for market, source, _ in self._sources():
            if isinstance(source, Subscription) and not source.available:
                topic = source.topic
                yield _missing(market, topic.name, topic.symbol, topic.streams, source.state, source.reason)
            elif isinstance(source, Polled) and source.failures > 1:
                yield _missing(market, source.poll.path, source.poll.symbol, source.streams, "failing", source.reason)
        if not listed:
            for market, symbol in self.unlisted:
                yield _missing(market, "", symbol, (), "unlisted", "the venue does not list it")

    def _writing(self) -> dict[str, Any]:
        totals = self._writer.totals
        return {
            "total_records_collected": self.rows_stored,
            "pending_records": self._writer.pending,
            "unsynced_records": self._inbox.frames,
            "last_flush": _iso(totals.last_flush_at),
            "last_flush_seconds": round(totals.last_flush_s, 4),
            "flush_age_seconds": round(self._flush_age_s(), 1),
            "flushes": totals.flushes,
            "errors": totals.errors,
            "last_error": totals.last_error,
            "quarantined": totals.rejected.total(),
            "journal_bytes": self._journal.size(),
        }

    def _tallies(self) -> list[tuple[tuple[str, str], Tally]]:
        return list(self._writer.totals.tallies.items())

    def _flush_age_s(self) -> float:
        """Since the last flush that went through, or since the start."""
        last = self._writer.totals.last_flush_at
        return time.time() - last if last else self.uptime_s


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
        "last_error": connection.last_error,
    }


def _missing(market: str, topic: str, symbol: str, streams: Sequence[str], state: str, reason: str) -> dict[str, Any]:
    return {
        "market": market,
        "topic": topic,
        "symbol": symbol,
        "streams": list(streams),
        "state": str(state),
        "reason": reason,
    }


def _iso(unix: float | None) -> str | None:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds") if unix else None


def _duration(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}"
