"""The DuckDB connection of the one owning process, and what may be done with it.

Reads run one statement in a read-only transaction with a time limit; writes replace or append rows of a
declared table in one transaction. The daemon's writer uses :meth:`Engine.cursor` for its own transactions.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from orderflow_streaming.store.errors import (
    ArchiveError,
    InvalidQueryError,
    InvalidWriteError,
    QueryMemoryError,
    QueryTimeoutError,
    StoreBusyError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from orderflow_streaming.store.place import Folder, Place, place
from orderflow_streaming.store.window import Window, naive_utc
from orderflow_streaming.tables import Table

Parameters = Mapping[str, Any] | Sequence[Any] | None

BATCH_ROWS = 65_536
DEFAULT_TIMEOUT_S = 20.0
_CONFLICT_RETRIES = 5
_READ_STATEMENTS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class Engine:
    """Owner of one DuckDB file. Thread-safe: each call runs on a cursor of its own."""

    def __init__(
        self,
        path: Path | str,
        *,
        memory_limit: str = "2GB",
        threads: int = 2,
        concurrent_reads: int = 4,
        read_only: bool = False,
        archive: Place | None = None,
    ) -> None:
        """``archive`` is where sealed hours lie; the place the database names itself when it is not given."""
        self.path = Path(path) if str(path) != ":memory:" else None
        self._scratch = ExitStack()
        own = self.path.parent if self.path else self._scratch.enter_context(TemporaryDirectory(prefix="orderflow-"))
        self._own = Path(own).resolve() / "store"
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": threads,
            "python_enable_replacements": False,
        }
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise StoreLockedError(
                    f"the database {path} is held by another process. "
                    "Stop it, or let it serve the file (orderflow-stream run) and connect to it."
                ) from error
            raise StoreUnavailableError(f"the database {path} cannot be opened: {first_line(error)}") from error
        self.archive = archive or self._named_archive()
        """Where sealed hours lie; nothing else outside the database can be read."""
        self._allow_archive()
        for setting in ("GLOBAL TimeZone = 'UTC'", "enable_external_access=false", "lock_configuration=true"):
            self._connection.execute(f"SET {setting}")
        self._reads = threading.BoundedSemaphore(concurrent_reads)
        self._writes = threading.Lock()
        self._declared: set[str] = set()

    @property
    def staging(self) -> Path:
        """Folder for files that are not complete yet."""
        return Path(self.archive.root) / ".staging" if isinstance(self.archive, Folder) else self._own / "staging"

    @property
    def empty(self) -> Path:
        """A Parquet file without rows, at hand even when the archive is not."""
        return self._own / "empty.parquet"

    def _named_archive(self) -> Place | None:
        with self._cursor() as cursor:
            try:
                named = cursor.execute("SELECT root FROM ops.archive_site").fetchall()
            except duckdb.CatalogException:
                return None
        return place(named[0][0]) if named else None

    def _allow_archive(self) -> None:
        if self.archive is None:
            return
        if self.archive.filesystem is not None:
            self._connection.register_filesystem(self.archive.filesystem)
        allowed = [*self.archive.prefixes, f"{self.staging}/"]
        self._connection.execute(f"SET allowed_directories = {allowed!r}")
        self._connection.execute(f"SET allowed_paths = {[str(self.empty)]!r}")
        self._connection.execute("SET parquet_metadata_cache = true")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of the owning connection; the caller closes it."""
        return self._connection.cursor()

    def close(self) -> None:
        self._connection.close()
        self._scratch.close()

    def checkpoint(self, timeout_s: float = 30.0) -> None:
        """Move the write-ahead log into the database file, between two writing transactions."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with self._cursor() as cursor:
                    cursor.execute("CHECKPOINT")
                return
            except duckdb.TransactionException as error:
                if time.monotonic() > deadline:
                    raise StoreBusyError(f"writers left no moment for a checkpoint in {timeout_s:g} s.") from error
            time.sleep(random.uniform(0.005, 0.05))

    # -- reading ---------------------------------------------------------------------------------------

    def read(
        self,
        sql: str,
        parameters: Parameters = None,
        *,
        max_rows: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Run one read-only statement; the schema at once, the batches as they are asked for.

        Raises :class:`InvalidQueryError` for anything but one reading statement, :class:`QueryTimeoutError`
        and :class:`QueryMemoryError` when a limit cancels it (while iterating too), and
        :class:`StoreBusyError` when no slot frees up within the time limit.
        """
        check_read_only(sql)
        started = time.monotonic()
        if not self._reads.acquire(timeout=timeout_s):
            raise StoreBusyError(f"too many queries run at once; none ended within {timeout_s:g} s. Try again.")
        batches = self._read(sql, parameters, max_rows, timeout_s, started)
        schema = next(batches)
        return schema, batches

    def _read(
        self, sql: str, parameters: Parameters, max_rows: int | None, timeout_s: float, started: float
    ) -> Iterator[Any]:
        """Yields the schema, then the batches; ends the transaction and frees the slot whatever happens."""
        cursor = self._connection.cursor()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            cursor.interrupt()

        timer = threading.Timer(max(0.001, timeout_s - (time.monotonic() - started)), expire)
        timer.daemon = True
        try:
            timer.start()
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            relation = cursor.sql(sql, params=_bound(parameters))
            reader = relation.to_arrow_reader(BATCH_ROWS)
            yield reader.schema
            left = max_rows
            for batch in reader:
                if left is not None:
                    batch = batch.slice(0, left)
                    left -= batch.num_rows
                if batch.num_rows:
                    yield batch
                if left == 0:
                    break
                if expired.is_set():
                    raise duckdb.InterruptException("Interrupted")
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _read_error(error, expired.is_set(), timeout_s) from error
        finally:
            timer.cancel()
            cursor.close()
            self._reads.release()

    # -- writing ---------------------------------------------------------------------------------------

    def ensure(self, *tables: Table) -> None:
        """Create the declared tables that do not exist; raise if one exists with other columns."""
        for table in tables:
            if table.qualified in self._declared:
                continue
            with self._writes, self._cursor() as cursor:
                for statement in table.ddl:
                    try:
                        cursor.execute(statement)
                    except duckdb.CatalogException as error:
                        raise InvalidWriteError(f"{table.qualified} is a view; nothing is written to it.") from error
                stored = [
                    row[0]
                    for row in cursor.execute(
                        "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
                        "AND NOT internal ORDER BY column_index",
                        [table.schema, table.name],
                    ).fetchall()
                ]
                missing = [column for column in table.columns if column.name not in stored]
                for column in missing:
                    cursor.execute(
                        f'ALTER TABLE "{table.schema}"."{table.name}" ADD COLUMN {column.sql.removesuffix(" NOT NULL")}'
                    )
                extra = sorted(set(stored) - set(table.names))
                if extra:
                    raise InvalidWriteError(
                        f"table {table.qualified} is stored with columns its declaration lacks: {', '.join(extra)}. "
                        "Drop them or declare them."
                    )
            self._declared.add(table.qualified)

    def write(self, table: Table, data: pa.Table, window: Window | None = None) -> int:
        """Insert ``data``; with a window, the rows in it are replaced. One transaction; returns rows inserted.

        ``data`` has exactly the declared columns, in any order; it is cast before anything is deleted.
        """
        rows = conform(data, table)
        names = ", ".join(f'"{name}"' for name in table.names)
        return self._replace(table, window, f"SELECT {names} FROM incoming", None, rows)

    def insert_select(self, table: Table, sql: str, parameters: Parameters = None, window: Window | None = None) -> int:
        """Insert the rows of one SELECT, by column name, without leaving the owner; else as :meth:`write`."""
        check_read_only(sql)
        with self._cursor() as cursor:
            try:
                produced = set(cursor.sql(sql, params=_bound(parameters)).columns)
            except duckdb.Error as error:
                raise InvalidQueryError(first_line(error)) from error
        _check_names(produced, table)
        return self._replace(table, window, sql.strip().rstrip(";"), parameters, None)

    def _replace(
        self, table: Table, window: Window | None, select: str, parameters: Parameters, incoming: pa.Table | None
    ) -> int:
        self.ensure(table)
        target = f'"{table.schema}"."{table.name}"'
        for attempt in range(_CONFLICT_RETRIES):
            try:
                with self._writes, self.transaction() as cursor:
                    if incoming is not None:
                        cursor.register("incoming", incoming)
                    if window is not None:
                        predicate, values = window.predicate(table)
                        cursor.execute(f"DELETE FROM {target} WHERE {predicate}", values)
                    inserted = cursor.execute(f"INSERT INTO {target} BY NAME {select}", _bound(parameters)).fetchone()
                    return int(inserted[0]) if inserted else 0
            except duckdb.TransactionException as error:
                if attempt == _CONFLICT_RETRIES - 1:
                    raise StoreBusyError(f"another writer keeps changing {table.qualified}. Try again.") from error
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)
            except duckdb.OutOfMemoryException as error:
                raise QueryMemoryError(f"writing {table.qualified} needs more memory than the store has.") from error
            except duckdb.Error as error:
                raise InvalidWriteError(f"{table.qualified}: {first_line(error)}") from error
        raise StoreError("unreachable")

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor inside a transaction: committed at the end, rolled back on any exception."""
        with self._cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            yield cursor
        finally:
            cursor.close()


def check_read_only(sql: str) -> None:
    """Raise :class:`InvalidQueryError` unless ``sql`` is exactly one statement that only reads."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InvalidQueryError(first_line(error)) from error
    if len(statements) != 1:
        raise InvalidQueryError(f"send one statement, not {len(statements)}.")
    if statements[0].type not in _READ_STATEMENTS:
        raise InvalidQueryError(f"only reading is allowed here; this is a {statements[0].type.name} statement.")


def conform(data: pa.Table, table: Table) -> pa.Table:
    """``data`` with the declared columns in declared order and types; :class:`InvalidWriteError` if it cannot be."""
    _check_names(set(data.column_names), table)
    schema = table.arrow_schema
    try:
        rows = data.select(list(table.names)).cast(pa.schema([field.with_nullable(True) for field in schema]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise InvalidWriteError(f"table {table.qualified}: {first_line(error)}") from error
    for column in table.columns:
        if not column.nullable and rows.column(column.name).null_count:
            raise InvalidWriteError(f"table {table.qualified}: column {column.name!r} must not be NULL.")
    return rows


def _check_names(names: set[str], table: Table) -> None:
    missing, extra = [name for name in table.names if name not in names], sorted(names - set(table.names))
    if missing or extra:
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"not declared {', '.join(extra)}"] if extra else []
        raise InvalidWriteError(f"the rows do not fit table {table.qualified}: {'; '.join(parts)}.")


def _bound(parameters: Parameters) -> Any:
    """Parameters as DuckDB takes them, with zone-aware times turned into the naive UTC that is stored."""
    if parameters is None:
        return None
    if isinstance(parameters, Mapping):
        return {name: _plain(value) for name, value in parameters.items()} or None
    return [_plain(value) for value in parameters] or None


def _plain(value: Any) -> Any:
    return naive_utc(value) if isinstance(value, datetime) else value


def _read_error(error: Exception, expired: bool, timeout_s: float) -> StoreError:
    if expired or isinstance(error, duckdb.InterruptException):
        return QueryTimeoutError(
            f"the query ran longer than {timeout_s:g} s and was cancelled. Narrow the time range or aggregate first."
        )
    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory" in text:
        return QueryMemoryError(
            "the query needed more memory than the store gives to queries and was cancelled. "
            "Select fewer columns, narrow the time range or aggregate first."
        )
    if isinstance(error, duckdb.IOException) or type(error) is duckdb.Error:
        return ArchiveError(f"a file of the archive cannot be read: {first_line(error)}")
    return InvalidQueryError(first_line(error))


def first_line(error: BaseException) -> str:
    """One line for a person; of a traceback that DuckDB passes on, what was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]
