"""The gathering loop takes many frames per wake-up and keeps its timers."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

from orderflow_streaming.reading.gathering import GatheringSelector

INTERVAL_S = 0.05


def run(main: object) -> object:
    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(GatheringSelector(INTERVAL_S))

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)  # type: ignore[arg-type]


def test_what_comes_between_two_looks_is_read_at_once() -> None:
    async def main() -> tuple[list[bytes], float]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        chunks: list[bytes] = []

        def send() -> None:
            for number in range(20):
                theirs.send(bytes([number]))
                time.sleep(INTERVAL_S / 20)
            theirs.close()

        sender, started = threading.Thread(target=send), time.monotonic()
        sender.start()
        while chunk := await reader.read(1 << 16):
            chunks.append(chunk)
        sender.join()
        writer.close()
        return chunks, time.monotonic() - started

    chunks, passed = run(main())  # type: ignore[misc]
    assert b"".join(chunks) == bytes(range(20))
    assert len(chunks) <= passed / INTERVAL_S + 2


def test_timers_and_calls_of_other_threads_are_served() -> None:
    async def main() -> tuple[float, list[int]]:
        loop, seen, done = asyncio.get_running_loop(), [], asyncio.Event()

        def finish() -> None:
            seen.append(1)
            done.set()

        started = time.monotonic()
        await asyncio.sleep(INTERVAL_S / 5)
        slept = time.monotonic() - started
        threading.Thread(target=lambda: loop.call_soon_threadsafe(finish)).start()
        await asyncio.wait_for(done.wait(), 5)
        return slept, seen

    slept, seen = run(main())  # type: ignore[misc]
    assert slept >= INTERVAL_S / 5
    assert seen == [1]
