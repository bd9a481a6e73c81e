"""The official conformance suite and the inspector's strict listing against the real server; `make conformance`.

They are Node programs, pinned here and fetched by npx, which brings a Node of its own where the installed one is older
than they need.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.mcp.processes import environment, http_process

PROTOCOL = "2025-11-25"
SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
BUNDLES = "@anthropic-ai/mcpb@2.1.2"
OLDEST_NODE = 22
INSTALL_S, RUN_S = 60, 200

_TOTALS = re.compile(r"^. [\w-]+: (\d+) passed, (\d+) failed$", re.MULTILINE)
_FINDINGS = re.compile(r"^\d+ errors?, .*$", re.MULTILINE)
_UNSCORED = re.compile(r"^  [✓✗] ([\w-]+) \(", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """``said`` is what the program printed; ``counts`` sums it up."""

    passed: bool
    counts: str
    said: str


def missing(*packages: str) -> str | None:
    """Why the programs cannot run here, nothing where they can."""
    if shutil.which("npx") is None:
        return "npx is not installed"
    for package in packages:
        try:
            done = npx(package, "node", "--version", timeout_s=INSTALL_S)
        except subprocess.TimeoutExpired:
            return f"npx did not fetch {package} within {INSTALL_S} s"
        if done.returncode or int(done.stdout.lstrip("v").partition(".")[0] or 0) < OLDEST_NODE:
            return f"npx could not fetch {package} and Node {OLDEST_NODE}: {done.stderr.strip()[-200:]}"
    return None


def suite(folder: Path) -> Outcome:
    """The server scenarios of the suite, over HTTP; those it does not score are told apart."""
    with http_process(folder, "--conformance") as server:
        done = npx(SUITE, "conformance", "server", "--url", server.url, "--requirements", PROTOCOL, timeout_s=RUN_S)
    unscored = set(_UNSCORED.findall(done.stdout))
    lines = [
        line for line in done.stdout.splitlines() if _TOTALS.match(line) and line[2:].partition(":")[0] not in unscored
    ]
    checks = [tuple(map(int, found.groups())) for line in lines if (found := _TOTALS.match(line))]
    passing = sum(failed == 0 < passed for passed, failed in checks)
    counts = f"{passing} of {len(checks)} scored scenarios pass, {sum(passed for passed, _ in checks)} checks"
    return Outcome(done.returncode == 0 and passing == len(checks) > 0, counts, done.stdout + done.stderr)


def strict_listing(folder: Path) -> Outcome:
    """Every tool's schema as the inspector judges it, over stdio."""
    server = [sys.executable, "-m", "mcp_server", "--data-dir", str(folder), "--toolsets", "all"]
    done = npx(INSPECTOR, "mcp-inspector", "--cli", *server, "--method", "tools/list", "--strict", timeout_s=RUN_S)
    found = _FINDINGS.search(done.stderr)
    counts = found[0] if found else "no findings"
    return Outcome(done.returncode == 0 and '"tools"' in done.stdout, counts, done.stderr)


def npx(package: str, *command: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a program of the package, fetched where it is not here yet."""
    words = ["npx", "--yes", *(() if _node() >= OLDEST_NODE else ("-p", f"node@{OLDEST_NODE}")), "-p", package, "--"]
    return subprocess.run(
        [*words, *command], capture_output=True, text=True, timeout=timeout_s, env=environment(CI="1"), check=False
    )


def _node() -> int:
    """Major version of the installed Node, 0 where there is none."""
    if shutil.which("node") is None:
        return 0
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    return int(told.lstrip("v").partition(".")[0] or 0)


def main() -> int:
    if reason := missing(SUITE, INSPECTOR):
        print(f"conformance: not run: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        outcomes = {
            f"suite, protocol {PROTOCOL}": suite(Path(folder)),
            "inspector --strict": strict_listing(Path(folder)),
        }
    for name, outcome in outcomes.items():
        if not outcome.passed:
            print(outcome.said)
        print(f"{name}: {'pass' if outcome.passed else 'FAIL'}: {outcome.counts}")
    return 0 if all(outcome.passed for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
