"""Alerts: raised once, repeated, cleared, acknowledged, kept, and told by every channel."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from aiohttp import web
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from orderflow_assets.alerts import raise_alert
from orderflow_streaming.cli import main
from orderflow_streaming.settings import Settings
from orderflow_streaming.store import InvalidActionError, connect
from orderflow_streaming.store.endpoint import database_path
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.watching import channels as telling
from orderflow_streaming.watching.alerting import Alerting, AlertStore, announce
from orderflow_streaming.watching.alerts import ALERTS, Alert, AlertBook, Event, Notice, UnknownAlertError
from orderflow_streaming.watching.channels import Channel, opened
from orderflow_streaming.watching.conditions import Condition, Level
from tests.streaming.venue import until

START = datetime.fromisoformat("2026-01-01")
DOWN = Condition("socket down", Level.MEDIUM, "binance_futures", "not connected", {"socket": "public"})
WORSE = Condition("socket down", Level.HIGH, "binance_futures", "still not connected")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def events(book: AlertBook, minute: float, *conditions: Condition) -> list[str]:
    notices, _ = book.judge(conditions, at(minute))
    return [f"{notice.event} {notice.alert.level}" for notice in notices]


# -- the book ------------------------------------------------------------------------------------------


def test_a_condition_is_raised_once_repeated_after_the_interval_and_cleared() -> None:
    book = AlertBook(3600)
    assert events(book, 0, DOWN) == ["raised MEDIUM"]
    assert [events(book, minute, DOWN) for minute in (1, 30, 59)] == [[], [], []]
    assert events(book, 60, DOWN) == ["repeated MEDIUM"]
    assert events(book, 61, DOWN) == []
    assert events(book, 62) == ["cleared MEDIUM"]
    assert events(book, 63) == []
    (alert,) = book.alerts
    assert (alert.timestamp, alert.last_raised, alert.cleared_at, alert.count) == (at(0), at(60), at(62), 2)
    assert not alert.acknowledged


def test_a_condition_that_comes_and_goes_is_told_once_per_interval() -> None:
    book = AlertBook(3600)
    assert events(book, 0, DOWN) == ["raised MEDIUM"]
    assert events(book, 1) == ["cleared MEDIUM"]
    for minute in range(2, 58, 2):
        assert events(book, minute, DOWN) == []
        assert events(book, minute + 1) == []
    assert len(book.alerts) == 1
    assert book.alerts[0].count == 29
    assert events(book, 60, DOWN) == ["raised MEDIUM"]
    assert len(book.alerts) == 2


def test_a_condition_that_came_back_quietly_and_stays_is_told_again_and_then_cleared() -> None:
    book = AlertBook(3600)
    events(book, 0, DOWN)
    events(book, 1)
    assert events(book, 2, DOWN) == []
    assert events(book, 60, DOWN) == ["raised MEDIUM"]
    assert len(book.alerts) == 1
    assert events(book, 120, DOWN) == ["repeated MEDIUM"]
    assert events(book, 121) == ["cleared MEDIUM"]


def test_a_worse_level_is_raised_at_once() -> None:
    book = AlertBook(3600)
    events(book, 0, DOWN)
    assert events(book, 1, WORSE) == ["cleared MEDIUM", "raised HIGH"]


def test_an_acknowledged_alert_is_not_repeated_and_comes_back_as_a_new_one() -> None:
    book = AlertBook(3600)
    events(book, 0, DOWN)
    (alert,) = book.alerts
    book.acknowledge(alert.id, "Ada", at(5))
    assert (alert.acknowledged, alert.acknowledged_by, alert.acknowledged_at) == (True, "Ada", at(5))
    assert events(book, 200, DOWN) == []
    assert events(book, 201) == ["cleared MEDIUM"]
    assert events(book, 202, DOWN) == ["raised MEDIUM"]
    with pytest.raises(UnknownAlertError):
        book.acknowledge("nope", "Ada", at(0))


def test_a_book_that_is_opened_again_goes_on() -> None:
    first = AlertBook(3600)
    events(first, 0, DOWN)
    second = AlertBook(3600, [Alert.of_row(alert.row()) for alert in first.alerts])
    assert events(second, 10, DOWN) == []
    assert events(second, 60, DOWN) == ["repeated MEDIUM"]
    assert events(second, 61) == ["cleared MEDIUM"]


def test_the_oldest_that_are_over_give_way() -> None:
    book = AlertBook(1, limit=3)
    events(book, 0, DOWN)
    for minute in range(1, 10):
        events(book, minute, DOWN, Condition(f"gap {minute}", Level.LOW, "x", "y"))
    assert len(book.alerts) == 3
    assert DOWN.key in {alert.condition for alert in book.alerts}


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.floats(0.1, 200)), max_size=60))
def test_what_is_told_of_a_condition_alternates_and_keeps_its_distance(steps: list[tuple[set[str], float]]) -> None:
    book, now = AlertBook(3600), START
    told: dict[str, list[tuple[Event, datetime]]] = {}
    for keys, minutes in steps:
        now += timedelta(minutes=minutes)
        notices, _ = book.judge([Condition(key, Level.HIGH, "s", "m") for key in sorted(keys)], now)
        for notice in notices:
            assert not notice.alert.acknowledged
            told.setdefault(notice.alert.condition or "", []).append((notice.event, now))
    for history in told.values():
        assert history[0][0] is Event.RAISED
        loud = [when for event, when in history if event is not Event.CLEARED]
        assert all(later - earlier >= timedelta(hours=1) for earlier, later in pairwise(loud))
        for (before, _), (after, _) in pairwise(history):
            assert (after is Event.RAISED) == (before is Event.CLEARED)
    open_alerts = [alert.condition for alert in book.alerts if alert.cleared_at is None]
    assert sorted(open_alerts) == sorted(steps[-1][0] if steps else [])


# -- the store -----------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(database_path(tmp_path), memory_limit="256MB")
    yield engine
    engine.close()


def test_alerts_of_an_older_table_keep_their_rows_and_get_an_id(tmp_path: Path) -> None:
    with duckdb.connect(str(database_path(tmp_path))) as database:
        database.execute("CREATE SCHEMA ops")
        database.execute(
            "CREATE TABLE ops.alerts (timestamp TIMESTAMP NOT NULL, level VARCHAR NOT NULL, source VARCHAR NOT NULL, "
            "message VARCHAR NOT NULL, details VARCHAR, acknowledged BOOLEAN NOT NULL)"
        )
        database.execute("INSERT INTO ops.alerts VALUES ('2025-01-01', 'HIGH', 'dagster', 'a run failed', '{}', false)")
    engine = Engine(database_path(tmp_path), memory_limit="256MB")
    alerts = AlertStore(engine)
    cursor = engine.cursor()
    ((alert_id, message),) = cursor.execute("SELECT id, message FROM ops.alerts").fetchall()
    assert message == "a run failed"
    alerts.acknowledge(alert_id, "Ada", at(0))
    found = cursor.execute("SELECT acknowledged, acknowledged_by, acknowledged_at FROM ops.alerts").fetchall()
    assert found == [(True, "Ada", at(0))]
    with pytest.raises(InvalidActionError, match="no alert 'zzzz'"):
        alerts.acknowledge("zzzz", "Ada", at(0))
    cursor.close()
    engine.close()


def test_at_most_a_thousand_are_kept_and_the_open_ones_first(engine: Engine) -> None:
    alerts = AlertStore(engine)
    old = Alert(at(-1), "HIGH", "dagster", "an event that waits")
    alerts.save([old])
    alerts.save([Alert(at(minute), "LOW", "s", "over", cleared_at=at(minute)) for minute in range(1_200)])
    cursor = engine.cursor()
    assert cursor.execute("SELECT count(*), count(*) FILTER (id = ?) FROM ops.alerts", [old.id]).fetchall() == [
        (1000, 1)
    ]
    assert cursor.execute("SELECT min(timestamp) FROM ops.alerts WHERE level = 'LOW'").fetchall() == [(at(201),)]
    cursor.close()


async def test_what_cannot_be_stored_now_is_stored_with_the_next_check(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, alert_channels=("file",))
    alerting = Alerting(settings, engine, lambda: [DOWN])
    real = AlertStore.save
    monkeypatch.setattr(AlertStore, "save", lambda *_: (_ for _ in ()).throw(duckdb.IOException("disk full")))
    async with opened(settings) as channels:
        await alerting.check(channels)
        monkeypatch.setattr(AlertStore, "save", real)
        await alerting.check(channels)
    assert [alert.message for alert in AlertStore(engine).of_conditions()] == ["not connected"]
    assert alerting.figures()["pending"] == 1


async def test_alerts_survive_a_restart_and_an_acknowledgement_holds(engine: Engine, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, alert_channels=(), alert_repeat_seconds=0.001)
    first = Alerting(settings, engine, lambda: [DOWN])
    async with opened(settings) as channels:
        await first.check(channels)
        (alert,) = AlertStore(engine).of_conditions()
        await first.acknowledge(alert.id, "Ada")
        second = Alerting(settings, engine, lambda: [DOWN])
        await second.check(channels)
        (kept,) = AlertStore(engine).of_conditions()
    assert (kept.id, kept.acknowledged_by, kept.count) == (alert.id, "Ada", 1)


def test_the_command_lists_and_shows_what_is_over_only_when_asked(tmp_path: Path) -> None:
    with connect(tmp_path, scope="write") as store:
        raise_alert(store, "HIGH", "dagster", "a run failed", {"run": 7})
    engine = Engine(database_path(tmp_path), memory_limit="256MB")
    AlertStore(engine).save([Alert(at(0), "LOW", "s", "long over", cleared_at=at(1))])
    engine.close()

    def listed(*options: str) -> str:
        ended = CliRunner().invoke(main, ["alerts", "--data-dir", str(tmp_path), *options])
        assert ended.exit_code == 0, ended.output
        return ended.output

    assert "a run failed" in listed()
    assert "long over" not in listed()
    assert "long over" in listed("--all")
    (row,) = (json.loads(line) for line in listed("--json").splitlines())
    assert (row["level"], row["details"], row["acknowledged"], row["count"]) == ("HIGH", {"run": 7}, False, 1)
    assert set(row) == set(ALERTS.names)
    assert (
        CliRunner().invoke(main, ["alerts", "ack", row["id"], "--by", "Ada", "--data-dir", str(tmp_path)]).exit_code
        == 5
    )


def test_without_alerts_the_command_says_so(tmp_path: Path) -> None:
    Engine(database_path(tmp_path), memory_limit="256MB").close()
    ended = CliRunner().invoke(main, ["alerts", "--data-dir", str(tmp_path)])
    assert ended.output == "No alerts wait. Use --all for those that are over.\n"


# -- the channels --------------------------------------------------------------------------------------


class Hook:
    """A webhook that answers what tests put in, ``None`` being no answer at all."""

    def __init__(self, *answers: int | None) -> None:
        self.answers = list(answers)
        self.bodies: list[dict] = []

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            await asyncio.sleep(5)
        return web.Response(status=status or 200)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_post("/secret", self.take)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/secret"
        finally:
            await runner.cleanup()


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(telling, "FAREWELL_S", 0.2)


def hooked(folder: Path, url: str, *others: str, timeout_s: float = 2.0) -> Settings:
    return Settings(
        data_dir=folder,
        alert_channels=("webhook", *others),
        alert_webhook_url=url,
        alert_webhook_timeout_seconds=timeout_s,
    )


NOTICE = Notice(Event.RAISED, Alert(START, "HIGH", "binance_futures", "not connected", {"socket": "public"}))


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("answers", "posts", "sent", "failed"),
    [
        ([], 1, 1, 0),
        ([500, 429, 200], 3, 1, 0),
        ([503] * 9, telling.ATTEMPTS, 0, 1),
        ([403, 200], 1, 0, 1),
    ],
)
async def test_a_webhook_is_posted_to_again_where_that_can_help(
    tmp_path: Path, answers: list[int], posts: int, sent: int, failed: int, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hook(*answers)
    async with hook.serving() as url, opened(hooked(tmp_path, url)) as channels:
        channels.tell(NOTICE)
        tally = channels.queued[0].tally
        await until(lambda: tally.sent + tally.failed)
    assert (len(hook.bodies), tally.sent, tally.failed) == (posts, sent, failed)
    assert hook.bodies[0] == NOTICE.to_dict()
    assert hook.bodies[0]["timestamp"] == "2026-01-01T00:00:00.000Z"
    assert ("could not be told by webhook: 127.0.0.1 answered" in caplog.text) == bool(failed)
    assert "secret" not in caplog.text


@pytest.mark.usefixtures("_quick")
async def test_a_webhook_that_does_not_answer_holds_up_neither_the_teller_nor_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hook(*[None] * 20)
    loop = asyncio.get_running_loop()
    async with hook.serving() as url:
        started = loop.time()
        async with opened(hooked(tmp_path, url, "file", timeout_s=0.05)) as channels:
            for _ in range(20):
                channels.tell(NOTICE)
            assert channels.queued[1].waiting == 20
            await until(lambda: channels.queued[0].tally.sent == 20)
        assert loop.time() - started < 5
    assert "could not be told before the end" in caplog.text
    assert len((tmp_path / "logs" / "alerts.jsonl").read_text().splitlines()) == 20


async def test_the_oldest_notice_gives_way_in_a_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "QUEUED", 2)
    told: list[bytes] = []

    async def deliver(body: bytes) -> None:
        told.append(body)

    channel = Channel("slow", deliver)
    for body in (b"1", b"2", b"3"):
        channel.tell(body)
    task = asyncio.create_task(channel.run())
    await channel.drained()
    task.cancel()
    assert (told, channel.tally.sent, channel.tally.failed) == ([b"2", b"3"], 2, 1)


@pytest.mark.usefixtures("_quick")
async def test_a_file_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, alert_channels=("file",), alert_file=tmp_path)
    async with opened(settings) as channels:
        channels.tell(NOTICE)
        await until(lambda: channels.queued[0].tally.failed == 1)


@pytest.mark.parametrize(
    ("level", "event", "severity"),
    [
        ("LOW", Event.RAISED, logging.INFO),
        ("MEDIUM", Event.RAISED, logging.WARNING),
        ("HIGH", Event.REPEATED, logging.WARNING),
        ("CRITICAL", Event.RAISED, logging.ERROR),
        ("CRITICAL", Event.CLEARED, logging.INFO),
    ],
)
def test_the_log_tells_each_level_as_loud_as_it_is(
    level: str, event: Event, severity: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        telling.to_log(Notice(event, Alert(START, level, "s", "what happened")))
    assert [(record.levelno, "what happened" in record.message) for record in caplog.records] == [(severity, True)]


def test_a_start_that_failed_is_told(tmp_path: Path) -> None:
    announce(Settings(data_dir=tmp_path), "controller", "the database is held by another process")
    (told,) = (json.loads(line) for line in (tmp_path / "logs" / "alerts.jsonl").read_text().splitlines())
    assert (told["event"], told["level"], told["source"]) == ("raised", "CRITICAL", "controller")


def test_an_unknown_level_is_no_alert() -> None:
    with pytest.raises(ValueError, match="Allowed: INFO, LOW, MEDIUM, HIGH, CRITICAL"):
        Alert(START, "SEVERE", "s", "m")
