"""The frames that models are trained on, kept as files named by their hash: the newest of each series."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.frame import STEP, Frame, FrameError, Series, as_naive, utc_now
from orderflow_assets.forecasting.tables import FRAMES
from orderflow_assets.forecasting.targets import TARGETS, Target
from orderflow_streaming.store import Store

DAY = 24 * 60 * 60 // STEP.seconds
"""Bars of a day: the season of markets that never close."""
_ARRAYS = ("times", "price", "returns", "sigma")


def keep(folder: Path, frame: Frame) -> str:
    """Store a frame under ``folder`` in place of the one kept of its series; returns its hash."""
    place = _place(folder, frame.series)
    place.mkdir(parents=True, exist_ok=True)
    digest, buffer = frame.digest(), io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        **{name: getattr(frame, name) for name in _ARRAYS},
        **{f"covariate {name}": values for name, values in frame.covariates.items()},
    )
    staged = place / f"{digest}.staged"
    staged.write_bytes(buffer.getvalue())
    staged.rename(place / f"{digest}.npz")
    for file in place.iterdir():
        if file.name != f"{digest}.npz":
            file.unlink(missing_ok=True)
    return digest


def kept(folder: Path, series: Series, digest: str) -> Frame:
    """The kept frame of that hash. Raises :class:`FrameError` where it is gone or is not what was stored."""
    file = _place(folder, series) / f"{digest}.npz"
    if not file.is_file():
        raise FrameError(f"the frame {digest[:12]} of {series.key} is no longer kept; materialize models/frames again")
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    covariates = {name.removeprefix("covariate "): arrays[name] for name in arrays if name.startswith("covariate ")}
    frame = Frame(series, **{name: arrays[name] for name in _ARRAYS}, covariates=covariates)
    if frame.digest() != digest:
        raise FrameError(f"the frame {digest[:12]} of {series.key} was changed; materialize models/frames again")
    return frame


def newest(store: Store, series: Series) -> dict[str, Any] | None:
    """The newest row of ``models.frames`` of a series; None where none was ever built."""
    store.ensure(FRAMES)
    sql = f"SELECT * FROM {FRAMES.qualified} WHERE series = ? ORDER BY built_at DESC LIMIT 1"
    rows = store.query(sql, [series.key]).to_pylist()
    return rows[0] if rows else None


def described(series: Series, frame: Frame | None, digest: str | None, reason: str | None) -> pa.Table:
    """The row of ``models.frames`` that says what a frame holds, or why there is none."""
    row: dict[str, Any] = {
        "series": series.key,
        "symbol": series.symbol,
        "exchange": series.exchange,
        "market_type": series.market_type,
        "built_at": utc_now(),
        "frame_hash": digest,
        "reason": reason,
    }
    if frame is not None:
        row |= {
            "data_from": as_naive(frame.times[0]),
            "data_to": as_naive(frame.times[-1]),
            "bars": len(frame) - frame.missing,
            "missing": frame.missing,
            "columns": msgspec.json.encode(sorted(frame.covariates)).decode(),
            "seasonality": msgspec.json.encode(
                {name: seasonality(frame, target) for name, target in TARGETS.items()}
            ).decode(),
        }
    return pa.Table.from_pylist([row], FRAMES.arrow_schema)


def seasonality(frame: Frame, target: Target) -> float | None:
    """Correlation of what the target learns from with itself a day earlier; None under two days of it."""
    values = target.learn(frame)
    if len(values) < 2 * DAY:
        return None
    now, before = values[DAY:], values[:-DAY]
    both = ~(np.isnan(now) | np.isnan(before))
    if both.sum() < DAY or now[both].std() == 0 or before[both].std() == 0:
        return None
    return float(np.corrcoef(now[both], before[both])[0, 1])


def _place(folder: Path, series: Series) -> Path:
    return folder / "frames" / hashlib.sha256(series.key.encode()).hexdigest()[:16]
