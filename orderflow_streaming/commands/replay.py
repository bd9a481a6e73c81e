"""``orderflow-stream replay``: feed a recording through the daemon's own code into a data folder."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from orderflow_streaming.daemon import create_views
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.exit_codes import CONFIGURATION, LOCKED, CommandError
from orderflow_streaming.markets import UnknownNameError
from orderflow_streaming.reading.inbox import Inbox
from orderflow_streaming.reading.instruments import stored_symbols
from orderflow_streaming.recordings.journal import Journal
from orderflow_streaming.recordings.recording import RecordingError
from orderflow_streaming.recordings.replaying import Recording, Replayed, ReplayError, found, replay
from orderflow_streaming.schema import INSTRUMENTS
from orderflow_streaming.settings import Settings, SettingsError, load
from orderflow_streaming.store import StoreError, StoreLockedError
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.storing import stored_mark
from orderflow_streaming.writing.writer import Writer

_SOURCE = click.Path(exists=True, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_TIMES = ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"]


class _Speed(click.ParamType):
    name = "N|max"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if value == "max":
            return None
        try:
            speed = float(str(value))
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"{value!r} is no speed: give 1 for real time, 10 for ten times as fast, or max.", param, ctx)
        return speed


@click.command("replay")
@click.argument("sources", nargs=-1, required=True, type=_SOURCE, metavar="SOURCE...")
@click.option("--data-dir", type=_FOLDER, required=True, help="Folder to store into; no daemon may run for it.")
@click.option("--speed", type=_Speed(), default="max", show_default=True, help="1 is the pace of the recording.")
@click.option("--from", "start", type=click.DateTime(_TIMES), help="Only frames received from this time (UTC) on.")
@click.option("--to", "end", type=click.DateTime(_TIMES), help="Only frames received before this time (UTC).")
@click.option("--markets", "-m", default="", help="Only these, separated by commas; with .tsv files, theirs.")
def command(
    sources: tuple[Path, ...],
    data_dir: Path,
    speed: float | None,
    start: datetime | None,
    end: datetime | None,
    markets: str,
) -> None:
    """Feed a recording through journal and writer into another data folder, as if it came now.

    SOURCE is a data folder with a journal, a journal folder, or .tsv files of one market; where these do not hold the
    venue's answer about its instruments, add it as a .json file. Receive times are those of the recording. Replaying
    again adds nothing.
    """
    try:
        settings, _ = load(flags={"data_dir": data_dir})
        wanted = tuple(name.strip() for name in markets.split(",") if name.strip())
        for name in wanted:
            exchange(name)
        recording = found(sources, wanted)
        missing = sorted(set(wanted) - set(recording.markets))
        if missing:
            raise ReplayError(
                f"the recording has no {', '.join(missing)}; it has {', '.join(sorted(recording.markets))}."
            )
        if any(source.resolve() in (data_dir.resolve(), (data_dir / "journal").resolve()) for source in sources):
            raise ReplayError(f"{data_dir} cannot be replayed into itself. Give another --data-dir.")
        _run(recording, settings, speed, _microseconds(start), _microseconds(end), wanted)
    except StoreLockedError as error:
        raise CommandError(str(error), LOCKED) from error
    except (SettingsError, UnknownNameError, ReplayError, RecordingError, StoreError) as error:
        raise CommandError(str(error), CONFIGURATION) from error


def _run(
    recording: Recording,
    settings: Settings,
    speed: float | None,
    start_us: int | None,
    end_us: int | None,
    markets: Collection[str],
) -> None:
    started = time.monotonic()
    with ExitStack() as closing:
        engine = Engine(database_path(settings.data_dir), memory_limit=settings.store_memory_limit)
        closing.callback(engine.close)
        journal = Journal(settings.data_dir / "journal", after=stored_mark(engine).segment)
        writer = Writer(engine, journal, batch_size=settings.batch_size)
        closing.callback(writer.prune)
        closing.callback(journal.close)
        create_views(engine)
        _learn_instruments(recording, engine, markets)
        writer.recover()
        writer.start()
        closing.callback(writer.stop)
        with _progress(recording.size) as bar:
            replayed = asyncio.run(_replay(recording, journal, writer, speed, start_us, end_us, markets, bar))
        closing.close()
    click.echo(_report(recording, replayed, writer, time.monotonic() - started))


async def _replay(
    recording: Recording,
    journal: Journal,
    writer: Writer,
    speed: float | None,
    start_us: int | None,
    end_us: int | None,
    markets: Collection[str],
    bar: Progress,
) -> Replayed:
    inbox = Inbox(journal, overflow="wait", synced=writer.synced)
    task = bar.task_ids[0]
    try:
        return await replay(
            recording,
            inbox,
            writer,
            start_us=start_us,
            end_us=end_us,
            markets=markets,
            speed=speed,
            progress=lambda done: bar.update(task, completed=done),
        )
    finally:
        inbox.close()


def _learn_instruments(recording: Recording, engine: Engine, markets: Collection[str]) -> None:
    """Store what the recording knows of instruments the folder knows nothing of, and insist where sizes need it."""
    engine.ensure(INSTRUMENTS)
    unknown = [
        protocol
        for protocol in map(exchange, sorted(set(markets) or set(recording.markets)))
        if not stored_symbols(engine, protocol)
    ]
    rows = recording.instruments().to_pylist() if unknown else []
    for protocol in unknown:
        market = protocol.market
        own = [row for row in rows if (row["exchange"], row["market_type"]) == (market.exchange, market.market_type)]
        if own:
            engine.write(INSTRUMENTS, INSTRUMENTS.arrow_schema.empty_table().from_pylist(own, INSTRUMENTS.arrow_schema))
        elif not protocol.counts_base:
            raise ReplayError(
                f"{market.name} counts contracts, and how large they are is not known. Replay from the data folder "
                "whose database knows it, or give a recording that holds the venue's answer about its instruments."
            )


@contextmanager
def _progress(size: int) -> Iterator[Progress]:
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        bar.add_task("replaying", total=size)
        yield bar


def _report(recording: Recording, replayed: Replayed, writer: Writer, seconds: float) -> str:
    totals = writer.totals
    stored, updated, repeated = (
        sum(getattr(tally, figure) for tally in totals.tallies.values())
        for figure in ("stored", "updated", "duplicates")
    )
    span = f"{_time(replayed.first_us)} to {_time(replayed.last_us)}" if replayed.frames else "nothing"
    lines = [
        f"Replayed {replayed.frames:,} frames, received {span}, in {seconds:,.1f} s",
        f"  stored    {stored:,} rows, {updated:,} updates, {repeated:,} repeated, "
        f"{totals.rejected.total():,} frames rejected, {totals.gaps.total():,} gaps",
    ]
    if replayed.skipped:
        lines.append(f"  left out  {replayed.skipped:,} frames of other times or markets")
    for figure, meaning in (
        ("unread", "messages of a kind that is not read"),
        ("broken", "lines that hold no message"),
        ("missed", "times a state was given up, as something was missing"),
    ):
        if count := getattr(recording, figure, 0):
            lines.append(f"  {figure:9} {count:,} {meaning}")
    for (market, stream), tally in sorted(totals.tallies.items()):
        lines.append(f"  {market:19} {stream:14} {tally.stored:10,} rows, {tally.duplicates:,} repeated")
    return "\n".join(lines)


def _microseconds(when: datetime | None) -> int | None:
    return None if when is None else round(when.replace(tzinfo=UTC).timestamp() * 1e6)


def _time(microseconds: int | None) -> str:
    return "-" if microseconds is None else f"{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
