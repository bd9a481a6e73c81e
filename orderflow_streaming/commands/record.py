"""``orderflow-stream record``: how long the journal is kept as a recording, and what is there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from orderflow_streaming.actions import keep
from orderflow_streaming.control import data_dir_option
from orderflow_streaming.exit_codes import CONFIGURATION, CommandError
from orderflow_streaming.recordings.journal import Segment, described, recorded_segments
from orderflow_streaming.settings import Settings, SettingsError, load
from orderflow_streaming.store import InvalidActionError, StoreAuthError, StoreUnavailableError, connect


class _Hours(click.ParamType):
    name = "HOURS|off"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            hours = 0.0 if value == "off" else float(str(value))
        except ValueError:
            hours = -1.0
        if not 0 <= hours < float("inf"):
            self.fail(f"{value!r} is neither a number of hours nor off.", param, ctx)
        return hours


@click.command("record")
@click.option("--keep", "hours", type=_Hours(), help="Keep what is stored for so long; off removes it at once.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@data_dir_option
def command(hours: float | None, as_json: bool, data_dir: Path | None) -> None:
    """Say what the journal holds as a recording, for `orderflow-stream replay`. With --keep, how long it is kept from
    now on: at once where a daemon runs, and after its next start."""
    try:
        settings, _ = load(flags={"data_dir": data_dir})
        note = None if hours is None else _keep(settings, hours)
        kept = load(flags={"data_dir": data_dir})[0].journal_keep_hours if hours is None else hours
    except (SettingsError, StoreAuthError, InvalidActionError) as error:
        raise CommandError(str(error), CONFIGURATION) from error
    recording = _recording(settings, kept)
    if as_json:
        click.echo(json.dumps(recording | ({"kept": note} if note else {}), indent=2))
    else:
        _show(recording, note)


def _keep(settings: Settings, hours: float) -> str:
    """Change it where a daemon runs, else for the next start; says which."""
    changes = {"journal_keep_hours": hours}
    try:
        with connect(settings.data_dir, scope="write", embedded=False) as store:
            return f"from now on, {store.action('configure', changes)['kept']}"
    except StoreUnavailableError:
        return f"no daemon runs; {keep(settings, changes)}"


def _recording(settings: Settings, hours: float) -> dict[str, Any]:
    folder = settings.data_dir / "journal"
    segments = [_described(path) for path in recorded_segments(folder)]
    held = [segment for segment in segments if segment is not None]
    firsts = [segment.first_us for segment in held if segment.first_us is not None]
    lasts = [segment.last_us for segment in held if segment.last_us is not None]
    return {
        "folder": str(folder),
        "keep_hours": hours,
        "max_gb": settings.journal_max_gb,
        "segments": len(held),
        "bytes": sum(segment.bytes for segment in held),
        "first": _iso(min(firsts, default=None)),
        "last": _iso(max(lasts, default=None)),
        "markets": sorted({market for segment in held for market in segment.markets}),
    }


def _described(path: Path) -> Segment | None:
    """None where the daemon has removed it meanwhile."""
    try:
        return described(path)
    except FileNotFoundError:
        return None


def _show(recording: dict[str, Any], note: str | None) -> None:
    hours = recording["keep_hours"]
    rule = f"kept for {hours:g} hours" if hours else "removed once stored"
    click.echo(f"Frames are {rule}, at most {recording['max_gb']:g} GB{f' ({note})' if note else ''}.")
    if not recording["segments"]:
        click.echo(f"{recording['folder']} holds nothing.")
        return
    click.echo(f"{recording['folder']}: {recording['segments']} segments, {recording['bytes'] / 1e6:,.1f} MB")
    click.echo(f"  received  {recording['first'] or '-'} to {recording['last'] or '-'}")
    click.echo(f"  markets   {', '.join(recording['markets'])}")


def _iso(microseconds: int | None) -> str | None:
    if microseconds is None:
        return None
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="milliseconds")
