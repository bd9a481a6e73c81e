"""Asking the running daemon, for the commands that need one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orderflow_streaming.exit_codes import CONFIGURATION, NOT_RUNNING, CommandError
from orderflow_streaming.settings import SettingsError, load
from orderflow_streaming.store import StoreAuthError, StoreUnavailableError, connect
from orderflow_streaming.store.endpoint import Scope


def ask(action: str, scope: Scope, *, data_dir: Path | None = None, config: Path | None = None) -> dict[str, Any]:
    """The daemon's answer to ``action``; ends the command with exit code 5 where none runs."""
    try:
        settings, _ = load(config, flags={"data_dir": data_dir})
        with connect(settings.data_dir, scope=scope, embedded=False) as store:
            return store.action(action)
    except StoreUnavailableError as error:
        raise CommandError(str(error), NOT_RUNNING) from error
    except (SettingsError, StoreAuthError) as error:
        raise CommandError(str(error), CONFIGURATION) from error
