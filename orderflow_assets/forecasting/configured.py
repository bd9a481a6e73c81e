"""Which series are forecast and trained by the clock."""

from __future__ import annotations

import os
from collections.abc import Iterable

from orderflow_assets.forecasting.frame import Series

SERIES_VARIABLE = "ORDERFLOW_FORECAST_SERIES"


def configured_series() -> list[str]:
    """``$ORDERFLOW_FORECAST_SERIES`` with commas; empty means every series that has bars.

    Raises ValueError for what is not of the form ``BTCUSDT|binance_futures``.
    """
    named = [part.strip() for part in os.environ.get(SERIES_VARIABLE, "").split(",") if part.strip()]
    return [Series.parse(name).key for name in named]


def chosen(known: Iterable[Series], wanted: list[str]) -> list[Series]:
    """The series to work on: those wanted, with bars or without, else all that are known."""
    return [Series.parse(key) for key in wanted] if wanted else list(known)
