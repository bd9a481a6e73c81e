"""Ten questions of a trader, answered end to end by a scripted client that knows the core tools only.

``python -m tests.mcp.questions docs/questions.md [--data-dir data]`` writes the transcript: over the store of a running
daemon, such as that of `make demo`, or else over a small planted market. Every figure is taken from a tool's answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mcp.processes import answer as answered
from tests.mcp.processes import stdio, store_process

BTC = {"symbol": "BTCUSDT"}
SHOWN = 420
"""Characters of an answer that the transcript shows."""
Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """``conclude`` makes the answer of the payloads of ``calls``."""

    text: str
    calls: Sequence[tuple[str, dict[str, Any]]]
    conclude: Callable[..., str]


@dataclass(frozen=True, slots=True)
class Answered:
    question: Question
    payloads: list[Payload]
    said: str


def cell(payload: Payload, column: str, row: int = 0) -> Any:
    """One cell of an answer, hoisted or not; None where there is no row."""
    if column in payload.get("constants", {}):
        return payload["constants"][column]
    return payload["rows"][row][payload["columns"].index(column)] if len(payload["rows"]) > row else None


def column(payload: Payload, name: str) -> list[Any]:
    return [cell(payload, name, row) for row in range(len(payload["rows"]))]


def _price(price: Payload) -> str:
    return (
        f"{cell(price, 'mid_price')} between {cell(price, 'bid_price')} bid and {cell(price, 'ask_price')} asked, "
        f"{cell(price, 'spread_bps'):.3g} bps apart, {cell(price, 'age_s'):.0f} s ago."
    )


def _flow(flow: Payload) -> str:
    share = cell(flow, "buy_share")
    side = "Buyers" if share > 0.5 else "Sellers"
    return f"{side}: {share:.0%} of the base volume was bought at the ask, {cell(flow, 'net_quote'):,.0f} USDT net."


def _book(book: Payload) -> str:
    bid, ask = column(book, "bid_qty_sum")[-1], column(book, "ask_qty_sum")[-1]
    side = "below" if bid > ask else "above"
    return f"It is deeper {side}: {bid:g} BTC bid against {ask:g} BTC asked within {len(book['rows'])} levels."


def _crowded(funding: Payload, interest: Payload) -> str:
    open_now, before = cell(interest, "open_interest"), column(interest, "open_interest")[-1]
    return (
        f"Funding is {cell(funding, 'funding_rate'):.4%} an interval: longs pay where it is above zero. "
        f"Open interest is {open_now:,.1f} BTC, {open_now - before:+,.1f} since {column(interest, 'timestamp')[-1]}."
    )


def _forced(forced: Payload) -> str:
    values = column(forced, "value_usd")
    if not values:
        return f"Nobody that was stored: {forced['hint']}"
    sides = sorted(set(column(forced, "side")))
    return f"{len(values)} positions, {' and '.join(sides)}, worth {sum(values):,.0f} USD."


def _signal(described: Payload, signal: Payload) -> str:
    parts = {name: value for name, value in cell(signal, "components").items() if value is not None}
    unknown = len(cell(signal, "components")) - len(parts)
    return (
        f"{cell(signal, 'value')} in {signal['meta']['range']}, confidence {cell(signal, 'confidence')}: "
        f"{described['meta']['about']['interpretation']} It rests on {parts}; {unknown} of its parts were unknown."
    )


def _forecast(forecast: Payload, skill: Payload, drift: Payload) -> str:
    last = len(forecast["rows"]) - 1
    low, high = cell(forecast, "lower_95", last), cell(forecast, "upper_95", last)
    gain, scored = cell(skill, "skill"), cell(skill, "scored")
    trust = "no better than the last value" if not gain or gain <= 0 else f"{gain:.0%} better than the last value"
    return (
        f"{cell(forecast, 'point', last)} at {cell(forecast, 'target_ts', last)}, between {low} and {high} (95 %), by "
        f"{cell(forecast, 'model', last)}. Over {scored} scored forecasts it was {trust}. "
        f"Drift: {cell(drift, 'severity')}, {cell(drift, 'reason')}."
    )


def _quality(quality: Payload, tables: Payload) -> str:
    kinds = column(quality, "kind")
    filled = sum(bool(rows) for rows in column(tables, "rows"))
    return (
        f"Gaps: {kinds.count('gap')}, refused frames: {kinds.count('quarantine')} kinds in 24 h "
        f"({', '.join(sorted(set(filter(None, column(quality, 'reason')))))}). "
        f"{filled} of {len(tables['rows'])} tables of streams have rows."
    )


def _backtest(found: Payload, results: Payload) -> str:
    best = min(zip(column(results, "rmae"), column(results, "model"), column(results, "grade"), strict=True))
    return f"{best[1]}, grade {best[2]}: its error is {best[0]:g} of the naive one's; below 1 is better."


def _largest(result: Payload) -> str:
    sides = dict(zip(column(result, "side"), column(result, "value"), strict=True))
    return ", ".join(f"{side} {value:,.0f} USDT" for side, value in sides.items()) + "."


BY_SIDE = """SELECT side, max(quote_value) AS value FROM trades WHERE symbol = 'BTCUSDT' GROUP BY side ORDER BY side"""
QUESTIONS = (
    Question("What is Bitcoin worth right now, and how old is that?", [("price_latest", BTC)], _price),
    Question(
        "Who has been in control for the last hour, buyers or sellers?",
        [("trade_flow_get", BTC | {"start": "1h"})],
        _flow,
    ),
    Question("Is the book deeper below or above?", [("book_latest", BTC | {"levels": 10})], _book),
    Question("How large was the largest trade of either side?", [("sql_query", {"sql": BY_SIDE})], _largest),
    Question("Are longs crowded?", [("mark_funding_get", BTC), ("open_interest_get", BTC | {"start": "8h"})], _crowded),
    Question("Who was forced out in the last eight hours?", [("liquidations_get", BTC | {"start": "8h"})], _forced),
    Question(
        "What does the smart money index say, and why?",
        [
            ("catalog_describe", {"name": "smart_money_index"}),
            ("signal_get", BTC | {"signal": "smart_money_index", "limit": 1}),
        ],
        _signal,
    ),
    Question(
        "Where is the price going, and should I believe it?",
        [
            ("forecasts_get", BTC | {"target": "price"}),
            ("forecast_skill_get", BTC | {"target": "price"}),
            ("drift_status", BTC | {"target": "price"}),
        ],
        _forecast,
    ),
    Question(
        "Can I trust the data of the last day?",
        [("data_quality_get", BTC), ("tables_list", {"schema_name": "main"})],
        _quality,
    ),
    Question(
        "Which model did best in backtests?",
        [
            ("catalog_search", {"query": "backtests", "kind": "tool"}),
            ("catalog_run_read", {"name": "backtest_results", "arguments": BTC | {"target": "price"}}),
        ],
        _backtest,
    ),
)


async def ask_all(folder: Path) -> list[Answered]:
    """Every question asked through the official client, of a server that lists the core only."""
    async with stdio(folder) as session:
        core = {tool.name for tool in (await session.list_tools()).tools}
        found = []
        for question in QUESTIONS:
            payloads = []
            for name, arguments in question.calls:
                assert name in core, name
                payloads.append(answered(await session.call_tool(name, arguments)))
            found.append(Answered(question, payloads, question.conclude(*payloads)))
        return found


def transcript(found: list[Answered], over: str) -> str:
    """The questions, calls and answers as Markdown."""
    parts = [
        "# Questions of a trader",
        "",
        "Asked by a script through the official Python client, of a server that lists its core tools only, over",
        f"{over}. `python -m tests.mcp.questions docs/questions.md`",
        "writes this page, with `--data-dir` over the store of a running daemon; every figure comes from a call.",
    ]
    for number, item in enumerate(found, 1):
        parts += ["", f"## {number}. {item.question.text}", ""]
        for (name, arguments), payload in zip(item.question.calls, item.payloads, strict=True):
            text = json.dumps({key: value for key, value in payload.items() if key != "units"})
            cut = text if len(text) <= SHOWN else f"{text[:SHOWN]} …"
            parts += ["```text", f"{name} {json.dumps(arguments)}", f"→ {cut}", "```", ""]
        parts += [f"**{item.said}**"]
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--data-dir", type=Path, help="of a running daemon")
    given = parser.parse_args()
    if given.data_dir:
        found = asyncio.run(ask_all(given.data_dir))
        given.page.write_text(transcript(found, "the store of a running daemon"))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "data"
        with store_process(folder):
            found = asyncio.run(ask_all(folder))
        given.page.write_text(transcript(found, "the small planted market of the tests, two hours of round figures"))


if __name__ == "__main__":
    main()
