"""Several databases that feed one archive, archives in object stores, and archives read alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow_streaming.archive import layout
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store import ArchiveError, InvalidQueryError, StoreAuthError, StoreUnavailableError, connect
from orderflow_streaming.store.place import Folder, place
from tests.streaming.archives import FIRST, FIRST_MS, HOUR_MS, Node, hour_of_everything, opened
from tests.streaming.messages import trade


@pytest.fixture
def memory() -> Iterator[str]:
    """URL of an object store that is gone after the test."""
    fsspec = pytest.importorskip("fsspec")
    url = "memory://bucket/orderflow"
    yield url
    files = fsspec.filesystem("memory")
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


# -- several nodes ------------------------------------------------------------------------------------------


def test_each_node_sees_its_own_hot_rows_and_what_all_have_sealed(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with opened(tmp_path / "a", archive, node="a") as a, opened(tmp_path / "b", archive, node="b") as b:
        a.store(*(trade(FIRST_MS + hour * HOUR_MS, hour) for hour in range(2)))
        b.store(*(trade(FIRST_MS + hour * HOUR_MS, 100 + hour, symbol="ETHUSDT") for hour in range(2)))
        a.seal(0, "trades")
        b.archive.look()
        assert b.rows("SELECT symbol, trade_id::INT FROM trades ORDER BY ALL") == [
            ("BTCUSDT", 0),
            ("ETHUSDT", 100),
            ("ETHUSDT", 101),
        ]
        assert a.count("trades") == 2
        a.act("drop")
        b.seal(0, "trades")
        b.seal(1, "trades")
        a.archive.look()
        b.archive.look()
        assert [a.count("trades"), b.count("trades")] == [4, 3]
        assert [a.count("hot.trades"), b.count("hot.trades")] == [1, 2]
        folder = archive / f"stream=trades/date={FIRST:%Y-%m-%d}/hour={FIRST:%H}"
        assert sorted(path.name for path in folder.iterdir()) == ["a.parquet", "b.parquet"]
        assert {total["node"]: total["hours"] for total in a.act("archive_status")["sealed"]} == {"a": 1, "b": 2}


def test_what_another_node_sealed_again_replaces_what_it_sealed(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with opened(tmp_path / "a", archive, node="a") as a, opened(tmp_path / "b", archive, node="b") as b:
        a.store(trade(FIRST_MS, 0))
        a.seal(0, "trades")
        b.archive.look()
        a.act("drop")
        a.store(trade(FIRST_MS + 1, 1))
        a.seal(0, "trades")
        assert b.count("trades") == 1, "until it looks again"
        b.archive.look()
        assert b.count("trades") == 2


def test_a_row_another_node_sealed_does_not_count_as_sealed_here(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with opened(tmp_path / "a", archive, node="a") as a, opened(tmp_path / "b", archive, node="b") as b:
        for number in range(50):
            a.store(trade(FIRST_MS + number, number))
        a.seal(0, "trades")
        b.archive.look()
        b.store(trade(FIRST_MS + 7, 7, symbol="ETHUSDT"))
        assert b.rows("SELECT id FROM hot.trades") == [(1,)]


def test_a_name_that_another_database_has_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "a", tmp_path / "archive", node="same"):
        pass
    with pytest.raises(ArchiveError, match=r"as node 'same'\. Set node to a name of its own"):
        Node(tmp_path / "b", tmp_path / "archive", node="same")
    with opened(tmp_path / "a", tmp_path / "archive", node="same") as again:
        assert again.act("archive_status")["node"] == "same"


def test_a_name_can_be_changed_until_something_is_sealed_under_it(tmp_path: Path) -> None:
    with opened(tmp_path / "a", tmp_path / "archive", node="first"):
        pass
    with opened(tmp_path / "a", tmp_path / "archive", node="second") as node:
        node.store(trade(FIRST_MS, 0))
        node.seal(0, "trades")
    with pytest.raises(ArchiveError, match="as node 'second' and cannot become 'third'"):
        Node(tmp_path / "a", tmp_path / "archive", node="third")


def test_a_list_that_cannot_be_read_leaves_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = tmp_path / "archive"
    with opened(tmp_path / "a", archive, node="a") as a, opened(tmp_path / "b", archive, node="b") as b:
        a.store(trade(FIRST_MS, 0))
        a.seal(0, "trades")
        (archive / "nodes" / "broken.parquet").write_bytes(b"not a list")
        (archive / "nodes" / "it's.parquet").write_bytes(b"not a node")
        b.archive.look()
        assert b.count("trades") == 1
    assert "broken" in caplog.text


def test_an_archive_that_cannot_be_reached_stops_no_daemon_that_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "a", tmp_path / "archive") as node:
        node.store(trade(FIRST_MS, 0), trade(FIRST_MS + HOUR_MS, 1))
        node.seal(0, "trades")
        node.act("drop")

    def unreachable(*_: Any) -> Any:
        raise OSError("no route to the archive")

    (tmp_path / "archive").rename(tmp_path / "out of reach")
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "open", unreachable)
        patch.setattr(Folder, "names", unreachable)
        with pytest.raises(ArchiveError, match="cannot be reached: no route"):
            Node(tmp_path / "new", tmp_path / "archive", node="new")
        with opened(tmp_path / "a", tmp_path / "archive") as node:
            node.archive.look()
            node.store(trade(FIRST_MS + HOUR_MS + 2_000, 2))
            assert node.count("hot.trades") == 2
            assert node.count(f"trades WHERE timestamp >= '{FIRST + layout.DAY}'") == 0
            assert "no route" in node.seal(0, "trades")["trades"]["why"]


# -- object stores ------------------------------------------------------------------------------------------


def test_an_object_store_holds_an_archive_as_a_folder_does(tmp_path: Path, memory: str) -> None:
    with opened(tmp_path / "a", memory, node="a") as a, opened(tmp_path / "b", memory, node="b") as b:
        a.store(*hour_of_everything(0), *hour_of_everything(1))
        before = {name: a.rows(f"SELECT * FROM {name} ORDER BY ALL") for name in STREAMS}
        a.seal(0)
        a.act("drop")
        assert a.count("hot.trades") == 40
        assert {name: a.rows(f"SELECT * FROM {name} ORDER BY ALL") for name in STREAMS} == before
        b.archive.look()
        assert b.count("trades") == 40
        a.store(trade(FIRST_MS + 1, 777))
        assert a.seal(0, "trades")["trades"]["rows"] == 41
        b.archive.look()
        assert [a.count("trades"), b.count("trades")] == [81, 41]
        assert all(verdict["intact"] for verdict in a.act("archive_check", hour=FIRST.isoformat())["files"])
    with opened(tmp_path / "a", memory, node="a") as a:
        assert a.count("trades") == 81


def test_a_client_reads_nothing_else_of_an_object_store(tmp_path: Path, memory: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    for path in ("/bucket/other/secret.txt", "/bucket/orderflow-of-another/secret.txt"):
        fsspec.filesystem("memory").pipe(path, b"secret")
    with opened(tmp_path / "a", memory) as node:
        for path in (
            "memory://bucket/other/secret.txt",
            "memory:///bucket/other/secret.txt",
            "memory://bucket/orderflow-of-another/secret.txt",
            "memory:///bucket/orderflow/../other/secret.txt",
        ):
            with pytest.raises((InvalidQueryError, ArchiveError)):
                node.rows(f"SELECT content FROM read_text('{path}')")


@contextmanager
def asked_of(node: Node) -> Iterator[list[str]]:
    """Paths that the object store is asked about meanwhile."""
    asked: list[str] = []
    files = node.engine.archive.filesystem._files  # type: ignore[union-attr]
    names = ("info", "open", "ls", "exists", "modified")

    def noting(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: str, *rest: Any, **named: Any) -> Any:
            asked.append(path)
            return plain(path, *rest, **named)

        return call

    for name in names:
        setattr(files, name, noting(getattr(files, name)))
    try:
        yield asked
    finally:
        for name in names:
            delattr(files, name)


def test_a_query_asks_an_object_store_about_no_file_it_does_not_read(tmp_path: Path, memory: str) -> None:
    with opened(tmp_path / "a", memory) as node:
        for hour in range(4):
            node.store(trade(FIRST_MS + hour * 24 * HOUR_MS, hour))
            node.seal(hour * 24, "trades")
        node.act("drop")
        assert node.count("trades") == 4
        day = FIRST.replace(hour=0) + 3 * timedelta(days=1)
        with asked_of(node) as asked:
            assert node.rows(f"SELECT count(*) FROM trades WHERE timestamp >= '{day}'") == [(1,)]
            assert node.rows("SELECT count(*) FROM hot.trades") == [(0,)]
        assert asked
        assert {path.split("date=")[1][:10] for path in asked} == {f"{day:%Y-%m-%d}"}


# -- archives alone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "object store"])
def test_an_archive_is_read_without_any_database(tmp_path: Path, memory: str, kind: str) -> None:
    archive = memory if kind == "object store" else tmp_path / "archive"
    with opened(tmp_path / "a", archive, node="a") as a, opened(tmp_path / "b", archive, node="b") as b:
        a.store(trade(FIRST_MS, 0))
        b.store(trade(FIRST_MS, 1, symbol="ETHUSDT"))
        a.seal(0)
        b.seal(0)
    with connect(archive) as reader:
        found = reader.query("SELECT symbol, trade_id FROM trades ORDER BY symbol").to_pylist()
        assert [row["trade_id"] for row in found] == ["0", "1"]
        assert reader.query("SELECT trade_id FROM ethusdt_binance_futures_trades").num_rows == 1
        assert reader.query("SELECT count(*) AS n FROM ops.archive").to_pylist() == [{"n": 2}]
        with pytest.raises(InvalidQueryError):
            reader.query("SELECT * FROM read_text('/etc/hostname')")
    with pytest.raises(StoreAuthError, match="only read"):
        connect(archive, scope="write")


def test_a_place_without_lists_is_no_archive(tmp_path: Path, memory: str) -> None:
    with pytest.raises(StoreUnavailableError, match="no list of a node"):
        connect(memory)
    with pytest.raises(StoreUnavailableError):
        connect(tmp_path)


# -- names and stretches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../a", "a b", "a'b", "a.v2", "x" * 101, "a.parquet", "ä", "*"])
def test_a_node_that_cannot_name_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        layout.node_name(name)


@pytest.mark.parametrize("name", ["a", "host-1.example.org", "A_2", "a.v2b"])
def test_a_node_may_be_called_like_a_host(name: str) -> None:
    assert layout.node_name(name) == name


@pytest.mark.parametrize("root", ["", "/", "a*b", "s3://bucket/[x]", "it's"])
def test_a_root_that_cannot_be_one_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match="cannot be the root"):
        place(root)


@dataclass(frozen=True)
class File:
    hour: datetime
    path: str


@given(st.lists(st.tuples(st.integers(0, 24 * 400), st.sampled_from("ab")), max_size=60, unique=True))
def test_stretches_hold_each_file_once_and_each_hour_of_it(hours: list[tuple[int, str]]) -> None:
    files = [File(FIRST.replace(hour=0) + hour * layout.HOUR, f"{hour}/{node}") for hour, node in hours]
    found = list(layout.stretches(files))
    assert Counter(file.path for _, _, part in found for file in part) == Counter(file.path for file in files)
    for start, end, part in found:
        assert part
        assert all(start <= file.hour and file.hour + layout.HOUR <= end for file in part)
    edges = [edge for start, end, _ in reversed(found) for edge in (start, end)]
    assert edges == sorted(edges)
    assert all(end - start == 4**index * layout.DAY for index, (start, end, _) in enumerate(found))
    assert len(found) <= 6
