"""Sockets on loopback: subscriptions, refusals, silence, losses and renewals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from orderflow_streaming.exchanges.protocol import Topic
from orderflow_streaming.reading import connection as connections
from orderflow_streaming.reading import session as sessions
from orderflow_streaming.reading.connection import Connection, reconnect_delay
from orderflow_streaming.reading.inbox import Inbox, Pending
from orderflow_streaming.reading.session import UNPLACED
from orderflow_streaming.reading.subscription import Remedy, State, Subscription
from orderflow_streaming.recordings.journal import Journal
from tests.streaming.venue import QuickBinance, Venue, quote, until

TICK_S = 0.02


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "reconnect_delay", lambda failures: 0.01)
    monkeypatch.setattr(sessions, "_CLOSE_TIMEOUT_S", 0.1)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(Journal(tmp_path))
    yield inbox
    inbox.close()


@asynccontextmanager
async def connected(
    venue: Venue, inbox: Inbox, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
) -> AsyncIterator[Connection]:
    connection = Connection(
        QuickBinance(), venue.socket(symbols), inbox, interrupted=_interruptions.append_call, tick_s=TICK_S
    )
    _interruptions.clear()
    task = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


class _Interruptions(list):
    def append_call(self, connection: Connection, subscription: Subscription, lost_us: int, back_us: int) -> None:
        self.append((subscription.topic.name, lost_us, back_us))


_interruptions = _Interruptions()


def states(connection: Connection) -> dict[str, State]:
    return {name: subscription.state for name, subscription in connection.subscriptions.items()}


def received(inbox: Inbox, channel: str = "bookTicker") -> list[bytes]:
    return inbox.pending("binance_futures", channel).raw


async def test_frames_reach_the_inbox_whole_in_order_and_stamped(inbox: Inbox) -> None:
    before = time.time_ns() // 1000
    frames = [quote(symbol, update) for update in range(50) for symbol in ("BTCUSDT", "ETHUSDT")]
    async with Venue().serving() as venue, connected(venue, inbox) as connection:
        await until(lambda: set(states(connection).values()) == {State.ACTIVE})
        await venue.send(*frames)
        await until(lambda: len(received(inbox)) == 100)
        assert received(inbox) == frames
        times = inbox.pending("binance_futures", "bookTicker").received
        assert before <= times[0]
        assert times == sorted(times)
        assert times[-1] <= time.time_ns() // 1000
        assert connection.subscriptions["btcusdt@bookTicker"].messages == 50
        assert connection.subscriptions["btcusdt@bookTicker"].last_us == times[-2]


async def test_topics_are_asked_for_in_requests_of_the_allowed_size(inbox: Inbox) -> None:
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ARUSDT")
    async with Venue().serving() as venue, connected(venue, inbox, symbols) as connection:
        await until(lambda: set(states(connection).values()) == {State.ACTIVE})
        assert [len(request["params"]) for request in venue.requests] == [4, 1]
        assert len({request["id"] for request in venue.requests}) == 2


async def test_a_refused_topic_is_recorded_and_its_neighbours_are_kept(inbox: Inbox) -> None:
    venue = Venue()
    venue.refuse = {"ethusdt@bookTicker"}
    async with venue.serving(), connected(venue, inbox, ("BTCUSDT", "ETHUSDT", "SOLUSDT")) as connection:
        await until(lambda: connection.subscriptions["ethusdt@bookTicker"].state is State.REFUSED)
        await until(lambda: list(states(connection).values()).count(State.ACTIVE) == 2)
        assert connection.subscriptions["ethusdt@bookTicker"].reason == "2: no such"
        assert venue.connections == 1


async def test_a_refused_topic_is_asked_for_again_later(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderflow_streaming.reading.subscription.FIRST_RETRY_S", 0.1)
    venue = Venue()
    venue.refuse = {"ethusdt@bookTicker"}
    async with venue.serving(), connected(venue, inbox) as connection:
        await until(lambda: connection.subscriptions["ethusdt@bookTicker"].state is State.REFUSED)
        venue.refuse.clear()
        await until(lambda: connection.subscriptions["ethusdt@bookTicker"].state is State.ACTIVE)


async def test_a_lost_connection_is_opened_again_and_the_hole_is_told(inbox: Inbox) -> None:
    async with Venue().serving() as venue, connected(venue, inbox) as connection:
        await until(lambda: State.ASKED not in states(connection).values())
        await venue.send(quote("BTCUSDT", 1))
        await until(lambda: len(received(inbox)) == 1)
        await venue.drop()
        await until(lambda: venue.connections == 2 and State.ASKED not in states(connection).values())
        assert _interruptions == []
        await venue.send(quote("BTCUSDT", 2), quote("ETHUSDT", 3), quote("BTCUSDT", 4))
        await until(lambda: len(received(inbox)) == 4)
        first, second, *_ = inbox.pending("binance_futures", "bookTicker").received
        assert _interruptions == [("btcusdt@bookTicker", first, second)]
        assert connection.losses == 1
        assert connection.connected


async def test_a_venue_that_is_not_there_is_tried_until_it_is(inbox: Inbox) -> None:
    venue = Venue()
    async with venue.serving():
        pass
    async with connected(venue, inbox) as connection:
        await until(lambda: connection.failures >= 3)
        assert not connection.connected
        assert connection.losses == 0
        async with venue.serving():
            await until(lambda: set(states(connection).values()) == {State.ACTIVE})


async def test_a_stalled_connection_is_asked_again_and_then_given_up(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "ANSWER_TIMEOUT_S", 0.3)
    async with Venue().serving() as venue, connected(venue, inbox) as connection:
        await until(lambda: State.ASKED not in states(connection).values())
        await venue.send(quote("BTCUSDT", 1), quote("ETHUSDT", 1))
        venue.answers = False
        await until(lambda: venue.connections == 2)
        assert [request["method"] for request in venue.requests[:3]] == ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]
        assert "no answer" in connection.last_error


async def test_one_silent_topic_ends_neither_its_neighbours_nor_the_connection_for_ever(inbox: Inbox) -> None:
    async with Venue().serving() as venue, connected(venue, inbox) as connection:

        async def keep_sending() -> None:
            for update in range(10_000):
                await venue.send(quote("BTCUSDT", update))
                await asyncio.sleep(0.02)

        sender = asyncio.create_task(keep_sending())
        await until(lambda: connection.subscriptions["ethusdt@bookTicker"].state is State.SILENT)
        assert venue.connections == 2
        assert connection.subscriptions["btcusdt@bookTicker"].state is State.ACTIVE
        await asyncio.sleep(0.6)
        assert venue.connections == 2
        await venue.send(quote("ETHUSDT", 1))
        await until(lambda: connection.subscriptions["ethusdt@bookTicker"].state is State.ACTIVE)
        sender.cancel()


@pytest.mark.parametrize("frame", [b"{", b"\xff\xfe", b"[]", b"null", b'{"stream":"what@ever","data":{}}', b""])
async def test_what_nobody_understands_is_kept_and_reading_goes_on(inbox: Inbox, frame: bytes) -> None:
    async with Venue().serving() as venue, connected(venue, inbox) as connection:
        await until(lambda: State.ASKED not in states(connection).values())
        (server,) = venue.open
        await server.send(frame, text=False)
        await venue.send(quote("BTCUSDT", 1))
        await until(lambda: received(inbox) == [quote("BTCUSDT", 1)])
        assert received(inbox, UNPLACED) == [frame]
        assert venue.connections == 1


async def test_a_malformed_frame_of_a_known_topic_goes_where_its_topic_goes(inbox: Inbox) -> None:
    torn = quote("BTCUSDT", 1)[:-20]
    async with Venue().serving() as venue, connected(venue, inbox):
        await venue.subscribed.wait()
        await venue.send(torn)
        await until(lambda: received(inbox) == [torn])


@pytest.mark.parametrize("why", ["lifetime", "shutdown"])
async def test_a_renewed_connection_overlaps_the_old_one_and_loses_nothing(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "lifetime":
        monkeypatch.setattr(QuickBinance, "limits", replace(QuickBinance.limits, connection_lifetime_h=0.5 / 3600))
    async with Venue().serving() as venue, connected(venue, inbox, ("BTCUSDT",)) as connection:
        await until(lambda: State.ASKED not in states(connection).values())
        update = 0
        if why == "shutdown":
            await venue.send(b'{"e":"serverShutdown","E":1}')
        while venue.connections < 2 or len(venue.open) > 1:
            update += 1
            await venue.send(quote("BTCUSDT", update))
            await asyncio.sleep(0.005)
        await venue.send(quote("BTCUSDT", update + 1))
        await until(lambda: quote("BTCUSDT", update + 1) in received(inbox))
        assert sorted(received(inbox)) == sorted(quote("BTCUSDT", number) for number in range(1, update + 2))
        assert connection.losses == 0
        assert _interruptions == []


async def test_reading_waits_while_the_inbox_is_full(inbox: Inbox) -> None:
    async with Venue().serving() as venue, connected(venue, inbox) as connection:
        await until(lambda: State.ASKED not in states(connection).values())
        inbox.open.clear()
        await venue.send(quote("BTCUSDT", 1), quote("BTCUSDT", 2), quote("BTCUSDT", 3))
        await until(lambda: len(received(inbox)) == 1)
        await asyncio.sleep(0.05)
        assert len(received(inbox)) == 1
        inbox.open.set()
        await until(lambda: len(received(inbox)) == 3)


def test_reconnect_delays_grow_to_a_minute_and_are_spread() -> None:
    longest = [max(reconnect_delay(failures) for _ in range(2_000)) for failures in range(10)]
    for delay, limit in zip(longest, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True):
        assert 0.9 * limit < delay <= limit
    assert min(reconnect_delay(9) for _ in range(2_000)) < 3


def _subscription(stale_after_s: float | None) -> Subscription:
    return Subscription(
        Topic("btcusdt@bookTicker", "bookTicker", "BTCUSDT", ("prices",), stale_after_s), Pending("m", "c", False)
    )


def test_silence_is_met_with_asking_again_then_a_new_connection_then_patience() -> None:
    subscription = _subscription(10)
    subscription.asked(0)
    subscription.acknowledged()
    assert subscription.check(9.9) is Remedy.NONE
    assert subscription.check(10) is Remedy.RESUBSCRIBE
    subscription.asked(10)
    assert subscription.check(19) is Remedy.NONE
    assert subscription.check(20) is Remedy.RECONNECT
    subscription.asked(25)
    assert subscription.check(34) is Remedy.NONE
    assert subscription.check(35) is Remedy.NONE
    assert subscription.state is State.SILENT
    assert subscription.check(64) is Remedy.NONE
    assert subscription.check(96) is Remedy.ASK
    subscription.acknowledged()
    assert subscription.state is State.SILENT
    subscription.messages += 1
    assert subscription.check(97) is Remedy.NONE
    assert subscription.state is State.ACTIVE
    assert subscription.check(107) is Remedy.RESUBSCRIBE


def test_silence_of_a_quiet_stream_is_normal() -> None:
    subscription = _subscription(None)
    subscription.asked(0)
    assert subscription.check(1e6) is Remedy.NONE


def test_refusals_are_retried_ever_more_rarely_up_to_an_hour() -> None:
    subscription = _subscription(10)
    subscription.refused("no such topic", 0)
    waits, now, last = [], 0.0, 0.0
    while len(waits) < 9:
        now += 1
        if subscription.check(now) is Remedy.ASK:
            waits.append(now - last)
            last = now
            subscription.refused("no such topic", now)
    for wait, longest in zip(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600], strict=True):
        assert longest / 2 <= wait <= longest + 1
