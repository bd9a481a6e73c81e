"""Ten questions have answers from the core tools, and the page of them is the script's."""

from __future__ import annotations

import re
from pathlib import Path

from tests.mcp.planted import LEVEL
from tests.mcp.processes import ROOT, store_process
from tests.mcp.questions import QUESTIONS, ask_all, transcript


async def test_ten_questions_are_answered_with_figures_of_the_store(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with store_process(folder):
        found = await ask_all(folder)
    said = [item.said for item in found]
    assert len(said) == len(QUESTIONS) == 10
    assert said[0].startswith(f"{LEVEL + 0.05} between {LEVEL} bid and {LEVEL + 0.1} asked")
    assert said[1].startswith("Buyers: ")
    assert said[2] == "It is deeper above: 55 BTC bid against 110 BTC asked within 10 levels."
    assert "0.0100% an interval" in said[4]
    assert said[5] == "2 positions, long, worth 61,234 USD."
    assert "{'flow': 0.5}; 1 of its parts" in said[6]
    assert "50% better than the last value. Drift: MEDIUM, errors grew by 40 %." in said[7]
    assert said[9].startswith("nbeats, grade A: its error is 0.96")

    page = (ROOT / "docs" / "questions.md").read_text()
    assert _without_figures(page) == _without_figures(transcript(found, "the small planted market of the tests"))


def _without_figures(page: str) -> list[str]:
    return re.findall(r"^(?:## .*|\w+ \{.*\})$", page, re.MULTILINE)
