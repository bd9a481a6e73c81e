"""Asking the running daemon, for the commands that need one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from orderflow_streaming.exit_codes import CONFIGURATION, NOT_RUNNING, CommandError
from orderflow_streaming.settings import SettingsError, load
from orderflow_streaming.store import InvalidActionError, StoreAuthError, StoreUnavailableError, connect
from orderflow_streaming.store.endpoint import Scope

data_dir_option = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of the database.  [default: data]"
)


def ask(
    action: str,
    scope: Scope,
    body: Mapping[str, Any] | None = None,
    *,
    data_dir: Path | None = None,
    config: Path | None = None,
) -> dict[str, Any]:
    """The daemon's answer to ``action``; keys of ``body`` with the value None are left out.

    Ends the command with exit code 5 where no daemon runs, 2 where it does not know what it is asked for.
    """
    given = {key: value for key, value in (body or {}).items() if value is not None}
    try:
        settings, _ = load(config, flags={"data_dir": data_dir})
        with connect(settings.data_dir, scope=scope, embedded=False) as store:
            return store.action(action, given)
    except StoreUnavailableError as error:
        raise CommandError(str(error), NOT_RUNNING) from error
    except (SettingsError, StoreAuthError, InvalidActionError) as error:
        raise CommandError(str(error), CONFIGURATION) from error
