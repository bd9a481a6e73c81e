"""Which hours of ticks are new, complete or changed: the state behind the sensor that reports them.

Rows get their ``id`` in storing order, so the rows after the last id seen are exactly what came since, late rows of
old hours included. They are looked for among the hot rows, and where some were dropped unseen, everywhere; hours that
other nodes sealed are not reported. The watermark is the newest event time: an hour is closed when the market's own
clock has passed its end, however fast that clock runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from orderflow_streaming.archive.manifest import OWN
from orderflow_streaming.schema import IDENTITY, STREAMS, Stream
from orderflow_streaming.store import Store

HOUR = timedelta(hours=1)

GRACE = timedelta(minutes=2)
"""How far the watermark must pass the end of an hour; covers minute candles and slow polls."""

REFRESH_MINUTES = 5
"""How often the running hour is reported."""

RACING = 3
"""How many times faster than ours the market's clock may run for its running hour to be worth reporting."""

MAX_HOURS = 24
MAX_ROWS = 20_000_000
"""Work of one step: hours reported, and new rows per stream looked at."""

_SERIES = ", ".join(column.name for column in IDENTITY)


@dataclass(frozen=True, slots=True)
class Progress:
    """What has been seen: last row per stream, hours that wait to be reported, newest event time.

    ``waiting`` maps an hour to the streams with unreported rows in it, ``late`` are those of these hours that had been
    passed and reported before, ``refreshed`` is the last mark of :data:`REFRESH_MINUTES` at which the running hour was
    reported, ``looked_at`` our time at the last step.
    """

    ids: dict[str, int] = field(default_factory=dict)
    waiting: dict[datetime, frozenset[str]] = field(default_factory=dict)
    late: frozenset[datetime] = frozenset()
    watermark: datetime | None = None
    refreshed: datetime | None = None
    looked_at: datetime | None = None

    def to_json(self) -> str:
        times = {name: value.isoformat() for name in _TIMES if (value := getattr(self, name))}
        waiting = {hour.isoformat(): sorted(names) for hour, names in self.waiting.items()}
        late = sorted(hour.isoformat() for hour in self.late)
        return json.dumps({"ids": self.ids, "waiting": waiting, "late": late, **times})

    @classmethod
    def from_json(cls, text: str | None) -> Progress:
        if not text:
            return cls()
        value = json.loads(text)
        return cls(
            ids=value["ids"],
            waiting={datetime.fromisoformat(hour): frozenset(names) for hour, names in value["waiting"].items()},
            late=frozenset(datetime.fromisoformat(hour) for hour in value.get("late", ())),
            **{name: datetime.fromisoformat(value[name]) for name in _TIMES if name in value},
        )


_TIMES = ("watermark", "refreshed", "looked_at")


@dataclass(frozen=True, slots=True)
class Due:
    """Hours to report now: ``closed`` for good, and the ``running`` one at a refresh mark.

    ``late`` are those of ``closed`` that the market's clock had passed before these ticks came.
    """

    closed: tuple[datetime, ...]
    running: datetime | None
    late: frozenset[datetime] = frozenset()

    @property
    def hours(self) -> tuple[datetime, ...]:
        return (*self.closed, self.running) if self.running else self.closed


@dataclass(frozen=True, slots=True)
class HourReport:
    """One stream in one hour. ``lag_s`` is the mean of receive time minus event time, None without rows."""

    hour: datetime
    stream: str
    rows: int = 0
    series: int = 0
    first: datetime | None = None
    last: datetime | None = None
    lag_s: float | None = None


def stored_streams(store: Store) -> list[Stream]:
    """The streams that the store fills."""
    rows = store.query("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'hot'").to_pydict()
    names = set(rows["table_name"])
    return [stream for stream in STREAMS.values() if stream.name in names]


def advance(store: Store, streams: list[Stream], progress: Progress, now: datetime) -> tuple[Progress, Due]:
    """The progress with the rows stored since, and the hours due; ``now`` is naive UTC and bounds the watermark.

    An hour that was closed before and gets late rows is due once a step passes without more of them, so that a
    replayed hour is reported once and not at every step.
    """
    newest = _newest_ids(store, streams)
    recreated = any(newest[name] < last for name, last in progress.ids.items() if name in newest)
    ids = {} if recreated else progress.ids
    touched: dict[datetime, set[str]] = {}
    watermark = progress.watermark
    for row in _new_rows(store, streams, ids):
        touched.setdefault(row["hour"], set()).add(row["stream"])
        seen = min(row["last"], now)
        watermark = max(watermark, seen) if watermark else seen
    waiting = dict(progress.waiting)
    for hour, names in touched.items():
        waiting[hour] = waiting.get(hour, frozenset()) | names
    advanced = Progress(
        ids={name: min(last, ids.get(name, 0) + MAX_ROWS) for name, last in newest.items()},
        waiting=dict(sorted(waiting.items())),
        late=progress.late | {hour for hour in touched if hour not in progress.waiting and _closed(hour, progress)},
        watermark=watermark,
        refreshed=progress.refreshed,
        looked_at=now,
    )
    return advanced, _due(progress, advanced, set(touched))


def settle(progress: Progress, due: Due) -> Progress:
    """The progress after the hours of ``due`` have been reported. The running hour keeps waiting for its end."""
    waiting = {hour: names for hour, names in progress.waiting.items() if hour not in due.closed}
    refreshed = _mark(progress.watermark) if due.running and progress.watermark else progress.refreshed
    return replace(progress, waiting=waiting, late=progress.late - set(due.closed), refreshed=refreshed)


def newest(store: Store, streams: list[Stream], since: datetime, until: datetime) -> datetime | None:
    """The newest event time from ``since`` up to ``until``; None where nothing happened."""
    if not streams:
        return None
    parts = [
        f"""SELECT max("{stream.time}") AS last FROM hot.{stream.name}
            WHERE "{stream.time}" >= $since::TIMESTAMP AND "{stream.time}" <= $until::TIMESTAMP"""
        for stream in streams
    ]
    sql = f"SELECT max(last) AS last FROM ({' UNION ALL '.join(parts)})"
    found: datetime | None = store.query(sql, {"since": since, "until": until}).column("last")[0].as_py()
    return found


def describe(store: Store, streams: list[Stream], hours: Iterable[datetime]) -> list[HourReport]:
    """What each stream holds in each hour, oldest hour first; a report of zero rows where it holds nothing."""
    hours = sorted(hours)
    if not hours:
        return []
    parts = [
        f"""SELECT '{stream.name}' AS stream, date_trunc('hour', "{stream.time}") AS hour, count(*) AS rows,
                   count(DISTINCT ({_SERIES})) AS series, min("{stream.time}") AS first, max("{stream.time}") AS last,
                   avg(epoch(received_at) - epoch("{stream.time}")) AS lag_s
            FROM main.{stream.name}
            WHERE "{stream.time}" >= $first::TIMESTAMP AND "{stream.time}" < $end::TIMESTAMP
              AND date_trunc('hour', "{stream.time}") IN (SELECT unnest($hours::TIMESTAMP[]))
            GROUP BY 2"""
        for stream in streams
    ]
    parameters = {"first": hours[0], "end": hours[-1] + HOUR, "hours": hours}
    found = store.query(" UNION ALL ".join(parts), parameters, timeout_s=60).to_pylist()
    filled = {(row["hour"], row["stream"]): HourReport(**row) for row in found}
    return [filled.get((hour, stream.name), HourReport(hour, stream.name)) for hour in hours for stream in streams]


def _newest_ids(store: Store, streams: list[Stream]) -> dict[str, int]:
    sealed = f"SELECT stream, last_id AS id FROM ops.archive WHERE {OWN}"
    parts = [f"SELECT '{stream.name}' AS stream, max(id) AS id FROM hot.{stream.name}" for stream in streams]
    sql = f"SELECT stream, coalesce(max(id), 0) AS id FROM ({' UNION ALL '.join([sealed, *parts])}) GROUP BY stream"
    return {row["stream"]: row["id"] for row in store.query(sql).to_pylist()}


def _last_dropped(store: Store) -> dict[str, int]:
    """Highest id of each stream among the rows that are no longer hot."""
    sql = f"SELECT stream, max(last_id) AS id FROM ops.archive WHERE dropped_at IS NOT NULL AND {OWN} GROUP BY stream"
    return {row["stream"]: row["id"] for row in store.query(sql).to_pylist()}


def _new_rows(store: Store, streams: list[Stream], ids: dict[str, int]) -> list[dict]:
    parts, parameters = [], {}
    dropped = _last_dropped(store)
    for stream in streams:
        schema = "main" if dropped.get(stream.name, 0) > ids.get(stream.name, 0) else "hot"
        parameters[f"after_{stream.name}"] = ids.get(stream.name, 0)
        parts.append(
            f"""SELECT '{stream.name}' AS stream, date_trunc('hour', "{stream.time}") AS hour,
                       max("{stream.time}") AS last
                FROM {schema}.{stream.name}
                WHERE id > $after_{stream.name} AND id <= $after_{stream.name} + {MAX_ROWS} GROUP BY 2"""
        )
    return store.query(" UNION ALL ".join(parts), parameters, timeout_s=60).to_pylist()


def _due(before: Progress, progress: Progress, touched: set[datetime]) -> Due:
    if progress.watermark is None:
        return Due((), None)
    closed = [
        hour for hour in progress.waiting if _closed(hour, progress) and not (hour in touched and _closed(hour, before))
    ]
    mark = _mark(progress.watermark)
    running = floor(progress.watermark, 60)
    fresh = mark != progress.refreshed and running in progress.waiting and running not in closed
    reported = tuple(closed[:MAX_HOURS])
    return Due(
        reported,
        running if fresh and not _races(before, progress) else None,
        progress.late & set(reported),
    )


def _closed(hour: datetime, progress: Progress) -> bool:
    return progress.watermark is not None and hour + HOUR + GRACE <= progress.watermark


def _races(before: Progress, progress: Progress) -> bool:
    """Whether the market's clock ran well ahead of ours since the last step, as when a history is caught up with."""
    if before.watermark is None or before.looked_at is None or not progress.watermark or not progress.looked_at:
        return False
    return progress.watermark - before.watermark > RACING * (progress.looked_at - before.looked_at)


def _mark(watermark: datetime) -> datetime:
    return floor(watermark, REFRESH_MINUTES)


def floor(value: datetime, minutes: int) -> datetime:
    """``value`` cut to ``minutes``, a divisor of 60."""
    return value.replace(minute=value.minute - value.minute % minutes, second=0, microsecond=0)
