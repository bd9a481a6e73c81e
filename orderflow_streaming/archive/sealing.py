"""Seals closed hours, drops what is sealed, and proves both.

A sealed hour is written beside the archive, published under a name of its own, read back, and only then written down;
rows leave the database in the transaction that shows their file to readers. So a reader, whose transaction sees one
state of the database, has each row once: from the table or from the file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from orderflow_streaming.archive import continuous, layout, manifest, nodes
from orderflow_streaming.archive.content import Content, content, hashed_as
from orderflow_streaming.archive.layout import HOUR
from orderflow_streaming.archive.manifest import Sealed, Site
from orderflow_streaming.schema import STREAMS, Stream
from orderflow_streaming.store.engine import Engine, first_line
from orderflow_streaming.store.errors import ArchiveError, InvalidActionError
from orderflow_streaming.store.place import Place, digest

log = logging.getLogger(__name__)

GRACE = timedelta(minutes=2)
"""How long after its end an hour may be sealed; late rows are merged when it is sealed again."""
REPLACED_FOR = timedelta(hours=2)
"""How long a replaced file stays: longer than any query may run, and than other nodes take to notice."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done with one hour of one stream: ``sealed``, ``sealed again``, ``dropped``, or nothing because it was
    ``unchanged`` or ``empty``, or because it ``failed``."""

    stream: str
    hour: datetime
    done: str
    entry: Sealed | None = None
    why: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "stream": self.stream,
            "hour": self.hour.isoformat(),
            "done": self.done,
            "why": self.why,
            "rows": entry.rows if entry else 0,
            "bytes": entry.bytes if entry else 0,
            "path": entry.path if entry else None,
            "content_hash": entry.content_hash if entry else None,
            "sha256": entry.sha256 if entry else None,
            "dropped": bool(entry and entry.dropped_at),
            "seconds": round(self.seconds, 3),
        }


class Sealer:
    """The archive as one database fills it. Thread-safe: one hour at a time."""

    def __init__(self, engine: Engine, place: Place, site: Site, retention: timedelta | None) -> None:
        """``retention`` is how long rows stay in the database after their hour; None keeps them."""
        self.place, self.site, self.retention = place, site, retention
        self._engine = engine
        self._busy = threading.Lock()
        self._told = False

    # -- sealing ---------------------------------------------------------------------------------------

    def seal(self, stream: str, hour: datetime) -> Outcome:
        """Seal one hour, or seal it again where rows came or changed since.

        Raises InvalidActionError where the hour still runs.
        """
        if hour + HOUR + GRACE > _now():
            minutes = GRACE // timedelta(minutes=1)
            raise InvalidActionError(
                f"the hour of {hour:%Y-%m-%d %H:%M} UTC is not over. Seal it {minutes} minutes after its end."
            )
        return self._tried(lambda: self._seal(STREAMS[stream], hour)[0], stream, hour)

    def _seal(self, stream: Stream, hour: datetime) -> tuple[Outcome, Content]:
        """What was done, and the content of the file there is now."""
        window = layout.within(stream, hour, hour + HOUR)
        table = f"{stream.hot.schema}.{stream.name}"
        with self._engine.transaction() as cursor:
            before = manifest.own(cursor, stream.name, hour)
            hot = content(cursor, stream, table, window)
            if before is None and not hot.rows:
                return Outcome(stream.name, hour, "empty"), hot
            if before and not before.dropped_at and self._holds(cursor, before, hot):
                return Outcome(stream.name, hour, "unchanged", before), hot
            kept = Content()
            rows = f"SELECT {layout.columns(stream.table)} FROM {table} WHERE {window}"
            if before and before.dropped_at:
                kept = self.verified(cursor, before)
                if not hot.rows:
                    return Outcome(stream.name, hour, "unchanged", before), kept
                rows += f" UNION ALL SELECT {layout.columns(stream.table)} FROM {self._source(before)}"
            whole = kept + hot
            entry = self._entry(stream, hour, whole, before)
            staged = self._write(cursor, stream, rows, entry)
        entry = self._publish(stream, staged, entry, whole)
        with self._engine.transaction() as cursor:
            if before and before.dropped_at:
                self._delete(cursor, stream, hour, hot)
            manifest.put(cursor, entry)
            if before:
                manifest.replaced(cursor, before.path, _now())
            if entry.dropped_at:
                continuous.show(self._engine, cursor, stream.name)
            self._told = False
        return Outcome(stream.name, hour, "sealed again" if before else "sealed", entry), whole

    def _holds(self, cursor: duckdb.DuckDBPyConnection, entry: Sealed, hot: Content) -> bool:
        """Whether the file of an hour whose rows are hot is there, whole and up to date."""
        try:
            return self.verified(cursor, entry).same_rows(hot)
        except ArchiveError as error:
            log.warning("%s It is written anew.", error)
            return False

    def _entry(self, stream: Stream, hour: datetime, whole: Content, before: Sealed | None) -> Sealed:
        if whole.first_time is None or whole.last_time is None:
            raise ArchiveError(f"the rows of {stream.name} of {hour:%Y-%m-%d %H:%M} UTC left the database unsealed.")
        version = before.version + 1 if before else 1
        return Sealed(
            stream=stream.name,
            node=self.site.node,
            hour=hour,
            version=version,
            path=layout.file_path(stream.name, hour, self.site.node, version),
            rows=whole.rows,
            content_hash=str(whole.hash),
            hashed_as=hashed_as(stream),
            sha256="",
            bytes=0,
            first_time=whole.first_time,
            last_time=whole.last_time,
            last_id=whole.last_id,
            sealed_at=_now(),
            dropped_at=before.dropped_at if before else None,
        )

    def _write(self, cursor: duckdb.DuckDBPyConnection, stream: Stream, rows: str, entry: Sealed) -> Path:
        staging = self._engine.staging
        staging.mkdir(parents=True, exist_ok=True)
        staged = staging / f"{self.site.identity}-{stream.name}.parquet"
        facts = {"node": entry.node, "stream": entry.stream, "hour": entry.hour.isoformat()}
        facts |= {"rows": str(entry.rows), "content_hash": entry.content_hash, "hashed_as": entry.hashed_as}
        metadata = ", ".join(f"orderflow_{name}: '{value}'" for name, value in facts.items())
        cursor.execute(
            f"COPY (SELECT * FROM ({rows}) ORDER BY {layout.row_order(stream)}) TO '{staged}' (FORMAT parquet, "
            f"COMPRESSION zstd, FIELD_IDS {layout.field_ids(stream.table)}, "
            f"KV_METADATA {{{metadata}}})"
        )
        return staged

    def _publish(self, stream: Stream, staged: Path, entry: Sealed, whole: Content) -> Sealed:
        """Give the file its name and prove that what is read under it is what was to be sealed."""
        with staged.open("rb") as file:
            sha256, size = digest(file)
        entry = replace(entry, sha256=sha256, bytes=size)
        self.place.publish(staged, entry.path)
        with self._cursor() as cursor:
            if not self.verified(cursor, entry).same_rows(whole):
                raise ArchiveError(f"{self.place.full(entry.path)} does not hold the rows that were written to it.")
        return entry

    # -- dropping --------------------------------------------------------------------------------------

    def drop(self) -> tuple[list[Outcome], list[tuple[str, datetime]]]:
        """Drop the sealed hours older than the retention, merging late rows on the way; and what waits to be sealed.

        An hour fails, and keeps its rows, where its file does not hold them and cannot be written.
        """
        self._forget_replaced()
        if self.retention is None:
            return [], []
        outcomes, unsealed = [], []
        for name, hour in self._hot_hours(_now() - self.retention - HOUR):
            with self._cursor() as cursor:
                entry = manifest.own(cursor, name, hour)
            if entry is None:
                unsealed.append((name, hour))
                continue
            outcomes.append(self._tried(partial(self._drop, STREAMS[name], hour), name, hour))
        return outcomes, unsealed

    def _drop(self, stream: Stream, hour: datetime) -> Outcome:
        sealed, rows = self._seal(stream, hour)
        entry = sealed.entry
        if entry is None or entry.dropped_at:
            return sealed
        with self._engine.transaction() as cursor:
            self._delete(cursor, stream, hour, rows)
            entry = replace(entry, dropped_at=_now())
            manifest.put(cursor, entry)
            continuous.show(self._engine, cursor, stream.name)
            self._told = False
        return Outcome(stream.name, hour, "dropped", entry)

    def _delete(self, cursor: duckdb.DuckDBPyConnection, stream: Stream, hour: datetime, rows: Content) -> None:
        """Delete the rows of an hour that are in its file; rows that came since have higher numbers and stay."""
        table = f"{stream.hot.schema}.{stream.name}"
        window = f"{layout.within(stream, hour, hour + HOUR)} AND id <= {rows.last_id}"
        if not content(cursor, stream, table, window).same_rows(rows):
            raise duckdb.TransactionException("rows of the hour changed while it was sealed")
        cursor.execute(f"DELETE FROM {table} WHERE {window}")

    def _forget_replaced(self) -> None:
        with self._engine.transaction() as cursor:
            paths = cursor.execute(
                "DELETE FROM ops.archive_replaced WHERE replaced_at < ? RETURNING path", [_now() - REPLACED_FOR]
            ).fetchall()
            for (path,) in paths:
                self.place.delete(path)

    # -- proving ---------------------------------------------------------------------------------------

    def verified(self, cursor: duckdb.DuckDBPyConnection, entry: Sealed) -> Content:
        """Content of a sealed file; raises ArchiveError where it is not what was written down."""
        path = self.place.full(entry.path)
        try:
            found = self.place.digest(entry.path)
        except FileNotFoundError as error:
            raise ArchiveError(f"{path} is missing; it holds {entry.rows} rows of {entry.stream}.") from error
        if found != (entry.sha256, entry.bytes):
            raise ArchiveError(f"{path} is not the file that was sealed: its SHA-256 or size differs.")
        stream = STREAMS[entry.stream]
        rows = content(cursor, stream, self._source(entry))
        comparable = entry.hashed_as == hashed_as(stream)
        if rows.rows != entry.rows or (comparable and str(rows.hash) != entry.content_hash):
            raise ArchiveError(f"{path} holds {rows.rows} rows that are not the {entry.rows} rows that were sealed.")
        return rows

    def check(self, hour: datetime) -> list[dict[str, Any]]:
        """Verdict on each file of this database's hour."""
        verdicts = []
        with self._cursor() as cursor:
            for entry in manifest.sealed(cursor, f"hour = ? AND {manifest.OWN}", hour):
                try:
                    self.verified(cursor, entry)
                    reason = ""
                except ArchiveError as error:
                    reason = str(error)
                verdicts.append(
                    {
                        "stream": entry.stream,
                        "path": entry.path,
                        "rows": entry.rows,
                        "intact": not reason,
                        "why": reason,
                    }
                )
        return verdicts

    # -- what there is ---------------------------------------------------------------------------------

    def waiting(self) -> list[datetime]:
        """Closed hours of which the database has rows that are not sealed, oldest first."""
        with self._cursor() as cursor:
            known = {(entry.stream, entry.hour): entry for entry in manifest.sealed(cursor, manifest.OWN)}
        found = set()
        for name, hour in self._hot_hours(_now() - GRACE - HOUR):
            entry = known.get((name, hour))
            if entry is None or entry.dropped_at:
                found.add(hour)
        return sorted(found)

    def _hot_hours(self, until: datetime) -> list[tuple[str, datetime]]:
        """Streams and hours with rows in the database that began at ``until`` or before, oldest first."""
        parts = [
            f"SELECT DISTINCT '{stream.name}', date_trunc('hour', \"{stream.time}\") AS hour FROM hot.{stream.name} "
            f'WHERE "{stream.time}" < $until'
            for stream in STREAMS.values()
        ]
        end = until.replace(minute=0, second=0, microsecond=0) + HOUR
        with self._cursor() as cursor:
            return cursor.execute(" UNION ALL ".join(parts) + " ORDER BY hour", {"until": end}).fetchall()

    def tell(self) -> None:
        """Tell the other nodes what counts, where that changed; raises OSError."""
        if self._told:
            return
        with self._cursor() as cursor:
            entries = manifest.sealed(cursor, manifest.OWN)
        nodes.publish(self.place, self.site.node, self.site.identity, entries)
        self._told = True

    # -- inside ----------------------------------------------------------------------------------------

    def _tried(self, work: Callable[[], Outcome], stream: str, hour: datetime) -> Outcome:
        """Do the work, again where rows of the hour changed meanwhile; what failed says why."""
        started, outcome = time.monotonic(), Outcome(stream, hour, "failed", why="rows of the hour keep changing")
        with self._busy:
            for _ in range(_TRIES):
                try:
                    outcome = work()
                    self.tell()
                    break
                except duckdb.TransactionException:
                    continue
                except (ArchiveError, OSError, duckdb.Error) as error:
                    outcome = Outcome(stream, hour, "failed", why=first_line(error))
                    log.error("%s of %s could not be archived: %s", stream, hour, outcome.why)
                    break
        return replace(outcome, seconds=time.monotonic() - started)

    def _source(self, entry: Sealed) -> str:
        return layout.read_files(STREAMS[entry.stream].table, [self.place.full(entry.path)])

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._engine.cursor()
        try:
            yield cursor
        finally:
            cursor.close()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
