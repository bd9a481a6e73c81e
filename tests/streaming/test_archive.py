"""Closed hours become files and leave the database, and nobody who reads notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from orderflow_streaming.archive import sealing
from orderflow_streaming.archive.continuous import create_views
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import ArchiveError, InvalidActionError, InvalidQueryError, connect
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.store.place import Folder
from tests.streaming.archives import FIRST, FIRST_MS, HOUR_MS, Node, hour_of_everything, opened
from tests.streaming.messages import candle, interest, mark, trade

FILLED = {"trades", "prices", "orderbooks", "mark_prices", "funding_rates", "index_prices", "candles", "open_interest"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(*(frame for hour in range(3) for frame in hour_of_everything(hour)))
        yield node


def everything(node: Node) -> dict[str, list[tuple[Any, ...]]]:
    return {name: node.rows(f"SELECT * FROM main.{name} ORDER BY ALL") for name in STREAMS}


def described(node: Node) -> dict[str, list[tuple[str, str]]]:
    return {
        name: node.rows(f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{name}' "
                        "AND table_schema = 'main' ORDER BY ordinal_position")
        for name in STREAMS
    }  # fmt: skip


def manifest(node: Node) -> list[tuple[Any, ...]]:
    return node.rows("SELECT stream, hour, version, path, rows, dropped_at FROM ops.archive ORDER BY stream, hour")


# -- sealing ------------------------------------------------------------------------------------------------


def test_a_sealed_hour_lies_where_its_stream_date_and_hour_say(node: Node, tmp_path: Path) -> None:
    done = node.seal(0)
    assert {name for name, outcome in done.items() if outcome["done"] == "sealed"} == FILLED
    assert done["liquidations"]["done"] == "empty"
    path = tmp_path / "archive" / f"stream=trades/date={FIRST:%Y-%m-%d}/hour={FIRST:%H}/alpha.parquet"
    assert done["trades"]["path"] == str(path.relative_to(tmp_path / "archive"))
    file = pq.ParquetFile(path)
    assert file.metadata.num_rows == done["trades"]["rows"] == 40
    assert file.metadata.row_group(0).column(1).compression == "ZSTD"
    assert file.schema_arrow.names == list(STREAMS["trades"].table.names)
    rows = file.read().to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["symbol"], row["exchange"], row["market_type"], row["timestamp"]))
    assert file.schema_arrow.metadata[b"orderflow_content_hash"].decode() == done["trades"]["content_hash"]
    assert path.stat().st_size == done["trades"]["bytes"]


def test_sealing_alone_changes_nothing_for_readers(node: Node) -> None:
    before, columns = everything(node), described(node)
    node.seal(0)
    assert everything(node) == before
    assert described(node) == columns
    assert node.count("hot.trades") == 120


def test_dropped_hours_are_read_from_their_files(node: Node) -> None:
    create_views(node.engine)
    before, columns = everything(node), described(node)
    isolated = node.rows("SELECT * FROM btcusdt_binance_futures_trades ORDER BY ALL")
    for hour in range(3):
        node.seal(hour)
    dropped = node.act("drop")
    assert {done["done"] for done in dropped["hours"]} == {"dropped"}
    assert dropped["unsealed"] == []
    assert [node.count(f"hot.{name}") for name in STREAMS] == [0] * len(STREAMS)
    assert everything(node) == before
    assert described(node) == columns
    assert node.rows("SELECT * FROM btcusdt_binance_futures_trades ORDER BY ALL") == isolated
    assert columns["orderbooks"] == [(column.name, column.type) for column in STREAMS["orderbooks"].table.columns]


def test_what_is_not_sealed_is_not_dropped(node: Node) -> None:
    node.seal(1, "trades")
    dropped = node.act("drop")
    assert [(done["stream"], done["done"], done["rows"]) for done in dropped["hours"]] == [("trades", "dropped", 40)]
    assert {"stream": "trades", "hour": FIRST.isoformat()} in dropped["unsealed"]
    assert node.count("hot.trades") == 80
    assert node.count("trades") == 120


def test_without_a_retention_nothing_is_dropped(tmp_path: Path) -> None:
    with opened(tmp_path / "data", tmp_path / "archive", retention_hours=0) as node:
        node.store(*hour_of_everything(0))
        node.seal(0)
        assert node.act("drop") == {"hours": [], "unsealed": []}
        assert node.count("hot.trades") == 40


def test_an_hour_within_the_retention_stays(tmp_path: Path) -> None:
    with opened(tmp_path / "data", tmp_path / "archive", retention_hours=24 * 365 * 100) as node:
        node.store(*hour_of_everything(0))
        node.seal(0)
        assert node.act("drop")["hours"] == []
        assert node.count("hot.trades") == 40


def test_an_hour_that_runs_is_not_sealed(node: Node) -> None:
    running = datetime.now().replace(minute=0, second=0, microsecond=0)  # noqa: DTZ005
    with pytest.raises(InvalidActionError, match="not over"):
        node.act("seal", hour=running.isoformat())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"hour": "yesterday"}, "is not an hour"),
        ({"hour": "2026-11-24T11:30"}, "is not the start of an hour"),
        ({}, "is not an hour"),
        ({"hour": "2025-10-09T08:00", "stream": "trade"}, "Did you mean 'trades'?"),
    ],
)
def test_what_cannot_be_sealed_is_told_in_one_line(node: Node, body: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidActionError, match="(?s)" + said.replace("?", r"\?")) as caught:
        node.act("seal", **body)
    assert "\n" not in str(caught.value)


def test_sealing_what_is_sealed_leaves_the_file_alone(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "archive" / node.seal(0)["trades"]["path"]
    before = path.stat()
    assert node.seal(0)["trades"]["done"] == "unchanged"
    node.act("drop")
    assert node.seal(0)["trades"]["done"] == "unchanged"
    assert path.stat() == before


# -- late rows ----------------------------------------------------------------------------------------------


def test_late_rows_of_a_dropped_hour_are_known_or_stored_and_merged_when_it_is_sealed_again(
    node: Node, tmp_path: Path
) -> None:
    first = node.seal(0)["trades"]["path"]
    node.act("drop")
    before = node.rows("SELECT trade_id, price FROM trades ORDER BY ALL")
    repeated = trade(FIRST_MS, 0, price="100.5")
    late = [trade(FIRST_MS + n, 500 + n) for n in range(1, 4)]
    node.store(repeated, *late, trade(FIRST_MS + 3 * HOUR_MS, 9_000))
    assert node.count("hot.trades") == 80 + 3 + 1
    everything_known = sorted([*before, ("9000", 100.0), *((str(500 + n), 100.0) for n in range(1, 4))])
    assert node.rows("SELECT trade_id, price FROM trades ORDER BY ALL") == everything_known

    again = node.seal(0)["trades"]
    assert (again["done"], again["rows"], again["dropped"]) == ("sealed again", 43, True)
    assert again["path"] != first
    assert node.count("hot.trades") == 80 + 1
    assert node.rows("SELECT trade_id, price FROM trades ORDER BY ALL") == everything_known
    assert (tmp_path / "archive" / first).exists(), "a reader that began before may still need it"
    node.store(repeated, *late)
    assert node.count("trades") == len(everything_known)


def test_late_rows_of_an_hour_that_is_sealed_and_hot_are_merged_before_it_is_dropped(node: Node) -> None:
    node.seal(0, "trades")
    node.store(trade(FIRST_MS + 7, 777))
    (done,) = node.act("drop")["hours"]
    assert (done["done"], done["rows"]) == ("dropped", 41)
    assert node.count("trades") == 121
    assert node.rows("SELECT count(*) FROM trades WHERE trade_id = '777'") == [(1,)]


def test_a_replaced_file_goes_when_no_reader_can_need_it(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "archive" / node.seal(0)["trades"]["path"]
    node.store(trade(FIRST_MS + 7, 777))
    second = tmp_path / "archive" / node.seal(0)["trades"]["path"]
    node.act("drop")
    assert first.exists()
    monkeypatch.setattr(sealing, "REPLACED_FOR", -sealing.GRACE)
    node.act("drop")
    assert not first.exists()
    assert second.exists()
    assert node.count("trades") == 121


def test_a_candle_that_was_sealed_open_is_closed_later(tmp_path: Path) -> None:
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(candle(FIRST_MS, "101", 1), candle(FIRST_MS + 60_000, "105", 2, closed=True))
        node.seal(0)
        node.act("drop")
        assert node.count("hot.candles") == 0
        node.store(candle(FIRST_MS, "104", 9, closed=True), received_ms=FIRST_MS + HOUR_MS)
        closed = [("104.0", True), ("105.0", True)]
        sql = "SELECT close::VARCHAR, is_closed FROM candles ORDER BY open_time"
        assert node.rows(sql) == closed
        assert node.count("hot.candles") == 2, "the hour is back, because it changed"
        assert node.seal(0)["candles"]["done"] == "sealed again"
        node.act("drop")
        assert node.count("hot.candles") == 0
        assert node.rows(sql) == closed


def test_funding_and_open_interest_look_into_dropped_hours(tmp_path: Path) -> None:
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(interest(FIRST_MS + 1_000, "1000.0"), mark(FIRST_MS + 1_000))
        node.seal(0)
        node.act("drop")
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        later = FIRST_MS + HOUR_MS + 2_000
        node.store(interest(later, "1100.0"), mark(later), received_ms=later)
        assert node.rows("SELECT oi_change_1h FROM open_interest ORDER BY timestamp") == [(None,), (100.0,)]
        assert node.count("funding_rates") == 1, "the rate is as it was"


def test_ids_go_on_after_everything_was_dropped_and_the_store_was_opened_again(tmp_path: Path) -> None:
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(*(trade(FIRST_MS + n, n) for n in range(5)))
        node.seal(0)
        node.act("drop")
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        node.store(trade(FIRST_MS + HOUR_MS, 9), trade(FIRST_MS, 0))
        assert node.rows("SELECT id, trade_id::INT FROM trades ORDER BY id") == [
            *((n + 1, n) for n in range(5)),
            (6, 9),
        ]


# -- readers meanwhile --------------------------------------------------------------------------------------


def test_readers_see_every_row_once_while_hours_are_sealed_dropped_and_sealed_again(tmp_path: Path) -> None:
    """Rows only ever come in, in known numbers: a reader that sees one twice, or misses one, is caught."""
    with opened(tmp_path / "data", tmp_path / "archive") as node:
        for hour in range(6):
            node.store(*(trade(FIRST_MS + hour * HOUR_MS + n * 1_000, 1_000 * hour + n) for n in range(200)))
        ended, failures, seen = threading.Event(), [], set()

        def read() -> None:
            last = 0
            while not ended.is_set():
                try:
                    ((rows, different, oldest),) = node.rows(
                        "SELECT count(*), count(DISTINCT id), count(*) FILTER (trade_id::INT < 6000) FROM trades"
                    )
                except Exception as error:
                    failures.append(error)
                    return
                if rows != different or oldest != 1_200 or rows < last:
                    failures.append((rows, different, oldest, last))
                last = rows
                seen.add(rows)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for hour in range(6):
            node.seal(hour, "trades")
            node.act("drop")
            node.store(*(trade(FIRST_MS + hour * HOUR_MS + n, 10_000 + 10 * hour + n) for n in range(1, 4)))
            node.seal(hour, "trades")
        ended.set()
        for reader in readers:
            reader.join()
        assert failures == []
        assert len(seen) > 1
        assert node.count("trades") == 1_218
        assert node.count("hot.trades") == 0


def test_a_query_that_began_before_the_drop_ends_with_what_it_began_with(node: Node) -> None:
    node.seal(0, "trades")
    _, batches = node.engine.read("SELECT count(*) AS n FROM trades, range(1)")
    with node.engine.transaction() as cursor:
        before = cursor.execute("SELECT count(*) FROM trades").fetchall()
        node.act("drop")
        assert cursor.execute("SELECT count(*) FROM trades").fetchall() == before == [(120,)]
        assert cursor.execute("SELECT count(*) FROM hot.trades").fetchall() == [(120,)]
    assert [batch.to_pylist() for batch in batches] == [[{"n": 120}]]
    assert node.count("hot.trades") == 80


# -- damage -------------------------------------------------------------------------------------------------


def test_a_file_that_was_changed_is_not_trusted_with_the_only_rows(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "archive" / node.seal(0, "trades")["trades"]["path"]
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    (verdict,) = node.act("archive_check", hour=FIRST.isoformat())["files"]
    assert not verdict["intact"]
    assert "SHA-256" in verdict["why"]
    (done,) = node.act("drop")["hours"]
    assert (done["done"], done["rows"]) == ("dropped", 40)
    assert done["path"] != str(path.relative_to(tmp_path / "archive"))
    assert node.count("trades") == 120


def test_the_loss_of_a_dropped_hour_is_said(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "archive" / node.seal(0, "trades")["trades"]["path"]
    node.act("drop")
    path.unlink()
    lost = node.seal(0, "trades")["trades"]
    assert lost["done"] == "failed"
    assert "is missing; it holds 40 rows of trades" in lost["why"]
    with pytest.raises(ArchiveError, match="cannot be read"):
        node.count("trades")
    late, now = trade(FIRST_MS, 1), trade(FIRST_MS + 5 * HOUR_MS, 9_000)
    node.store(late, now)
    assert node.count("hot.trades") == 81, "what does not need the file is stored"
    ((reason, raw),) = node.rows("SELECT reason, raw FROM ops.quarantine")
    assert raw == late
    assert "sealed and cannot be read" in reason


def test_a_file_that_reads_back_differently_is_not_written_down(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(self: Folder, staged: Path, path: str) -> None:
        staged.write_bytes(staged.read_bytes()[:100])
        publish(self, staged, path)

    publish = Folder.publish
    monkeypatch.setattr(Folder, "publish", torn)
    failed = node.seal(0)
    monkeypatch.undo()
    assert "not the file that was sealed" in failed["trades"]["why"]
    assert {failed[name]["done"] for name in FILLED} == {"failed"}
    assert manifest(node) == []
    assert node.seal(0, "trades")["trades"]["done"] == "sealed"
    assert node.count("trades") == 120


def test_a_crash_after_publishing_leaves_nothing_that_counts(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("orderflow_streaming.archive.manifest.put", crash)
        with pytest.raises(KeyboardInterrupt):
            node.seal(0, "trades")
    assert manifest(node) == []
    assert node.count("trades") == 120
    assert node.seal(0, "trades")["trades"]["done"] == "sealed"


# -- what clients may read ----------------------------------------------------------------------------------


def test_a_client_reads_the_archive_and_nothing_else(node: Node, tmp_path: Path) -> None:
    node.seal(0, "trades")
    others = [
        tmp_path / "secret.parquet",
        tmp_path / "archive-of-another" / "x.parquet",
        tmp_path / "data" / "x.parquet",
    ]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        duckdb.execute(f"COPY (SELECT 1 AS one) TO '{other}'")
    paths = [*map(str, others), f"{tmp_path}/archive/../secret.parquet", f"{tmp_path}/*", "/etc/hostname"]
    paths += [f"{tmp_path}/data/store/read.token", f"{tmp_path}/archive/stream=trades/../../secret.parquet"]
    for path in paths:
        for function in ("read_parquet", "read_text", "read_blob", "read_csv", "glob"):
            with pytest.raises(InvalidQueryError, match="disabled by configuration"):
                node.rows(f"SELECT * FROM {function}('{path}')")
    (tmp_path / "archive" / "link.parquet").symlink_to(others[0])
    for sql in (
        f"SELECT * FROM read_parquet('{tmp_path}/archive/link.parquet')",
        f"COPY (SELECT 1) TO '{tmp_path}/archive/mine.parquet'",
        f"ATTACH '{tmp_path}/archive/mine.duckdb'",
        "SET allowed_directories = ['/']",
    ):
        with pytest.raises(InvalidQueryError):
            node.rows(sql)
    assert node.rows(f"SELECT count(*) FROM read_parquet('{tmp_path}/archive/stream=trades/**/*.parquet')") == [(40,)]


# -- opening ------------------------------------------------------------------------------------------------


def test_a_database_with_its_ticks_in_main_is_moved_over_when_it_is_opened(tmp_path: Path) -> None:
    with opened(tmp_path / "data", None) as node:
        node.store(*hour_of_everything(0))
        before = everything(node)
    with duckdb.connect(str(tmp_path / "data" / "orderflow.duckdb")) as database:
        for name in STREAMS:
            database.execute(f"DROP VIEW main.{name}")
            database.execute(STREAMS[name].table.ddl[1])
            database.execute(f"INSERT INTO main.{name} SELECT * FROM hot.{name}")
        database.execute("ALTER TABLE main.liquidations DROP COLUMN raw_quantity")
        database.execute("DROP SCHEMA hot CASCADE")
    with opened(tmp_path / "data", None) as node:
        assert everything(node) == before
        assert node.count("hot.trades") == 40
        node.store(*hour_of_everything(0), *hour_of_everything(1))
        assert node.count("trades") == 80
        assert node.rows("SELECT count(DISTINCT id) FROM trades") == [(80,)]


def test_a_reader_without_a_daemon_sees_what_is_sealed(node: Node, tmp_path: Path) -> None:
    node.seal(0)
    node.act("drop")
    node.close()
    with connect(tmp_path / "data") as reader:
        assert reader.query("SELECT count(*) AS n FROM trades").to_pylist() == [{"n": 120}]
        assert reader.exists(STREAMS["trades"].table)
    Engine(tmp_path / "data" / "orderflow.duckdb").close()


def test_a_file_older_than_a_column_has_nulls_in_it(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "archive" / node.seal(0, "trades")["trades"]["path"]
    node.act("drop")
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["source_seq"]), path)
    assert node.rows("SELECT count(*), count(source_seq), count(price) FROM trades WHERE id <= 40") == [(40, 0, 40)]


def test_an_archive_that_is_not_where_it_was_is_said_at_the_start(node: Node, tmp_path: Path) -> None:
    node.seal(0)
    node.act("drop")
    node.close()
    with pytest.raises(ArchiveError, match="Set archive to where they are now"):
        Node(tmp_path / "data", tmp_path / "elsewhere")
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    with opened(tmp_path / "data", tmp_path / "elsewhere") as moved:
        assert moved.count("trades") == 120
