"""The daemon against the simulated KuCoin on loopback: everything arrives, also through faults and renewals."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.reading.connection import Connection
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.rest import RestClient
from orderflow_streaming.reading.session import UNPLACED
from orderflow_streaming.reading.subscription import State
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.simulator.dialects.kucoin.frames import TRADE_STEP
from orderflow_streaming.simulator.dialects.kucoin.spot import KucoinSpot
from tests.streaming.processes import Daemon, Simulation, running, wait_for
from tests.streaming.test_simulator_server import Venue
from tests.streaming.test_simulator_server import running as simulating
from tests.streaming.test_simulator_server import until as until_served
from tests.streaming.venue import until

pytestmark = pytest.mark.slow

SYMBOLS = ("BTCUSDT", "ETHUSDT")
SPOT, FUTURES = "kucoin_spot", "kucoin_futures"
REFUSED = "/market/snapshot:ETH-USDT"


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    flags = ("--market", SPOT, "--market", FUTURES, "--symbols", ",".join(SYMBOLS), "--activity", 8)
    refusal = ("--fault", f"refuse,topic={REFUSED},count=2")
    with running(Simulation(tmp_path_factory.mktemp("simulation"), *flags, *refusal)) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def collecting(tmp_path_factory: pytest.TempPathFactory, simulation: Simulation) -> Iterator[Daemon]:
    flags = ("--markets", f"{SPOT},{FUTURES}", "--symbols", ",".join(SYMBOLS))
    with running(Daemon(tmp_path_factory.mktemp("collecting"), simulation, *flags)) as collecting:
        wait_for(lambda: collecting.count("ethusdt_kucoin_futures_trades") > 10, what="trades")
        yield collecting


def sockets(collecting: Daemon) -> dict[str, dict[str, Any]]:
    return {part["market"]: part for part in collecting.status()["sockets"]}


def test_every_table_fills_and_only_the_refused_topic_is_missing(collecting: Daemon) -> None:
    missing = f"ethusdt_{SPOT}_ticker_24h"
    for market in (SPOT, FUTURES):
        for stream in MARKETS[market].streams:
            for symbol in SYMBOLS:
                table = f"{symbol.lower()}_{market}_{stream}"
                if table != missing:
                    wait_for(lambda table=table: collecting.count(table), what=table)
    status = collecting.status()
    assert collecting.count(missing) == 0
    assert json.dumps(status).count("is not found") > 0, "the refusal is told in the words of the venue"
    assert status["active_connections"] == 2
    for stream in status["streams"]:
        assert stream["rejected"] == stream["gaps"] == 0, stream


def test_quantities_are_base_coin_and_a_settlement_is_known(collecting: Daemon) -> None:
    with collecting.store() as store:
        lots = store.query(
            f"SELECT bool_and(abs(quantity - raw_quantity * 0.001) < 1e-12) AS whole FROM btcusdt_{FUTURES}_trades"
        )
        rates = store.query(
            "SELECT count(*) FILTER (next_funding_time > timestamp) AS told, count(*) AS n "
            f"FROM btcusdt_{FUTURES}_funding_rates"
        ).to_pylist()[0]
    assert lots["whole"].to_pylist() == [True]
    assert 1 <= rates["told"] <= rates["n"] < 20, "only changes are stored"


def test_faults_are_noticed_counted_and_survived(simulation: Simulation, collecting: Daemon) -> None:
    quotes, trades = "/market/ticker:BTC-USDT", "/contractMarket/execution:ETHUSDTM"
    simulation.fault(fault="duplicate", topic=quotes, count=5)
    simulation.fault(fault="malformed", topic=trades, count=2, kind="truncated")
    simulation.fault(fault="malformed", topic="/contractMarket/tickerV2:ETHUSDTM", count=2, kind="types")
    simulation.fault(fault="skip", topic="/market/match:BTC-USDT", count=3)

    def played(fault: str, topic: str) -> list[int]:
        return [key for key, what, _ in simulation.sent(topic, collecting.connections) if what == fault]

    wait_for(lambda: len(played("duplicate", quotes)) == 5 and len(played("malformed", trades)) == 2)
    wait_for(lambda: len(played("skip", "/market/match:BTC-USDT")) == 3)
    wait_for(lambda: collecting.count("ops.quarantine") == 4, what="four frames in quarantine")
    simulation.fault(fault="stall", seconds=0.5, market=SPOT)
    before = {market: part["reconnects"] for market, part in sockets(collecting).items()}
    simulation.fault(fault="drop")
    wait_for(
        lambda: all(part["reconnects"] > before[market] for market, part in sockets(collecting).items()),
        what="reconnects",
    )
    wait_for(lambda: collecting.status()["active_connections"] == 2, what="both connections")
    rows = collecting.count(f"ethusdt_{FUTURES}_trades")
    wait_for(lambda: collecting.count(f"ethusdt_{FUTURES}_trades") > rows + 10, what="trades after the drop")
    broken = set(played("malformed", trades))
    wait_for(
        lambda: _holes(collecting, "ETHUSDT", FUTURES) <= broken,
        what="the trades of the outage, or that the latest hundred the venue offers do not reach back to them",
    )
    status = {(one["market"], one["stream"]): one for one in collecting.status()["streams"]}
    assert status[SPOT, "prices"]["duplicates"] >= 5
    with collecting.store() as store:
        twice = store.query(
            "SELECT count(*) AS n FROM trades GROUP BY symbol, market_type, trade_id HAVING count(*) > 1 "
            "UNION ALL SELECT count(*) FROM prices "
            "GROUP BY symbol, market_type, source_seq, timestamp HAVING count(*) > 1"
        )
    assert twice.num_rows == 0


def _holes(collecting: Daemon, symbol: str, market: str) -> set[int]:
    """Numbers of trades missing between those stored, where no gap says that the venue does not offer them any more."""
    venue = MARKETS[market]
    with collecting.store() as store:
        pairs = store.query(
            "WITH stored AS ("
            "  SELECT trade_id::BIGINT AS one, lead(one) OVER (ORDER BY one) AS other,"
            "    received_at AS since, lead(received_at) OVER (ORDER BY one) AS until"
            f"  FROM {symbol.lower()}_{market}_trades) "
            f"SELECT one, other FROM stored WHERE other > one + {TRADE_STEP} AND NOT EXISTS ("
            "  SELECT 1 FROM ops.gaps AS gap WHERE gap.stream = 'trades' AND given_up_at IS NOT NULL"
            f"    AND symbol = '{symbol}' AND exchange = '{venue.exchange}' AND market_type = '{venue.market_type}'"
            "    AND gap.started_at <= stored.until AND gap.ended_at >= stored.since)"
        ).to_pylist()
    return {number for pair in pairs for number in range(pair["one"] + TRADE_STEP, pair["other"], TRADE_STEP)}


def test_the_simulator_lets_no_socket_in_without_its_token(simulation: Simulation) -> None:
    def handshake(token: str) -> int:
        request = urllib.request.Request(f"{simulation.url}/{SPOT}/endpoint?token={token}&connectId=x")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        return refused.value.code

    assert handshake("") == 401
    assert handshake("1.abc") == 401


async def test_a_client_that_does_not_ping_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KucoinSpot, "pong_seconds", 3.0)
    venue = exchange(SPOT)
    assert venue.heartbeat.payload is not None
    async with simulating(markets=(SPOT,), symbols=SYMBOLS) as world, aiohttp.ClientSession() as session:
        endpoints = venue.simulated(world.http)
        (socket,) = venue.sockets(["BTCUSDT"], ["trades"], endpoints)
        async with session.post(f"{endpoints.rest}/api/v1/bullet-public") as answer:
            address = venue.address(socket, await answer.json())
        async with session.ws_connect(address.url) as silent, session.ws_connect(address.url) as pinging:
            assert (await silent.receive_json())["type"] == "welcome"
            async with asyncio.timeout(60):
                while not silent.closed:
                    await pinging.send_bytes(venue.heartbeat.payload())
                    with suppress(TimeoutError):
                        await silent.receive(timeout=0.1)
            assert not pinging.closed
            kinds = {(await pinging.receive_json(timeout=10))["type"] for _ in range(3)}
            assert kinds == {"welcome", "pong"}


async def alone(world: Venue) -> bool:
    return len((await world.status())["connections"]) == 1


async def test_a_renewal_asks_for_another_token_and_loses_nothing(tmp_path: Path) -> None:
    venue = exchange(FUTURES)
    topic = "/contractMarket/tickerV2:XBTUSDTM"
    async with (
        simulating(markets=(FUTURES,), symbols=SYMBOLS, speed=1.0, activity=4.0, log=tmp_path / "sent.tsv") as world,
        aiohttp.ClientSession() as session,
    ):
        endpoints = venue.simulated(world.http)
        client = RestClient(session, endpoints.rest, venue.limits)
        answers: list[bytes] = []

        async def ticket() -> bytes:
            request = venue.ticket()
            assert request is not None
            answers.append(await client.ask(request))
            return answers[-1]

        inbox = Inbox(Journal(tmp_path / "journal"))
        (socket,) = venue.sockets(["BTCUSDT"], ["prices", "mark_prices"], endpoints)
        connection = Connection(venue, socket, inbox, ticket=ticket, tick_s=0.02)
        task = asyncio.create_task(connection.run())
        try:
            quotes = connection.subscriptions[topic]
            await until(lambda: quotes.state is State.ACTIVE and quotes.messages > 5)
            connection.renew()
            await until(lambda: connection.sessions == 2)
            await until_served(lambda: alone(world))
            messages = quotes.messages
            await until(lambda: quotes.messages > messages + 5)
        finally:
            task.cancel()
            await asyncio.wait({task})
        world.simulator.log.flush()
        raw = inbox.pending(FUTURES, "tickerV2").raw
        numbers = [json.loads(frame)["sn"] for frame in raw]
        assert len(answers) == len(set(answers)) == 2
        assert connection.losses == 0
        assert inbox.pending(FUTURES, UNPLACED).raw == []
        inbox.close()
    lines = [line.split("\t") for line in (tmp_path / "sent.tsv").read_text().splitlines()]
    pushed = sorted({int(key) for _, name, _, key, _ in lines if name == topic})
    seen = sorted(set(numbers))
    assert seen == [number for number in pushed if seen[0] <= number <= seen[-1]]
