"""The partition definitions and their keys. Each partition of time holds all series; symbol and market are columns.

One partition per hour and series would be 81 times as many keys: the automation tick over a year of them takes
a minute and gigabytes, over plain hours a tenth of a second.
"""

from __future__ import annotations

from datetime import datetime

from dagster import DailyPartitionsDefinition, DynamicPartitionsDefinition, HourlyPartitionsDefinition

from orderflow_streaming.store.window import naive_utc

hourly = HourlyPartitionsDefinition(start_date="2025-01-01-00:00", end_offset=1)
"""UTC hours, the running one included, so that it can be kept fresh while it fills."""


def hour_key(hour: datetime) -> str:
    """Key of the partition that begins at ``hour`` (UTC)."""
    return hour.strftime(hourly.fmt)


def hour_of(key: str) -> datetime:
    """The naive UTC time at which the partition ``key`` begins."""
    return naive_utc(hourly.start_time_for_partition_key(key))


IN_ORDER = {"orderflow/hours": "in order"}
"""Tag of the runs that fill hours: one at a time, as asked for, since an hour looks back on those before it."""

daily = DailyPartitionsDefinition(start_date="2025-01-01")
"""Complete UTC days."""

series = DynamicPartitionsDefinition(name="series")
"""One symbol on one market: ``BTCUSDT|binance_futures``."""
