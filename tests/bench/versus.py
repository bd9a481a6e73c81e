"""Normalizing beside cryptofeed and ccxt.pro: the same bytes, market by market and channel by channel.

``make bench-versus`` installs the two libraries into an environment of their own and runs this. A library runs as a
process there and handles every message its own way (:mod:`tests.bench.rivals`); ours is what the daemon does with the
frame: the look at its topic, the local book where it is a change, and the batch through the normalizer. The libraries
keep a book and hand it over; ours also makes rows of twenty levels of it at most every 100 ms, so that of changes of
books a second figure (``kept``) leaves the rows out. CPU time, rounds in turn, medians. Frames are recorded ones
(:mod:`tests.bench.tape`) except where the output says simulated.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pyarrow as pa

from orderflow_streaming.exchanges import PROTOCOLS, exchange
from orderflow_streaming.exchanges.books import INTERVAL_US, BookMerger
from orderflow_streaming.exchanges.merged import MERGED_BOOK
from orderflow_streaming.exchanges.merging import Merger
from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.schema import INSTRUMENTS, STREAMS
from orderflow_streaming.simulator.dialects import DIALECTS
from orderflow_streaming.simulator.frames import frames as simulated_frames
from orderflow_streaming.writing.normalize import Normalizer
from tests.bench import tape
from tests.bench.tape import Frame

RIVALS = ("cryptofeed", "ccxt")
FRAMES, BOOKS, CHANGES = 10_000, 4_000, 2_000
"""Frames of a batch: small messages, snapshots of books, changes of books."""
BATCH_BYTES = 8 << 20
"""No batch of messages about many instruments is larger."""
SIMULATED = 500
"""Frames to ask of the simulator, before they are repeated."""
ROUNDS = 3
LEVELS = 20
NEVER_US = 10**15
START_US = 1_793_836_800_000_000  # 2026-11-05 00:00 UTC
_NUMBERS = count()
ENVIRONMENT = Path(os.environ.get("ORDERFLOW_BENCH_VENV", tape.ROOT / ".venv-bench"))


@dataclass(frozen=True, slots=True)
class Case:
    """One batch. ``restart_every``: so many frames, then the state of books starts anew from the REST answers."""

    channel: str
    streams: str
    frames: list[Frame]
    source: str
    restart_every: int
    sequence: tape.Sequence | None = None


class Ours:
    """The product's way of one market, in this process."""

    def __init__(self, protocol: Exchange, instruments: set[str]) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("SET threads=1")
        self._connection.register("known", _instruments(protocol, instruments))
        self._connection.execute("CREATE TABLE known_instruments AS FROM known")
        self.protocol = protocol
        self._normalizer = Normalizer(self._connection, "known_instruments")

    def accepted(self, channel: str, frames: Sequence[Frame]) -> list[Frame]:
        """The frames of which nothing is rejected."""
        outcome = self._normalizer.normalize(
            self.protocol, channel, [frame.raw for frame in frames], [frame.received_us for frame in frames]
        )
        self._normalizer.clear()
        rejected = {item.frame for item in outcome.rejected}
        return [frame for number, frame in enumerate(frames) if number not in rejected]

    def run(self, case: Case, interval_us: int) -> tuple[float, int]:
        """CPU seconds and rows."""
        raw, times = [frame.raw for frame in case.frames], [frame.received_us for frame in case.frames]
        merged = merged_channels(self.protocol).get(case.channel)
        began = time.process_time()
        for frame in raw:
            self.protocol.topic(frame)
        channel = case.channel
        if merged is not None:
            channel = merged
            raw, times = self._merged(case, interval_us)
        outcome = self._normalizer.normalize(self.protocol, channel, raw, times)
        spent = time.process_time() - began
        self._normalizer.clear()
        return spent, sum(outcome.staged.values())

    def _merged(self, case: Case, interval_us: int) -> tuple[list[bytes], list[int]]:
        """States that the changes make, at most one per interval and topic."""
        raw: list[bytes] = []
        times: list[int] = []
        snapshots = case.sequence.snapshots.values() if case.sequence else ()
        for start in range(0, len(case.frames), case.restart_every):
            mergers: dict[str, Merger] = {}
            for snapshot in snapshots:
                book = mergers[snapshot.symbol] = self._merger(case.channel, snapshot.symbol, interval_us)
                assert isinstance(book, BookMerger)
                book.join(snapshot, case.frames[0].received_us)
            feed = self.protocol.books.get(case.channel)
            for frame in case.frames[start : start + case.restart_every]:
                name = self.protocol.topic(frame.raw) or ""
                merger = mergers.get(name)
                if merger is None:
                    symbol = feed.decode(frame.raw).symbol if feed else name
                    merger = mergers.get(symbol) or self._merger(case.channel, name, interval_us)
                    mergers[name] = merger
                state = merger.absorb(frame.raw, frame.received_us)
                if state is not None:
                    raw.append(state)
                    times.append(frame.received_us)
        return raw, times

    def _merger(self, channel: str, name: str, interval_us: int) -> Merger:
        feed = self.protocol.books.get(channel)
        if feed is not None:
            return BookMerger(name, feed.decode, feed.sequencing, interval_us=interval_us)
        merger = self.protocol.merger(channel, name)
        assert merger is not None
        return merger


@dataclass(slots=True)
class Rival:
    """A library in a process of its own environment."""

    name: str
    _process: subprocess.Popen[str] | None = field(default=None)

    def ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        if self._process is None:
            script = Path(__file__).parent / "rivals" / f"{self.name}_rival.py"
            self._process = subprocess.Popen(
                [ENVIRONMENT / "bin" / "python", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()


def merged_channels(protocol: Exchange) -> dict[str, str]:
    """Channels of changes to the channels of the states that they make."""
    sockets = protocol.sockets(SYMBOLS, protocol.market.streams, protocol.endpoints)
    subscribed = {topic.channel: topic.merged for socket in sockets for topic in socket.topics if topic.merged}
    return dict.fromkeys(protocol.books, MERGED_BOOK.name) | subscribed


def with_book(protocol: Exchange) -> Exchange:
    """The protocol with rows for merged books, also where the venue's own snapshots are what is subscribed."""
    kind = type(protocol)
    channels = {MERGED_BOOK.name: MERGED_BOOK} | dict(kind.channels)
    return type(kind.__name__, (kind,), {"channels": channels})()  # type: ignore[no-any-return]


def cases(protocol: Exchange, recorded: Mapping[str, list[Frame]], ours: Ours) -> Iterator[Case]:
    merged = merged_channels(protocol)
    for channel, frames in sorted(recorded.items()):
        kinds = [rows.kind for rows in protocol.channels[channel].rows if rows.kind in STREAMS]
        if channel.startswith("rest/") or channel in merged or not kinds:
            continue
        usable = tape.alike(ours.accepted(channel, frames))
        is_book, source = "orderbooks" in kinds, f"recorded {len(usable)}"
        if is_book and (deep := [frame for frame in usable if tape.deepest(frame) >= LEVELS]):
            usable, source = deep, f"recorded {len(deep)}"
        elif is_book and (made := _simulated(protocol, channel)):
            usable, source = made, f"simulated {len(made)}"
        if usable:
            size = sum(len(frame.raw) for frame in usable) // len(usable)
            wanted = max(100, min(BOOKS if is_book else FRAMES, BATCH_BYTES // size))
            yield Case(channel, " ".join(kinds), tape.repeated(usable, wanted), source, wanted)
    for channel, merged_into in merged.items():
        if channel not in protocol.books and channel in recorded:
            kinds = [rows.kind for rows in protocol.channels[merged_into].rows if rows.kind in STREAMS]
            frames = tape.repeated(sorted(recorded[channel], key=tape.is_change), FRAMES)
            yield Case(channel, " ".join(kinds), frames, f"recorded {len(recorded[channel])}", len(frames))
    for sequence in tape.book_sequences(protocol):
        changes = sequence.changes
        repetitions = max(1, CHANGES // len(changes))
        source = f"{sequence.name}, {len(changes)} x {repetitions}"
        frames = tape.again(changes, repetitions)
        restart = len(changes) if sequence.snapshots else len(frames)
        yield Case(sequence.channel, "orderbooks by changes", frames, source, restart, sequence)


def _simulated(protocol: Exchange, channel: str) -> list[Frame]:
    """Frames of a channel as the simulator sends them, each following the one before where books are numbered."""
    if protocol.market.name not in DIALECTS:
        return []
    made = simulated_frames(1, START_US, START_US + 60_000_000, SYMBOLS[:1], market=protocol.market.name, activity=0.1)
    chosen = (Frame(when, raw) for when, _, raw in made if protocol.route(raw) == channel)
    return list(islice(chosen, SIMULATED))


def _instruments(protocol: Exchange, venue_symbols: set[str]) -> pa.Table:
    """Rows of ``ops.instruments`` for all symbols of the frames, one unit of base coin a contract."""
    market = protocol.market
    given = {
        "exchange": market.exchange,
        "market_type": market.market_type,
        "contract_size": 1.0,
        "funding_interval_hours": 8.0,
    }
    names = sorted(venue_symbols)
    columns = {
        column.name: names if column.name in ("symbol", "venue_symbol") else [given.get(column.name)] * len(names)
        for column in INSTRUMENTS.columns
    }
    return pa.table({name: values for name, values in columns.items() if any(value is not None for value in values)})


def _compared(protocol: Exchange, case: Case, ours: Ours, rivals: Sequence[Rival], folder: Path) -> dict[str, Any]:
    path = folder / f"{next(_NUMBERS)}.tsv"
    path.write_bytes(b"".join(b"%d\t%s\n" % (frame.received_us, frame.raw) for frame in case.frames))
    job = {
        "market": protocol.market.name,
        "channel": case.channel,
        "frames": str(path),
        "symbols": sorted(tape.symbols(case.frames[: case.restart_every])),
        "url": protocol.endpoints.sockets[next(iter(protocol.endpoints.sockets))],
        "restart_every": case.restart_every,
        "snapshots": case.sequence.answers if case.sequence else {},
        "books": _as_books(case.sequence) if case.sequence else {},
    }
    counted = {rival.name: rival.ask(job | {"count": True}) for rival in rivals}
    spent: dict[str, list[float]] = {"ours": [], "kept": [], **{rival.name: [] for rival in rivals}}
    rows = 0
    for _ in range(ROUNDS):
        cpu_s, rows = ours.run(case, INTERVAL_US)
        spent["ours"].append(cpu_s)
        if case.sequence:
            spent["kept"].append(ours.run(case, NEVER_US)[0])
        for rival in rivals:
            if counted[rival.name].get("taken"):
                spent[rival.name].append(rival.ask(job | {"count": False})["cpu_s"])
    path.unlink()
    mine = median(spent["ours"])
    result = {
        "market": protocol.market.name,
        "channel": case.channel,
        "streams": case.streams,
        "frames": len(case.frames),
        "source": case.source,
        "rows": rows,
        "per_cpu_s": round(len(case.frames) / mine),
    }
    if spent["kept"]:
        result["kept_per_cpu_s"] = round(len(case.frames) / median(spent["kept"]))
    for rival in rivals:
        answer = counted[rival.name]
        if not spent[rival.name]:
            result[f"{rival.name}_ratio"] = answer.get("error", "not handled")
            continue
        theirs = median(spent[rival.name])
        result[f"{rival.name}_per_cpu_s"] = round(len(case.frames) / theirs)
        result[f"{rival.name}_objects"] = answer["taken"]
        result[f"{rival.name}_ratio"] = round(theirs / mine, 1)
        if spent["kept"]:
            result[f"{rival.name}_ratio_kept"] = round(theirs / median(spent["kept"]), 1)
    return result


def _as_books(sequence: tape.Sequence) -> dict[str, Any]:
    """The snapshots as ccxt.pro keeps a book."""
    return {
        symbol: {
            "nonce": snapshot.last,
            "bids": [[float(level[0]), float(level[1])] for level in snapshot.bids],
            "asks": [[float(level[0]), float(level[1])] for level in snapshot.asks],
        }
        for symbol, snapshot in sequence.snapshots.items()
    }


def is_installed() -> bool:
    return (ENVIRONMENT / "bin" / "python").exists()


def measure(markets: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row per market and channel: frames per CPU second, and how many times as many as the libraries."""
    if not is_installed():
        raise RuntimeError(f"{ENVIRONMENT} is not there; `make bench-versus` makes it")
    if not tape.WIRE.is_dir():
        return [{"case": f"skipped: the recorded messages are not at {tape.WIRE}; set ORDERFLOW_SHARED"}]
    results = []
    with ExitStack() as stack:
        rivals = [Rival(name) for name in RIVALS]
        for rival in rivals:
            stack.callback(rival.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for market in markets or PROTOCOLS:
            protocol = with_book(exchange(market))
            recorded = tape.by_channel(protocol)
            ours = Ours(protocol, set().union(*(tape.symbols(frames) for frames in recorded.values())))
            for case in cases(protocol, recorded, ours):
                results.append(_compared(protocol, case, ours, rivals, folder))
                print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    return results


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:]), indent=2))
