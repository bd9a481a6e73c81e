"""Settings of the daemon: a JSON file, then environment variables, then flags; the later wins.

``ORDERFLOW_<KEY>`` sets any key from the environment (lists with commas). A missing file means defaults, with a
notice; an unreadable one, an unknown key or a wrong value is a :class:`SettingsError` of one line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from orderflow_streaming import markets

DEFAULT_FILE = Path("streaming_config.json")
PREFIX = "ORDERFLOW_"


class SettingsError(ValueError):
    """The configuration cannot be used; the message names the key, what is allowed and what to do."""


class Settings(BaseModel):
    """What the daemon collects, where it keeps it and how often it works."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbols: tuple[str, ...] = markets.SYMBOLS
    markets: tuple[str, ...] = ("binance_futures",)
    stream_types: tuple[str, ...] = ()
    """Streams to collect; empty means all a market offers."""

    data_dir: Path = Path("data")
    store_host: str = "127.0.0.1"
    store_port: int = Field(8815, ge=0, le=65535)
    store_memory_limit: str = "2GB"
    store_threads: int = Field(2, ge=1)

    simulator_url: str | None = None
    """``http://host:port`` of a simulator that stands in for every exchange."""

    flush_interval_seconds: float = Field(5.0, gt=0, le=300)
    batch_size: int = Field(50_000, ge=1)
    """Frames that trigger a flush before the interval is over."""
    journal_sync_seconds: float = Field(0.2, gt=0, le=10)
    journal_segment_mb: int = Field(64, ge=1)
    journal_keep_hours: float = Field(0.0, ge=0)
    """How long stored segments are kept as a recording; 0 removes a segment once all of it is stored."""
    buffer_frames: int = Field(500_000, ge=1_000)
    """Frames held in memory before the overflow rule applies."""
    overflow: Literal["drop_books", "wait"] = "drop_books"
    """``drop_books`` drops the oldest book snapshots, never trades; ``wait`` stops reading (simulator, replay)."""

    stats_interval_seconds: float = Field(30.0, gt=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("symbols", "markets", "stream_types", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("symbols")
    @classmethod
    def _known_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(markets.symbol(name) for name in value))

    @field_validator("markets")
    @classmethod
    def _known_markets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(markets.market(name).name for name in value))


def load(
    file: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Settings, str | None]:
    """The settings and, when the default file is absent, a notice saying so.

    ``flags`` with the value None are ignored. Raises :class:`SettingsError`.
    """
    environment = os.environ if environment is None else environment
    path = file or Path(environment.get(f"{PREFIX}CONFIG", DEFAULT_FILE))
    stored, notice = _read(path, required=file is not None)
    variables = {key: f"{PREFIX}{key.upper()}" for key in Settings.model_fields}
    variables = {key: name for key, name in variables.items() if name in environment}
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    source = dict.fromkeys(stored, path.name) | variables | dict.fromkeys(given, "command line")
    try:
        return Settings(**{**stored, **{key: environment[name] for key, name in variables.items()}, **given}), notice
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise SettingsError(f"{source.get(key, path.name)}: {_explain(error)}") from error


def _read(path: Path, *, required: bool) -> tuple[dict[str, Any], str | None]:
    try:
        body = path.read_bytes()
    except FileNotFoundError as error:
        if required:
            raise SettingsError(
                f"the configuration file {path} does not exist. Create it or leave --config out."
            ) from error
        return {}, f"no {path}: using the default settings"
    except OSError as error:
        raise SettingsError(f"the configuration file {path} cannot be read: {error.strerror}.") from error
    try:
        return msgspec.json.decode(body, type=dict[str, Any]), None
    except msgspec.MsgspecError as error:
        raise SettingsError(f"the configuration file {path} is not a JSON object: {error}.") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        hint = markets.suggestion(key, list(Settings.model_fields))
        return f"unknown key {key!r}.{hint} Allowed: {', '.join(Settings.model_fields)}."
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}"
