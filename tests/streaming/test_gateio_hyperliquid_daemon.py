"""The daemon against the simulated Gate.io and Hyperliquid on loopback: everything arrives, also through faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orderflow_streaming.exchanges.gateio.futures import GateioFutures
from orderflow_streaming.exchanges.hyperliquid.futures import HyperliquidFutures
from orderflow_streaming.exchanges.protocol import Endpoints, Heartbeat, Socket, Topic
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.reading import connection as connections
from orderflow_streaming.reading.connection import Connection
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.subscription import State
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.simulator.dialects.gateio.futures import GateioFutures as GateioDialect
from orderflow_streaming.simulator.dialects.hyperliquid.frames import trade_id, trade_number
from tests.streaming.processes import Daemon, Simulation, running, wait_for
from tests.streaming.test_simulator_server import running as simulating
from tests.streaming.venue import until

pytestmark = pytest.mark.slow

SYMBOLS = ("BTCUSDT", "ETHUSDT")
GATE, HYPERLIQUID = "gateio_futures", "hyperliquid_futures"
QUOTES = {GATE: "futures.book_ticker.BTC_USDT", HYPERLIQUID: "bbo.BTC"}
REFUSED = {GATE: "futures.tickers.ETH_USDT", HYPERLIQUID: "candle.ETH.1m"}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    flags = ("--market", GATE, "--market", HYPERLIQUID, "--symbols", ",".join(SYMBOLS), "--activity", 8)
    with running(Simulation(tmp_path_factory.mktemp("simulation"), *flags)) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def collecting(tmp_path_factory: pytest.TempPathFactory, simulation: Simulation) -> Iterator[Daemon]:
    flags = ("--markets", f"{GATE},{HYPERLIQUID}", "--symbols", ",".join(SYMBOLS))
    with running(Daemon(tmp_path_factory.mktemp("collecting"), simulation, *flags)) as collecting:
        yield collecting


def test_every_table_fills(collecting: Daemon) -> None:
    for market in (GATE, HYPERLIQUID):
        for stream in MARKETS[market].streams:
            for symbol in SYMBOLS if stream != "liquidations" else ():
                table = f"{symbol.lower()}_{market}_{stream}"
                wait_for(lambda table=table: collecting.count(table), what=table)
    status = collecting.status()
    assert status["active_connections"] == 2
    for stream in status["streams"]:
        assert stream["rejected"] == stream["gaps"] == 0, stream


def test_quantities_are_base_coin_and_rates_are_stored_when_they_change(collecting: Daemon) -> None:
    with collecting.store() as store:
        sizes = store.query(
            f"SELECT bool_and(abs(quantity - raw_quantity * 0.01) < 1e-9) AS whole FROM ethusdt_{GATE}_trades"
        )
        rates = {
            market: store.query(
                "SELECT count(*) AS n, bool_and(next_funding_time > timestamp) AS ahead, "
                f"any_value(funding_interval_hours) AS h FROM btcusdt_{market}_funding_rates"
            ).to_pylist()[0]
            for market in (GATE, HYPERLIQUID)
        }
        bars = store.query(f"SELECT count(*) FILTER (is_closed IS NULL) AS open FROM btcusdt_{HYPERLIQUID}_candles")
    assert sizes["whole"].to_pylist() == [True]
    assert [rates[market]["h"] for market in rates] == [8.0, 1.0]
    assert all(rate["ahead"] and 1 <= rate["n"] < 20 for rate in rates.values())
    assert bars["open"].to_pylist()[0] <= 1


@pytest.mark.parametrize("market", [GATE, HYPERLIQUID])
def test_faults_are_noticed_counted_and_survived(simulation: Simulation, collecting: Daemon, market: str) -> None:
    def socket() -> dict[str, Any]:
        return next(part for part in collecting.status()["sockets"] if part["market"] == market)

    def played(fault: str, topic: str) -> list[int]:
        return [key for key, what, _ in simulation.sent(topic, collecting.connections) if what == fault]

    def stream(name: str) -> dict[str, Any]:
        return next(one for one in collecting.status()["streams"] if (one["market"], one["stream"]) == (market, name))

    quarantined = collecting.count("ops.quarantine")
    simulation.fault(fault="duplicate", topic=QUOTES[market], count=5, market=market)
    simulation.fault(fault="malformed", topic=QUOTES[market], count=2, kind="truncated", market=market)
    simulation.fault(fault="malformed", topic=QUOTES[market], count=1, kind="types", market=market)
    wait_for(lambda: len(played("duplicate", QUOTES[market])) == 5 and len(played("malformed", QUOTES[market])) == 3)
    wait_for(lambda: collecting.count("ops.quarantine") == quarantined + 3, what="three frames in quarantine")
    wait_for(lambda: stream("prices")["duplicates"] >= 5, what="the repetitions")

    before = socket()["reconnects"]
    simulation.fault(fault="refuse", topic=REFUSED[market], market=market)
    simulation.fault(fault="stall", seconds=0.5, market=market)
    simulation.fault(fault="drop", market=market)
    wait_for(lambda: socket()["reconnects"] > before, what="a new connection")
    table = f"btcusdt_{market}_trades"
    rows = collecting.count(table)
    wait_for(lambda: collecting.count(table) > rows + 20, what="trades after the drop")
    refused = f"ethusdt_{market}_{'candles' if market == HYPERLIQUID else 'mark_prices'}"
    newest = latest(collecting, refused)
    wait_for(lambda: latest(collecting, refused) > newest, what="news of the topic that was refused once")
    with collecting.store() as store:
        stored = store.query(f"SELECT trade_id::BIGINT AS id FROM {table}")["id"].to_pylist()
        twice = store.query(
            f"SELECT source_seq, timestamp FROM btcusdt_{market}_prices GROUP BY ALL HAVING count(*) > 1"
        )
    assert len(stored) == len(set(stored))
    assert twice.num_rows == 0
    if market == GATE:
        wait_for(lambda: not holes(collecting, market), what="the trades of the outage")
    else:
        with collecting.store() as store:
            gaps = store.query("SELECT * FROM ops.gaps WHERE exchange = 'hyperliquid' AND stream = 'trades'").num_rows
        assert gaps or not holes(collecting, market), "what thirty trades do not cover is written down"


def latest(collecting: Daemon, table: str) -> Any:
    """When a row of a table was received last."""
    with collecting.store() as store:
        return store.query(f"SELECT max(received_at) AS at FROM {table}")["at"][0].as_py()


def holes(collecting: Daemon, market: str) -> set[int]:
    """Trades that are missing between those stored, as the simulated market numbers them."""
    with collecting.store() as store:
        stored = store.query(f"SELECT trade_id::BIGINT AS id FROM btcusdt_{market}_trades")["id"].to_pylist()
    numbers = {trade_number(identity) if market == HYPERLIQUID else identity for identity in stored}
    return set(range(min(numbers), max(numbers))) - numbers


# -- books of changes, and topics that close a connection ---------------------------------------------------


class MergingGate(GateioFutures):
    """Gate.io with its books from either stream of changes."""

    def __init__(self, form: str) -> None:
        self.form = form

    def sockets(self, symbols: Sequence[str], streams: Sequence[str], endpoints: Endpoints) -> tuple[Socket, ...]:
        (socket,) = super().sockets(symbols, ["orderbooks"], endpoints)
        channel = ".".join(self.form.split(".")[:2])
        topics = [
            Topic(self.form.format(topic.name.split(".")[2]), channel, topic.symbol, ("orderbooks",), merged="book")
            for topic in socket.topics
        ]
        return (replace(socket, topics=tuple(topics)),)


class QuickHyperliquid(HyperliquidFutures):
    heartbeat = Heartbeat(interval_s=0.2, payload=HyperliquidFutures.heartbeat.payload, silent_after_s=5.0)


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    inbox = Inbox(Journal(tmp_path))
    yield inbox
    inbox.close()


@asynccontextmanager
async def kept(connection: Connection) -> AsyncIterator[Connection]:
    task = asyncio.create_task(connection.run())
    try:
        yield connection
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


async def test_a_lost_change_leads_to_a_new_snapshot_on_the_same_connection(inbox: Inbox) -> None:
    exchange = MergingGate("futures.obu.ob.{}.50")
    async with simulating(markets=(GATE,), symbols=SYMBOLS, speed=1.0) as world:
        (socket,) = exchange.sockets(["BTCUSDT"], ["orderbooks"], exchange.simulated(world.http))
        connection = Connection(exchange, socket, inbox, tick_s=0.05)
        async with kept(connection):
            merged = inbox.pending(GATE, "book").raw
            await until(lambda: len(merged) > 5)
            await world.fault(fault="skip", topic=socket.topics[0].name, count=1)
            subscription = connection.subscriptions[socket.topics[0].name]
            await until(lambda: subscription.resyncs == 1)
            held = len(merged)
            await until(lambda: len(merged) > held + 5)
            assert (connection.sessions, subscription.state) == (1, State.ACTIVE)
        books = [json.loads(frame)["data"] for frame in merged]
        assert [book["u"] for book in books] == sorted({book["u"] for book in books})
        assert all(float(book["b"][0][0]) < float(book["a"][0][0]) for book in books)
        assert all(len(book[side]) == 20 for book in books for side in "ba")


async def test_a_coin_the_venue_closes_upon_is_given_up_and_the_others_are_kept(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "reconnect_delay", lambda failures: 0.01)
    exchange = QuickHyperliquid()
    async with simulating(markets=(HYPERLIQUID,), symbols=SYMBOLS, speed=1.0) as world:
        (socket,) = exchange.sockets(["BTCUSDT", "ETHUSDT"], ["prices"], exchange.simulated(world.http))
        unknown = Topic("bbo.NOPE", "bbo", "NOPEUSDT", ("prices",))
        connection = Connection(exchange, replace(socket, topics=(unknown, *socket.topics)), inbox, tick_s=0.05)
        async with kept(connection):
            await until(lambda: connection.subscriptions["bbo.NOPE"].state is State.REFUSED)
            await until(lambda: len(inbox.pending(HYPERLIQUID, "bbo").raw) > 20)
            for name in ("bbo.BTC", "bbo.ETH"):
                assert connection.subscriptions[name].state is State.ACTIVE
            assert connection.sessions == 3


async def test_a_client_that_does_not_ping_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GateioDialect, "pong_seconds", 0.6)
    async with simulating(markets=(GATE,), symbols=SYMBOLS) as world, aiohttp.ClientSession() as session:
        address = GateioFutures().simulated(world.http).sockets["main"]
        async with session.ws_connect(address, autoping=False) as silent:
            assert (await asyncio.wait_for(silent.receive(), 10)).type is aiohttp.WSMsgType.CLOSE


def test_ids_of_trades_are_distinct_and_in_no_order() -> None:
    identities = [trade_id(number) for number in range(1_000)]
    assert [trade_number(identity) for identity in identities] == list(range(1_000))
    assert identities != sorted(identities)
