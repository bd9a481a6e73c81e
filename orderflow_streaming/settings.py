"""Settings of the daemon: a JSON file, what was changed at run time, environment variables, flags; the later wins.

``ORDERFLOW_<KEY>`` sets any key from the environment (lists with commas). A missing file means defaults, with a
notice; an unreadable one, an unknown key or a wrong value is a :class:`SettingsError` of one line.

What a running daemon was told to change (:data:`CHANGEABLE`) is kept in ``runtime.json`` of the data folder, and the
next start goes on with it, with a notice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from orderflow_streaming import markets
from orderflow_streaming.archive.layout import node_name
from orderflow_streaming.exchanges import PROTOCOLS
from orderflow_streaming.schema import stream
from orderflow_streaming.store.place import address

DEFAULT_FILE = Path("streaming_config.json")
PREFIX = "ORDERFLOW_"
CHANGEABLE = ("symbols", "markets", "stream_types", "journal_keep_hours")
"""Keys that can be changed while the daemon runs."""


class SettingsError(ValueError):
    """The configuration cannot be used; the message names the key, what is allowed and what to do."""


def _with_protocol() -> tuple[str, ...]:
    return tuple(name for name in markets.MARKETS if name in PROTOCOLS)


class Settings(BaseModel):
    """What the daemon collects, where it keeps it, how often it works and whom it tells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbols: tuple[str, ...] = markets.SYMBOLS
    markets: tuple[str, ...] = Field(default_factory=_with_protocol)
    stream_types: tuple[str, ...] = ()
    """Streams to collect; empty means all a market offers."""

    data_dir: Path = Path("data")
    store_host: str = "127.0.0.1"
    store_port: int = Field(8815, ge=0, le=65535)
    store_memory_limit: str = "2GB"
    store_threads: int = Field(2, ge=1)

    http_host: str = "127.0.0.1"
    """Where ``/health`` and ``/metrics`` are served. They ask for no token, so think before opening them wider."""
    http_port: int | None = Field(9108, ge=0, le=65535)
    """0 takes a free port, ``off`` (null in a file) serves nothing."""

    simulator_url: str | None = None
    """``http://host:port`` of a simulator that stands in for every exchange."""

    flush_interval_seconds: float = Field(5.0, gt=0, le=300)
    batch_size: int = Field(50_000, ge=1)
    """Frames that trigger a flush before the interval is over."""
    journal_sync_seconds: float = Field(0.2, gt=0, le=10)
    journal_segment_mb: int = Field(64, ge=1)
    journal_keep_hours: float = Field(0.0, ge=0)
    """How long stored segments are kept as a recording; 0 removes a segment once all of it is stored."""
    journal_max_gb: float = Field(50.0, gt=0)
    """The oldest stored segments are removed before their time when the recording is larger."""
    buffer_frames: int = Field(500_000, ge=1_000)
    """Frames held in memory before the overflow rule applies."""
    overflow: Literal["drop_books", "wait"] = "drop_books"
    """``drop_books`` drops the oldest book snapshots, never trades; ``wait`` stops reading (simulator, replay)."""
    quarantine_keep_days: float = Field(30.0, gt=0)
    quarantine_max_rows: int = Field(1_000_000, ge=1)
    """The oldest frames in quarantine are removed when there are more, or when they are older than the days above."""

    refill_max_hours: float = Field(24.0, ge=0)
    """Gaps up to so long are asked for again by themselves; 0 leaves all of them open."""

    retention_hours: float = Field(0.0, ge=0)
    """How long rows stay in the database after their hour, once it is sealed; 0 keeps them."""
    archive: str = ""
    """Path or URL of the archive; empty is ``archive`` in the data folder where hours are dropped, else none."""
    node: str | None = None
    """Name of this daemon in an archive that several feed; default the name it had, at first the host's."""

    stats_interval_seconds: float = Field(30.0, gt=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_file: Path | None = None
    """Also log into this file, which is begun anew at midnight UTC; seven old ones are kept."""

    health_check_interval_seconds: float = Field(60.0, gt=0, le=60)
    """How often the figures are judged. At most the minute over which they are counted, so that nothing escapes."""
    alert_channels: tuple[Literal["log", "file", "webhook"], ...] = ("log", "file")
    alert_file: Path | None = None
    """Where the ``file`` channel writes, one JSON object a line; default ``logs/alerts.jsonl`` in the data folder."""
    alert_webhook_url: str | None = None
    """Where the ``webhook`` channel posts each alert as JSON."""
    alert_webhook_timeout_seconds: float = Field(10.0, gt=0, le=60)
    alert_repeat_seconds: float = Field(3600.0, gt=0)
    """An alert nobody acknowledged is told again after so long, while its condition lasts."""

    @field_validator("symbols", "markets", "stream_types", "alert_channels", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("http_port", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return None if value == "off" else value

    @field_validator("symbols")
    @classmethod
    def _known_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(markets.symbol(name) for name in value))

    @field_validator("markets")
    @classmethod
    def _known_markets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(markets.market(name).name for name in value))

    @field_validator("stream_types")
    @classmethod
    def _known_streams(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stream(name).name for name in value))

    @field_validator("archive")
    @classmethod
    def _can_be_an_archive(cls, value: str) -> str:
        return address(value) if value else value

    @field_validator("node")
    @classmethod
    def _can_name_files(cls, value: str | None) -> str | None:
        return None if value is None else node_name(value)

    @model_validator(mode="after")
    def _webhook_has_an_address(self) -> Settings:
        if "webhook" in self.alert_channels and not (self.alert_webhook_url or "").startswith(("http://", "https://")):
            raise ValueError(
                "alert_webhook_url: the channel 'webhook' needs an address that starts with http:// or https://"
            )
        return self

    @property
    def archive_root(self) -> str | None:
        """Where closed hours are sealed to; None where they are not."""
        return self.archive or (str(self.data_dir / "archive") if self.retention_hours else None)

    @property
    def alerts_path(self) -> Path:
        return self.alert_file or self.data_dir / "logs" / "alerts.jsonl"

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """These settings with ``changes``; raises :class:`SettingsError` for what cannot be changed at run time."""
        for key in changes:
            if key not in CHANGEABLE:
                hint = markets.suggestion(key, CHANGEABLE)
                raise SettingsError(f"{key!r} cannot be changed at run time.{hint} Allowed: {', '.join(CHANGEABLE)}.")
        try:
            return Settings(**{**self.model_dump(), **changes})
        except ValidationError as error:
            raise SettingsError(_explain(error)) from error


def load(
    file: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Settings, str | None]:
    """The settings and, where there is something to say about their sources, a notice.

    ``flags`` with the value None are ignored. Raises :class:`SettingsError`.
    """
    environment = os.environ if environment is None else environment
    path = file or Path(environment.get(f"{PREFIX}CONFIG", DEFAULT_FILE))
    stored, notice = _read(path, required=file is not None)
    variables = {key: f"{PREFIX}{key.upper()}" for key in Settings.model_fields}
    variables = {key: name for key, name in variables.items() if name in environment}
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    above = {**{key: environment[name] for key, name in variables.items()}, **given}
    data_dir = Path(above.get("data_dir") or stored.get("data_dir") or Settings.model_fields["data_dir"].default)
    kept = {key: value for key, value in runtime_changes(data_dir).items() if key not in above}
    if kept:
        told = f"{', '.join(sorted(kept))} as changed at run time; to forget that: orderflow-stream configure --reset"
        notice = f"{notice}; {told}" if notice else told
    sources = dict.fromkeys(stored, path.name) | dict.fromkeys(kept, str(_runtime_file(data_dir)))
    sources |= variables | dict.fromkeys(given, "command line")
    try:
        return Settings(**{**stored, **kept, **above}), notice
    except ValidationError as error:
        location = error.errors()[0]["loc"]
        source = sources.get(str(location[0]), path.name) if location else path.name
        raise SettingsError(f"{source}: {_explain(error)}") from error


def runtime_changes(data_dir: Path) -> dict[str, Any]:
    """What was changed at run time; raises :class:`SettingsError` where the file cannot be read."""
    changes, _ = _read(_runtime_file(data_dir), required=False)
    return changes


def keep_changes(data_dir: Path, changes: Mapping[str, Any]) -> None:
    """Add to what was changed at run time; raises OSError."""
    path = _runtime_file(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".tmp")
    staged.write_bytes(msgspec.json.format(msgspec.json.encode({**runtime_changes(data_dir), **changes})))
    staged.replace(path)


def forget_changes(data_dir: Path) -> None:
    """The next start goes by the configuration alone."""
    _runtime_file(data_dir).unlink(missing_ok=True)


def _runtime_file(data_dir: Path) -> Path:
    return data_dir / "runtime.json"


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
    return f"{key}: {message}" if key else message
