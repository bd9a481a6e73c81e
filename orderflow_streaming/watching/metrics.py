"""The figures of the collection as Prometheus metrics. Names and units follow its conventions: seconds, bytes, totals.

Source: prometheus.io/docs/practices/naming and prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

Status = Mapping[str, Any]
"""What :meth:`~orderflow_streaming.watching.health.Health.status` returns."""
STATES = ("HEALTHY", "DEGRADED", "CRITICAL", "STOPPING")


@dataclass(frozen=True, slots=True)
class _Metric:
    """``group`` is a list of entries or one entry of the status, ``key`` the figure in an entry."""

    name: str
    help: str
    group: str
    key: str
    labels: tuple[str, ...] = ()
    counter: bool = False


_BY_STREAM = ("market", "stream")
_BY_SOCKET = ("market", "socket")
_METRICS = (
    _Metric("messages", "Messages received.", "streams", "messages", _BY_STREAM, True),
    _Metric("rows_stored", "Distinct rows stored.", "streams", "rows_stored", _BY_STREAM, True),
    _Metric("rows_updated", "Changes of rows that were stored.", "streams", "updated", _BY_STREAM, True),
    _Metric("rows_duplicate", "Rows that were stored already.", "streams", "duplicates", _BY_STREAM, True),
    _Metric("gaps", "Gaps written down.", "streams", "gaps", _BY_STREAM, True),
    _Metric("resyncs", "States given up because something was missed.", "streams", "resyncs", _BY_STREAM, True),
    _Metric("refused_topics", "Subscriptions the venue refuses.", "streams", "refused", _BY_STREAM),
    _Metric("last_message_age_seconds", "Age of the last message.", "streams", "last_message_age_s", _BY_STREAM),
    _Metric("socket_connected", "Whether the socket is connected.", "sockets", "connected", _BY_SOCKET),
    _Metric("reconnects", "Connections lost.", "sockets", "reconnects", _BY_SOCKET, True),
    _Metric("frames_rejected", "Frames in quarantine.", "markets", "rejected", ("market",), True),
    _Metric("frames_dropped", "Frames the overflow rule dropped.", "markets", "dropped", ("market",), True),
    _Metric("tables_filled", "Isolated tables with rows.", "markets", "filled", ("market",)),
    _Metric("tables_expected", "Isolated tables that are declared.", "markets", "tables", ("market",)),
    _Metric("frames_pending", "Frames in the journal that are not stored.", "writer", "pending_records"),
    _Metric("frames_unsynced", "Frames that are not in the journal.", "writer", "unsynced_records"),
    _Metric("flushes", "Flushes that went through.", "writer", "flushes", counter=True),
    _Metric("flush_errors", "Flushes that failed.", "writer", "errors", counter=True),
    _Metric("flush_age_seconds", "Since the last flush that went through.", "writer", "flush_age_seconds"),
    _Metric("flush_duration_seconds", "Of the last flush.", "writer", "last_flush_seconds"),
    _Metric("journal_bytes", "Size of the journal.", "journal", "bytes"),
    _Metric("journal_errors", "Writes of the journal that failed.", "journal", "errors", counter=True),
    _Metric("disk_free_bytes", "Left on the disk of the data folder.", "disk", "free_bytes"),
    _Metric("alerts_pending", "Alerts that wait for a person.", "alerts", "pending"),
)


def exposition(status: Status, accept: str) -> tuple[bytes, str]:
    """The metrics in the format that ``accept``, a header, asks for; with its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(lambda: families(status)))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def families(status: Status) -> Iterator[Metric]:
    """One family per metric. A figure that is not known has no sample."""
    for metric in _METRICS:
        kind = CounterMetricFamily if metric.counter else GaugeMetricFamily
        family = kind(f"orderflow_{metric.name}", metric.help, labels=metric.labels)
        for entry in _entries(status, metric.group):
            if (value := entry[metric.key]) is not None:
                family.add_metric([entry[label] for label in metric.labels], float(value))
        yield family
    yield _lag(status["streams"])
    yield _state(status)
    yield _notices(status["alerts"]["channels"])
    started = datetime.fromisoformat(status["start_time"]).timestamp()
    yield GaugeMetricFamily("orderflow_start_time_seconds", "When the daemon started, Unix time.", started)


def _entries(status: Status, group: str) -> Sequence[Status]:
    found = status[group]
    return found if isinstance(found, list) else [found]


def _lag(streams: Sequence[Status]) -> Metric:
    family = GaugeMetricFamily(
        "orderflow_lag_seconds", "Receive time minus event time in the last flush.", labels=(*_BY_STREAM, "quantile")
    )
    for stream in streams:
        for quantile, key in (("0.5", "lag_ms_p50"), ("0.99", "lag_ms_p99")):
            if stream[key] is not None:
                family.add_metric([stream["market"], stream["stream"], quantile], stream[key] / 1000)
    return family


def _state(status: Status) -> Metric:
    family = GaugeMetricFamily("orderflow_state", "1 for the state the collection is in.", labels=("state",))
    now = "STOPPING" if status["state"] == "STOPPING" else status["status"]
    for state in STATES:
        family.add_metric([state], float(state == now))
    return family


def _notices(channels: Mapping[str, Status]) -> Metric:
    family = CounterMetricFamily(
        "orderflow_alert_notices", "Notices by channel and what became of them.", labels=("channel", "result")
    )
    for name, channel in channels.items():
        for result in ("sent", "failed"):
            family.add_metric([name, result], channel[result])
    return family


class _Families(Collector):
    """The registry's way of asking."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        return self._collect()
