"""``make bench``: every case, as a table on stderr and as one JSON object on stdout.

The comparison with other libraries (``versus``) is among them where they are installed: ``make bench-versus``.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.bench import against_pandas, features, mcp_call, normalize, store, versus, whole

CASES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "normalize": normalize.measure,
    "store": store.measure,
    "whole": whole.measure,
    "layers": features.by_layer,
    "growth": features.growth,
    "pandas": against_pandas.measure,
    "mcp": mcp_call.measure,
    "versus": versus.measure,
}


def main(names: list[str]) -> None:
    console = Console(stderr=True, width=None if sys.stderr.isatty() else 150)
    unknown = sorted(set(names) - set(CASES))
    if unknown:
        sys.exit(f"unknown case {', '.join(unknown)}. Allowed: {', '.join(CASES)}.")
    results: dict[str, list[dict[str, Any]]] = {}
    with Progress(console=console, transient=True) as progress:
        chosen = names or [name for name in CASES if name != "versus" or versus.is_installed()]
        task = progress.add_task("measuring", total=len(chosen))
        for name in chosen:
            progress.update(task, description=name)
            results[name] = CASES[name]()
            progress.advance(task)
    for name, rows in results.items():
        console.print(_table(name, rows))
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    print(json.dumps({"machine": machine, "results": results}, indent=2))


def _table(name: str, rows: list[dict[str, Any]]) -> Table:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=name, title_justify="left")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value := row.get(key, ""), int) else str(value) for key in columns))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
