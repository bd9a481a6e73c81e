"""Markets side by side: one that fails or cannot be reached costs the others nothing."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exchanges.protocol import Endpoints
from orderflow_streaming.reading import collector as collecting
from orderflow_streaming.reading import market_reader
from orderflow_streaming.reading.collector import Collector, NoMarketReachedError, StoreBrokenError
from orderflow_streaming.reading.market_reader import MarketReader
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.settings import Settings
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.watching import web
from orderflow_streaming.writing.writer import Writer
from tests.streaming.venue import Venue, until

REACHED, OTHER = "binance_futures", "bybit_spot"


class Parts:
    """A collector over a real store; its markets are at the addresses that tests choose."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.engine = Engine(folder / "o.duckdb", memory_limit="256MB")
        journal = Journal(folder / "journal")
        self.writer = Writer(self.engine, journal)
        self.settings = Settings(data_dir=folder, symbols=("BTCUSDT",), **settings)
        self.collector = Collector(self.settings, self.engine, journal, self.writer)
        self.writer.start()

    def close(self) -> None:
        self.writer.stop()
        self.engine.close()


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Parts]]:
    monkeypatch.setattr(collecting, "SAMPLE_S", 0.02)
    built: list[Parts] = []

    def make(**settings: Any) -> Parts:
        built.append(Parts(tmp_path, **settings))
        return built[-1]

    yield make
    for parts in built:
        parts.close()


def at(monkeypatch: pytest.MonkeyPatch, market: str, url: str) -> None:
    """Have a market's sockets and REST at ``ws://…`` of a test's venue."""
    protocol = exchange(market)
    rest = url.replace("ws://", "http://")
    endpoints = Endpoints(dict.fromkeys(protocol.endpoints.sockets, url), rest)
    monkeypatch.setattr(type(protocol), "endpoints", endpoints)


async def test_no_market_reached_means_none_of_them(
    build: Callable[..., Parts], monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(collecting, "UNREACHABLE_AFTER_S", 0.3)
    nowhere = f"ws://127.0.0.1:{unused_tcp_port}"
    at(monkeypatch, OTHER, nowhere)
    async with Venue().serving() as venue:
        at(monkeypatch, REACHED, f"ws://127.0.0.1:{venue.port}")
        parts = build(markets=(REACHED, OTHER))
        task = asyncio.create_task(parts.collector.run())
        await until(lambda: any(connection.sessions for connection in parts.collector.connections))
        await until(lambda: parts.collector.health.uptime_s > 0.5)
        assert not task.done()
        down = [one.message for one in parts.collector.health.conditions() if one.source == OTHER]
        assert len(down) >= 1
        parts.collector.stopped.set()
        await task


async def test_where_no_market_is_reached_the_reasons_are_told(
    build: Callable[..., Parts], monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(collecting, "UNREACHABLE_AFTER_S", 0.3)
    for market in (REACHED, OTHER):
        at(monkeypatch, market, f"ws://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(NoMarketReachedError, match=f"{REACHED} .*{OTHER} "):
        await build(markets=(REACHED, OTHER)).collector.run()


async def test_without_markets_the_collector_waits_for_some(
    build: Callable[..., Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "UNREACHABLE_AFTER_S", 0.05)
    parts = build(markets=())
    task = asyncio.create_task(parts.collector.run())
    await until(lambda: parts.collector.health.uptime_s > 0.3)
    assert not task.done()
    parts.collector.stopped.set()
    await task


async def test_an_error_nobody_foresaw_ends_one_market_for_a_while_and_no_other(
    build: Callable[..., Parts], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(market_reader, "FIRST_RESTART_S", 0.05)
    real, failing = MarketReader._discover, asyncio.Event()

    async def discover(reader: MarketReader) -> bool:
        if reader.plan.market == OTHER and not failing.is_set():
            raise RuntimeError("planted")
        return await real(reader)

    monkeypatch.setattr(MarketReader, "_discover", discover)
    async with Venue().serving() as venue:
        for market in (REACHED, OTHER):
            at(monkeypatch, market, f"ws://127.0.0.1:{venue.port}")
        parts = build(markets=(REACHED, OTHER))
        task = asyncio.create_task(parts.collector.run())
        readers = parts.collector.readers
        await until(lambda: parts.collector.readers.get(OTHER) and parts.collector.readers[OTHER].failure)
        readers = parts.collector.readers
        await until(lambda: any(connection.sessions for connection in readers[REACHED].connections))
        found = {one.key: one for one in parts.collector.health.conditions()}
        assert found[f"market failed {OTHER}"].message.endswith("planted")
        assert parts.collector.health.status()["status"] == "CRITICAL"
        failing.set()
        await until(lambda: not readers[OTHER].failure and readers[OTHER].connections)
        assert not task.done()
        parts.collector.stopped.set()
        await task
    assert "planted" in caplog.text


async def test_a_store_that_broke_ends_the_collection(
    build: Callable[..., Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = build(markets=())
    task = asyncio.create_task(parts.collector.run())
    parts.writer.broken = RuntimeError("invalidated")
    with pytest.raises(StoreBrokenError, match="invalidated"):
        await asyncio.wait_for(task, 10)


@pytest.mark.parametrize(("broken", "stopping", "code"), [(False, False, 200), (True, False, 503), (False, True, 503)])
async def test_health_over_http_is_503_when_critical_or_stopping(
    build: Callable[..., Parts], broken: bool, stopping: bool, code: int
) -> None:
    parts = build(markets=())
    parts.writer.broken = RuntimeError("invalidated") if broken else None
    parts.collector.health.stopping = stopping
    listener = web.listening("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/health"

    def get() -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    async with web.serving(listener, parts.collector.health.status):
        status, body = await asyncio.to_thread(get)
    assert status == code
    assert (body["status"] == "CRITICAL") == broken
    assert (body["state"] == "STOPPING") == stopping
