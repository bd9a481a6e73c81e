"""The daemon and the simulator as processes of their own, as people run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from orderflow_streaming.store import Store, StoreError, connect

P = TypeVar("P", bound="Process")
COMMAND = [sys.executable, "-c", "from orderflow_streaming.cli import main; main()"]


def orderflow(
    *arguments: object, environment: dict[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run ``orderflow-stream`` to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=os.environ | (environment or {}),
        check=False,
    )


def wait_for(condition: Callable[[], Any], timeout_s: float = 60.0, what: str = "the condition") -> Any:
    """The first true value of ``condition()``."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true within {timeout_s:g} s")


class Process:
    """A running ``orderflow-stream`` whose output is kept in a file."""

    def __init__(self, output: Path, *arguments: object, environment: dict[str, str] | None = None) -> None:
        self._output = output
        with output.open("w") as file:
            self._process = subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | (environment or {}),
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self, pattern: str) -> re.Match[str]:
        """Wait until the output matches."""

        def look() -> re.Match[str] | None:
            if self._process.poll() is not None and not re.search(pattern, self.output):
                raise AssertionError(f"ended with {self._process.returncode}: {self.output}")
            return re.search(pattern, self.output)

        return wait_for(look, what=f"output {pattern!r}")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it ends by itself."""
        return self._process.wait(30)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(30)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(30)


class Simulation(Process):
    """A simulator that keeps a log of what it sent."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.log = folder / "sent.tsv"
        super().__init__(folder / "simulator.log", "simulate", "--port", 0, "--log", self.log, *arguments)
        self.url = self.said(r"http://127\.0\.0\.1:\d+")[0]

    def fault(self, **fault: object) -> None:
        request = urllib.request.Request(f"{self.url}/control", json.dumps(fault).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def sent(self, topic: str, connections: Collection[int] | None = None) -> list[tuple[int, str, int]]:
        """Key, fault and time (UTC microseconds) of the frames of a topic, in order."""
        with urllib.request.urlopen(f"{self.url}/control/status", timeout=10):
            lines = [line.split("\t") for line in self.log.read_text().splitlines()]
        return [
            (int(key), fault, int(when))
            for connection, name, when, key, fault in lines
            if name == topic and (connections is None or int(connection) in connections)
        ]

    def connections(self) -> list[int]:
        lines = [line.split("\t") for line in self.log.read_text().splitlines()]
        return [int(line[0]) for line in lines if line[1] == "-" and line[4].startswith("open")]


class Daemon(Process):
    def __init__(self, folder: Path, simulation: Simulation, *arguments: object) -> None:
        self.data_dir = folder / "data"
        self._simulation, self._earlier = simulation, len(simulation.connections())
        super().__init__(
            folder / "daemon.log",
            *("run", "--data-dir", self.data_dir, "--simulator", simulation.url, "--port", 0),
            *arguments,
            environment={
                "TZ": "America/New_York",
                "ORDERFLOW_FLUSH_INTERVAL_SECONDS": "0.5",
                "ORDERFLOW_MARKETS": "binance_futures",
            },
        )
        self.said(r"store +127")

    def store(self) -> Store:
        return connect(self.data_dir, embedded=False)

    @property
    def connections(self) -> list[int]:
        """Numbers the simulator gave to the connections of this daemon (and of those started after it)."""
        return self._simulation.connections()[self._earlier :]

    def status(self) -> dict[str, Any]:
        with self.store() as store:
            return store.action("status")

    def count(self, table: str) -> int:
        """Rows of a table, 0 where it cannot be asked yet."""
        try:
            with self.store() as store:
                return store.query(f"SELECT count(*) AS n FROM {table}")["n"][0].as_py()
        except StoreError:
            return 0


@contextmanager
def running(process: P) -> Iterator[P]:
    try:
        yield process
    finally:
        process.kill()
