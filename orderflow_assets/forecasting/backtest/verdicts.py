"""What a backtest says of the models that serve: whether each is good enough, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orderflow_assets.forecasting.backtest.grades import COVERAGE_ERROR
from orderflow_assets.forecasting.models import NAIVE

PASSING = ("S", "A", "B", "C")


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: bool
    reason: str


def grade(rows: Sequence[Mapping[str, Any]], serves: Mapping[str, str]) -> Verdict:
    """Whether what serves each target was graded C or better at every step.

    ``rows`` are those of a run; ``serves`` names the model by target, naive where none is named.
    """
    return _verdict(rows, serves, lambda row: row["grade"] in PASSING, lambda row: f"{row['grade']}: {row['reason']}")


def coverage(rows: Sequence[Mapping[str, Any]], serves: Mapping[str, str]) -> Verdict:
    """Whether its intervals cover what they say, to within :data:`COVERAGE_ERROR`."""
    return _verdict(rows, serves, _covers, _covered)


def _verdict(rows: Sequence[Mapping[str, Any]], serves: Mapping[str, str], good: Any, said: Any) -> Verdict:
    failed = []
    for target in dict.fromkeys(row["target"] for row in rows):
        model = serves.get(target, NAIVE)
        mine = [row for row in rows if (row["target"], row["model"]) == (target, model)]
        if not mine:
            failed.append(f"{target}: {model} serves and was not among the models tested")
        failed += [f"{target}, {model}, step {row['step']}: {said(row)}" for row in mine if not good(row)]
    if not rows:
        return Verdict(False, "no model could be tested")
    if failed:
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        return Verdict(False, "; ".join(failed[:3]) + more)
    return Verdict(True, "what serves passes at every step")


def _covers(row: Mapping[str, Any]) -> bool:
    shares = ((row["coverage_80"], 0.80), (row["coverage_95"], 0.95))
    return all(share is not None and abs(share - level) <= COVERAGE_ERROR for share, level in shares)


def _covered(row: Mapping[str, Any]) -> str:
    if row["coverage_95"] is None:
        return "no interval could be stated"
    return f"{row['coverage_80']:.1%} inside the 80 % interval, {row['coverage_95']:.1%} inside the 95 % interval"
