"""The model registry: one SQLite file (WAL) and a folder of artefacts named by their hash.

A version belongs to a series and a target. The aliases ``champion`` and ``challenger`` move between versions; where
no champion is set, naive serves. Every change of a version or alias is an event; events are never changed.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from orderflow_assets.forecasting.frame import Series, utc_now
from orderflow_assets.forecasting.tables import STATUSES, VERSIONS

CHAMPION, CHALLENGER = "champion", "challenger"
_BUSY_S = 10.0

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS model_version (
    series TEXT NOT NULL, target TEXT NOT NULL, version INTEGER NOT NULL, model TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN {STATUSES}), trained_at TEXT NOT NULL, data_from TEXT NOT NULL,
    data_to TEXT NOT NULL, rows INTEGER NOT NULL, data_hash TEXT NOT NULL, code_version TEXT NOT NULL,
    parameters TEXT NOT NULL, metrics TEXT, reference TEXT, artefact_sha256 TEXT, reason TEXT,
    PRIMARY KEY (series, target, version));
CREATE TABLE IF NOT EXISTS model_alias (
    series TEXT NOT NULL, target TEXT NOT NULL, alias TEXT NOT NULL CHECK (alias IN ('{CHAMPION}', '{CHALLENGER}')),
    version INTEGER NOT NULL, set_at TEXT NOT NULL, set_by TEXT NOT NULL,
    PRIMARY KEY (series, target, alias));
CREATE TABLE IF NOT EXISTS model_event (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, series TEXT NOT NULL, target TEXT NOT NULL, version INTEGER NOT NULL,
    event TEXT NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL);
"""


class RegistryError(Exception):
    """The registry cannot do what was asked; the message says why and what to do."""


class TamperedArtefactError(RegistryError):
    """A stored model is not what was registered."""


@dataclass(frozen=True, slots=True)
class Version:
    """A trained model of one series and target. Times are naive UTC; ``data_to`` is the last bar trained on."""

    series: str
    target: str
    version: int
    model: str
    status: str
    trained_at: datetime
    data_from: datetime
    data_to: datetime
    rows: int
    data_hash: str
    code_version: str
    parameters: dict[str, Any]
    metrics: dict[str, Any] | None
    reference: list[float] | None
    """Scaled absolute one-step errors on the held-out bars: what drift is measured against."""
    artefact_sha256: str | None
    reason: str | None
    alias: str | None


@dataclass(frozen=True, slots=True)
class Training:
    """What is known when training starts."""

    series: str
    target: str
    model: str
    data_from: datetime
    data_to: datetime
    rows: int
    data_hash: str
    code_version: str
    parameters: dict[str, Any]


class Registry:
    """The registry under ``data_dir/models``. Every method is one transaction and safe between processes."""

    def __init__(self, data_dir: Path | str) -> None:
        self.folder = Path(data_dir) / "models"
        self._artefacts = self.folder / "artefacts"
        self._artefacts.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    # -- writing ---------------------------------------------------------------------------------------

    def begin(self, training: Training, by: str) -> int:
        """Register a version with the status ``training``; returns its number."""
        with self._transaction() as connection:
            (number,) = connection.execute(
                "SELECT coalesce(max(version), 0) + 1 FROM model_version WHERE series = ? AND target = ?",
                (training.series, training.target),
            ).fetchone()
            connection.execute(
                "INSERT INTO model_version (series, target, version, model, status, trained_at, data_from, data_to, "
                "rows, data_hash, code_version, parameters) VALUES (?, ?, ?, ?, 'training', ?, ?, ?, ?, ?, ?, ?)",
                (
                    training.series,
                    training.target,
                    number,
                    training.model,
                    utc_now().isoformat(),
                    training.data_from.isoformat(),
                    training.data_to.isoformat(),
                    training.rows,
                    training.data_hash,
                    training.code_version,
                    msgspec.json.encode(training.parameters).decode(),
                ),
            )
            _event(connection, training.series, training.target, number, "training", by, "training started")
        return int(number)

    def complete(
        self, series: str, target: str, version: int, save: Callable[[Path], None], reference: list[float], by: str
    ) -> str:
        """Store the artefact that ``save`` writes into a folder and make the version the challenger.

        The former challenger, if it never served, is retired. Returns the artefact's SHA-256.
        """
        digest = self._store(save)
        with self._transaction() as connection:
            former = _aliased(connection, series, target, CHALLENGER)
            if former is not None:
                _set_status(connection, series, target, former, "retired", by, f"replaced by version {version}")
            connection.execute(
                "UPDATE model_version SET artefact_sha256 = ?, reference = ? "
                "WHERE series = ? AND target = ? AND version = ?",
                (digest, msgspec.json.encode(reference).decode(), series, target, version),
            )
            _set_status(connection, series, target, version, "registered", by, "trained, not judged yet")
            _set_alias(connection, series, target, CHALLENGER, version, by)
        return digest

    def record_judgement(
        self, series: str, target: str, version: int, metrics: dict[str, Any], *, won: bool, reason: str, by: str
    ) -> None:
        """Keep the held-out figures; ``validated`` when the version won, else it stays ``registered``."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE model_version SET metrics = ? WHERE series = ? AND target = ? AND version = ?",
                (msgspec.json.encode(metrics).decode(), series, target, version),
            )
            status = "validated" if won else "registered"
            _set_status(connection, series, target, version, status, by, reason)

    def fail(self, series: str, target: str, version: int, reason: str, by: str) -> None:
        """Retire a version whose training did not succeed."""
        with self._transaction() as connection:
            _set_status(connection, series, target, version, "retired", by, reason)

    def promote(self, series: str, target: str, version: int, by: str, reason: str) -> None:
        """Make a version the champion; the former champion is retired. It must have a stored artefact."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT artefact_sha256 FROM model_version WHERE series = ? AND target = ? AND version = ?",
                (series, target, version),
            ).fetchone()
            if row is None or row[0] is None:
                raise RegistryError(f"{series} {target} version {version} has no stored model, so it cannot serve.")
            former = _aliased(connection, series, target, CHAMPION)
            if former == version:
                return
            if former is not None:
                _set_status(connection, series, target, former, "retired", by, f"replaced by version {version}")
            if _aliased(connection, series, target, CHALLENGER) == version:
                _drop_alias(connection, series, target, CHALLENGER)
            _set_alias(connection, series, target, CHAMPION, version, by)
            _set_status(connection, series, target, version, "deployed", by, reason)

    def demote(self, series: str, target: str, by: str, reason: str) -> None:
        """Let naive serve: the champion is retired and no version takes its place."""
        with self._transaction() as connection:
            former = _aliased(connection, series, target, CHAMPION)
            if former is not None:
                _drop_alias(connection, series, target, CHAMPION)
                _set_status(connection, series, target, former, "retired", by, reason)

    def rollback(self, series: str, target: str, by: str, reason: str) -> int:
        """Bring back the version that served before the present champion; returns its number.

        Raises :class:`RegistryError` when none has served before.
        """
        with self._transaction() as connection:
            present = _aliased(connection, series, target, CHAMPION)
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

    def versions(self, series: str | None = None) -> list[Version]:
        """All versions, or those of one series, oldest first."""
        with self._connection() as connection:
            return _select(connection, "WHERE v.series = ?" if series else "", (series,) if series else ())

    def events(self, series: str, target: str | None = None) -> list[dict[str, Any]]:
        """What happened to the versions of a series, oldest first."""
        with self._connection() as connection:
            cursor = connection.execute(
                "SELECT at, target, version, event, by, reason FROM model_event "
                "WHERE series = ? AND target = coalesce(?, target) ORDER BY id",
                (series, target),
            )
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def last_training(self, series: str) -> datetime | None:
        """When training of any target of the series last started."""
        with self._connection() as connection:
            (at,) = connection.execute(
                "SELECT max(at) FROM model_event WHERE series = ? AND event = 'training'", (series,)
            ).fetchone()
        return datetime.fromisoformat(at) if at else None

    def artefact(self, version: Version) -> Path:
        """Folder of the stored model, its hash verified. Raises :class:`TamperedArtefactError`."""
        if version.artefact_sha256 is None:
            raise RegistryError(f"{version.series} {version.target} version {version.version} has no stored model.")
        folder = self._artefacts / version.artefact_sha256
        if not folder.is_dir() or hash_folder(folder) != version.artefact_sha256:
            raise TamperedArtefactError(
                f"the stored model of {version.series} {version.target} version {version.version} is missing or was "
                "changed after it was registered. Roll back or train again."
            )
        return folder

    def to_arrow(self, series: str | None = None) -> pa.Table:
        """Versions as rows of ``models.versions``."""
        rows = []
        for version in self.versions(series):
            identity = Series.parse(version.series)
            row = {name: getattr(version, name) for name in VERSIONS.names if hasattr(version, name)}
            row |= {"symbol": identity.symbol, "exchange": identity.exchange, "market_type": identity.market_type}
            row |= {name: msgspec.json.encode(row[name]).decode() for name in ("parameters", "metrics") if row[name]}
            rows.append(row)
        return pa.Table.from_pylist(rows, VERSIONS.arrow_schema)

    # -- inside ----------------------------------------------------------------------------------------

    def _store(self, save: Callable[[Path], None]) -> str:
        staged = Path(tempfile.mkdtemp(prefix="staged-", dir=self.folder))
        try:
            save(staged)
            digest = hash_folder(staged)
            final = self._artefacts / digest
            if not final.exists():
                staged.rename(final)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return digest

    def _by_alias(self, series: str, target: str, alias: str) -> Version | None:
        with self._connection() as connection:
            found = _select(connection, "WHERE v.series = ? AND v.target = ? AND a.alias = ?", (series, target, alias))
        return found[0] if found else None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.folder / "registry.sqlite", timeout=_BUSY_S, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits at the end; closing the connection after an exception undoes everything."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def hash_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of all files below ``folder``."""
    hasher = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        hasher.update(f"{path.relative_to(folder).as_posix()}\n{content}\n".encode())
    return hasher.hexdigest()


def _select(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[Version]:
    cursor = connection.execute(
        f"SELECT v.*, a.alias FROM model_version v LEFT JOIN model_alias a USING (series, target, version) {where} "
        "ORDER BY v.series, v.target, v.version",
        values,
    )
    names = [column[0] for column in cursor.description]
    return [_version(dict(zip(names, row, strict=True))) for row in cursor]


def _version(row: dict[str, Any]) -> Version:
    for name in ("trained_at", "data_from", "data_to"):
        row[name] = datetime.fromisoformat(row[name])
    for name in ("parameters", "metrics", "reference"):
        row[name] = msgspec.json.decode(row[name]) if row[name] else None
    return Version(**row)


def _aliased(connection: sqlite3.Connection, series: str, target: str, alias: str) -> int | None:
    row = connection.execute(
        "SELECT version FROM model_alias WHERE series = ? AND target = ? AND alias = ?", (series, target, alias)
    ).fetchone()
    return int(row[0]) if row else None


def _set_alias(connection: sqlite3.Connection, series: str, target: str, alias: str, version: int, by: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO model_alias (series, target, alias, version, set_at, set_by) VALUES (?, ?, ?, ?, ?, ?)",
        (series, target, alias, version, utc_now().isoformat(), by),
    )


def _drop_alias(connection: sqlite3.Connection, series: str, target: str, alias: str) -> None:
    connection.execute("DELETE FROM model_alias WHERE series = ? AND target = ? AND alias = ?", (series, target, alias))


def _set_status(
    connection: sqlite3.Connection, series: str, target: str, version: int, status: str, by: str, reason: str
) -> None:
    changed = connection.execute(
        "UPDATE model_version SET status = ?, reason = ? WHERE series = ? AND target = ? AND version = ?",
        (status, reason, series, target, version),
    )
    if changed.rowcount != 1:
        raise RegistryError(f"{series} {target} has no version {version}.")
    _event(connection, series, target, version, status, by, reason)


def _event(
    connection: sqlite3.Connection, series: str, target: str, version: int, event: str, by: str, reason: str
) -> None:
    connection.execute(
        "INSERT INTO model_event (at, series, target, version, event, by, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (utc_now().isoformat(), series, target, version, event, by, reason),
    )
