"""The model registry: one SQLite file (WAL) and a folder of artefacts named by their hash.

A version belongs to a series and a target. The aliases ``champion`` and ``challenger`` move between versions; where
no champion is set, naive serves. Every change of a version or alias is an event; events are never changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from orderflow_assets.forecasting.artefacts import Artefacts, hash_folder
from orderflow_assets.forecasting.frame import utc_now
from orderflow_assets.forecasting.registry_sql import (
    CHALLENGER,
    CHAMPION,
    LATER_COLUMNS,
    OF_VERSION,
    SCHEMA,
    SKILLS_SQL,
    RegistryError,
    add_event,
    aliased,
    as_json,
    drop_alias,
    rows_of,
    select_versions,
    set_alias,
    set_status,
)
from orderflow_assets.forecasting.versions import (
    Measured,
    StepSkill,
    Timings,
    Training,
    Version,
    event_rows,
    version_rows,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Registry",
    "RegistryError",
    "TamperedArtefactError",
    "Timings",
    "Training",
    "Version",
    "hash_folder",
]

_BUSY_S = 10.0


class TamperedArtefactError(RegistryError):
    """A stored model is not what was registered."""


class Registry:
    """The registry under ``data_dir/models``. Every method is one transaction and safe between processes."""

    def __init__(self, data_dir: Path | str) -> None:
        self.folder = Path(data_dir) / "models"
        self._artefacts, self._opened = Artefacts(self.folder), threading.local()
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(SCHEMA)
            present = {row[1] for row in connection.execute("PRAGMA table_info(model_version)")}
            for name in LATER_COLUMNS.keys() - present:
                connection.execute(f"ALTER TABLE model_version ADD COLUMN {name} {LATER_COLUMNS[name]}")

    # -- training --------------------------------------------------------------------------------------

    @contextmanager
    def training(self, series: str, by: str) -> Iterator[None]:
        """Train a series alone: one process at a time, and what a killed one left behind is retired first.

        The lock ends with the process that holds it. Raises :class:`RegistryError` where another holds it.
        """
        with (self.folder / f"training-{_owner(series)}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RegistryError(f"{series} is being trained by another process; wait for it to end.") from None
            self._artefacts.sweep(_owner(series))
            with self._transaction() as connection:
                left = connection.execute(
                    "SELECT target, version FROM model_version WHERE series = ? AND status = 'training'", (series,)
                ).fetchall()
                for target, version in left:
                    set_status(connection, series, target, version, "retired", by, "its training was interrupted")
            yield

    def begin(self, training: Training, by: str) -> int:
        """Register a version with the status ``training``; returns its number."""
        with self._transaction() as connection:
            (number,) = connection.execute(
                "SELECT coalesce(max(version), 0) + 1 FROM model_version WHERE series = ? AND target = ?",
                (training.series, training.target),
            ).fetchone()
            row = {
                "series": training.series,
                "target": training.target,
                "version": number,
                "model": training.model,
                "status": "training",
                "trained_at": utc_now().isoformat(),
                "data_from": training.data_from.isoformat(),
                "data_to": training.data_to.isoformat(),
                "rows": training.rows,
                "data_hash": training.data_hash,
                "code_version": training.code_version,
                "parameters": as_json(training.parameters),
                "frame_hash": training.frame_hash,
                "source_version": training.source_version,
                "library_versions": as_json(training.library_versions),
            }
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO model_version ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
            add_event(connection, training.series, training.target, number, "training", by, "training started")
        return int(number)

    def complete(
        self, series: str, target: str, version: int, save: Callable[[Path], None], reference: list[float], by: str
    ) -> str:
        """Store the artefact that ``save`` writes into a folder; returns its SHA-256. Nothing serves it yet.

        An earlier version of the same model that never served is retired.
        """
        digest = self._artefacts.store(save, _owner(series))
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE model_version SET artefact_sha256 = ?, reference = ? WHERE {OF_VERSION}",
                (digest, as_json(reference), series, target, version),
            )
            set_status(connection, series, target, version, "registered", by, "trained, not judged yet")
            replaced = connection.execute(
                "SELECT version FROM model_version WHERE series = ? AND target = ? AND version < ? "
                "AND status IN ('registered', 'validated') AND model = "
                f"(SELECT model FROM model_version WHERE {OF_VERSION})",
                (series, target, version, series, target, version),
            ).fetchall()
            for (former,) in replaced:
                if aliased(connection, series, target, CHALLENGER) == former:
                    drop_alias(connection, series, target, CHALLENGER, by, f"replaced by version {version}")
                set_status(connection, series, target, former, "retired", by, f"replaced by version {version}")
        return digest

    def record_timings(self, series: str, target: str, version: int, timings: Timings) -> None:
        """Keep what training and asking the version took on this machine."""
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE model_version SET fit_s = ?, load_s = ?, predict_s = ?, device = ? WHERE {OF_VERSION}",
                (*astuple(timings), series, target, version),
            )

    def record_judgement(
        self,
        series: str,
        target: str,
        version: int,
        metrics: dict[str, Any],
        *,
        won: bool,
        reason: str,
        by: str,
        steps: tuple[StepSkill, ...] = (),
    ) -> None:
        """Keep the held-out figures; ``validated`` when the version won, else it stays ``registered``."""
        with self._transaction() as connection:
            connection.execute(
                f"UPDATE model_version SET metrics = ? WHERE {OF_VERSION}", (as_json(metrics), series, target, version)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO model_skill VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(series, target, version, *astuple(step)) for step in steps],
            )
            status = "validated" if won else "registered"
            set_status(connection, series, target, version, status, by, reason)

    def fail(self, series: str, target: str, version: int, reason: str, by: str) -> None:
        """Retire a version whose training did not succeed."""
        with self._transaction() as connection:
            set_status(connection, series, target, version, "retired", by, reason)

    def prune(self, series: str) -> int:
        """Remove the stored models of retired versions that never served; returns how many folders went."""
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT target, version, artefact_sha256 FROM model_version v "
                "WHERE series = ? AND status = 'retired' AND artefact_sha256 IS NOT NULL AND NOT EXISTS "
                "(SELECT 1 FROM model_event e WHERE e.series = v.series AND e.target = v.target "
                "AND e.version = v.version AND e.event = 'deployed')",
                (series,),
            ).fetchall()
            for target, version, _ in found:
                connection.execute(
                    f"UPDATE model_version SET artefact_sha256 = NULL WHERE {OF_VERSION}", (series, target, version)
                )
            unused = {
                digest
                for _, _, digest in found
                if not connection.execute(
                    "SELECT 1 FROM model_version WHERE artefact_sha256 = ? LIMIT 1", (digest,)
                ).fetchone()
            }
        for digest in unused:
            self._artefacts.remove(digest)
        return len(unused)

    # -- serving ---------------------------------------------------------------------------------------

    def challenge(self, series: str, target: str, version: int, by: str, reason: str) -> None:
        """Let a version stand against the champion, in place of the challenger before it."""
        with self._transaction() as connection:
            former = aliased(connection, series, target, CHALLENGER)
            if former is not None and former != version:
                drop_alias(connection, series, target, CHALLENGER, by, f"replaced by version {version}")
            if former != version:
                set_alias(connection, series, target, CHALLENGER, version, by, reason)

    def promote(self, series: str, target: str, version: int, by: str, reason: str) -> None:
        """Make a version the champion; the former champion is retired. It must have a stored artefact."""
        with self._transaction() as connection:
            row = connection.execute(
                f"SELECT artefact_sha256 FROM model_version WHERE {OF_VERSION}", (series, target, version)
            ).fetchone()
            if row is None or row[0] is None:
                raise RegistryError(f"{series} {target} version {version} has no stored model, so it cannot serve.")
            former = aliased(connection, series, target, CHAMPION)
            if former == version:
                return
            if former is not None:
                drop_alias(connection, series, target, CHAMPION, by, f"replaced by version {version}")
                set_status(connection, series, target, former, "retired", by, f"replaced by version {version}")
            if aliased(connection, series, target, CHALLENGER) == version:
                drop_alias(connection, series, target, CHALLENGER, by, "it becomes the champion")
            set_alias(connection, series, target, CHAMPION, version, by, reason)
            set_status(connection, series, target, version, "deployed", by, reason)

    def demote(self, series: str, target: str, by: str, reason: str) -> None:
        """Let naive serve: the champion is retired and no version takes its place."""
        with self._transaction() as connection:
            former = aliased(connection, series, target, CHAMPION)
            if former is not None:
                drop_alias(connection, series, target, CHAMPION, by, reason)
                set_status(connection, series, target, former, "retired", by, reason)

    def rollback(self, series: str, target: str, by: str, reason: str) -> int:
        """Bring back the version that served before the present champion; returns its number.

        Raises :class:`RegistryError` when none has served before.
        """
        with self._transaction() as connection:
            present = aliased(connection, series, target, CHAMPION)
            served = connection.execute(
                "SELECT version FROM model_event WHERE series = ? AND target = ? AND event = 'deployed' ORDER BY id",
                (series, target),
            ).fetchall()
        order = [version for (version,) in served]
        before = order[: len(order) - 1 - order[::-1].index(present)] if present in order else order
        earlier = [version for version in before if version != present]
        if not earlier:
            raise RegistryError(f"{series} {target}: no earlier champion to go back to. Naive serves after a demotion.")
        self.promote(series, target, earlier[-1], by, f"rollback: {reason}")
        return int(earlier[-1])

    # -- reading ---------------------------------------------------------------------------------------

    def champion(self, series: str, target: str) -> Version | None:
        """The version that serves; None means naive."""
        return self._by_alias(series, target, CHAMPION)

    def challenger(self, series: str, target: str) -> Version | None:
        return self._by_alias(series, target, CHALLENGER)

    def version(self, series: str, target: str, version: int) -> Version:
        """One version. Raises :class:`RegistryError` where there is none of that number."""
        with self._connection() as connection:
            found = select_versions(
                connection, "WHERE v.series = ? AND v.target = ? AND v.version = ?", (series, target, version)
            )
        if not found:
            raise RegistryError(f"{series} {target} has no version {version}.")
        return found[0]

    def versions(self, series: str | None = None) -> list[Version]:
        """All versions, or those of one series, oldest first."""
        with self._connection() as connection:
            return select_versions(connection, "WHERE v.series = ?" if series else "", (series,) if series else ())

    def events(self, series: str, target: str | None = None) -> list[dict[str, Any]]:
        """What happened to the versions and aliases of a series, oldest first."""
        with self._connection() as connection:
            return rows_of(
                connection,
                "SELECT e.*, v.model FROM model_event e JOIN model_version v USING (series, target, version) "
                "WHERE e.series = ? AND e.target = coalesce(?, e.target) ORDER BY e.id",
                (series, target),
            )

    def skills(self) -> list[dict[str, Any]]:
        """Held-out skill of the newest judged version of each series, target and model, a row per step.

        ``stored`` says whether its model can be loaded; ``judged_from`` and ``judged_to`` are naive UTC.
        """
        with self._connection() as connection:
            rows = rows_of(connection, SKILLS_SQL, ())
        for row in rows:
            row |= {name: datetime.fromisoformat(row[name]) for name in ("judged_from", "judged_to")}
        return rows

    def measured(self) -> list[Measured]:
        """What every training that was timed took, oldest first."""
        with self._connection() as connection:
            rows = rows_of(
                connection,
                "SELECT model, target, rows, fit_s, load_s, predict_s, device FROM model_version "
                "WHERE fit_s IS NOT NULL ORDER BY trained_at",
                (),
            )
        return [Measured(**row) for row in rows]

    def last_training(self, series: str) -> datetime | None:
        """When training of any target of the series last started."""
        with self._connection() as connection:
            (at,) = connection.execute(
                "SELECT max(at) FROM model_event WHERE series = ? AND event = 'training'", (series,)
            ).fetchone()
        return datetime.fromisoformat(at) if at else None

    def last_event(self) -> datetime | None:
        """When anything last happened."""
        with self._connection() as connection:
            row = connection.execute("SELECT at FROM model_event ORDER BY id DESC LIMIT 1").fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def artefact(self, version: Version) -> Path:
        """Folder of the stored model, its hash verified. Raises :class:`TamperedArtefactError`."""
        if version.artefact_sha256 is None:
            raise RegistryError(f"{version.series} {version.target} version {version.version} has no stored model.")
        folder = self._artefacts.verified(version.artefact_sha256)
        if folder is None:
            raise TamperedArtefactError(
                f"the stored model of {version.series} {version.target} version {version.version} is missing or was "
                "changed after it was registered. Roll back or train again."
            )
        return folder

    def to_arrow(self, series: str | None = None) -> pa.Table:
        """Versions as rows of ``models.versions``."""
        return version_rows(self.versions(series))

    def events_to_arrow(self, series: str) -> pa.Table:
        """Events as rows of ``models.events``."""
        return event_rows(self.events(series))

    # -- inside ----------------------------------------------------------------------------------------

    def _by_alias(self, series: str, target: str, alias: str) -> Version | None:
        with self._connection() as connection:
            found = select_versions(
                connection, "WHERE v.series = ? AND v.target = ? AND a.alias = ?", (series, target, alias)
            )
        return found[0] if found else None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection of this thread; opening one takes longer than what is asked of it."""
        if getattr(self._opened, "connection", None) is None:
            path = self.folder / "registry.sqlite"
            self._opened.connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        yield self._opened.connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits at the end; an exception undoes everything."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _owner(series: str) -> str:
    """Name of a series that a file may have."""
    return hashlib.sha256(series.encode()).hexdigest()[:16]
