"""Questions worth asking, written out: which tools to call, in which order, and how to read the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_server.errors import ToolError
from orderflow_streaming.markets import UnknownNameError, market, suggestion, symbol


@dataclass(frozen=True, slots=True)
class Prompt:
    """``text`` is a format string over the arguments."""

    name: str
    description: str
    arguments: Mapping[str, str]
    text: str


_SERIES = {"symbol": "such as BTCUSDT (default)", "market": "such as binance_futures (default)"}
_DEFAULTS = {"symbol": "BTCUSDT", "market": "binance_futures"}

PROMPTS: dict[str, Prompt] = {
    prompt.name: prompt
    for prompt in (
        Prompt(
            "market_brief",
            "Who is in control of a market right now: price, flow, book, positioning, forecast, with caveats.",
            _SERIES,
            "Brief me on {symbol} on {market}.\n"
            "1. price_latest, and stop with what is missing if age_s is above 60.\n"
            "2. trade_flow_get for 15m and for 2h: who pays the spread, and is it growing?\n"
            "3. features_get groups orderbook and trades over the last 30m; catalog_describe what you do not know.\n"
            "4. mark_funding_get, open_interest_get and liquidations_get over 8h: is positioning crowded?\n"
            "5. signal_get and forecasts_get; forecast_skill_get says whether forecasts beat the naive one.\n"
            "Then six sentences: price, flow, book, positioning, outlook with its interval, and what would prove it "
            "wrong. Give units and UTC times. Say which answers were empty and why; never fill a gap with a guess.",
        ),
        Prompt(
            "data_check",
            "Whether the stored data of a market can be trusted: collection, gaps, freshness, models.",
            _SERIES,
            "Check the data of {symbol} on {market}.\n"
            "1. streams_health: anything disconnected, dropped, lagging?\n"
            "2. data_quality_get for 24h: gaps and quarantined frames, with their reasons.\n"
            "3. tables_list: which tables are empty or older than the newest trades?\n"
            "4. assets_status: which assets are late or fail a check?\n"
            "5. drift_status and models_list: is a model unfit?\n"
            "Then list the problems, worst first, with times in UTC, what each one spoils, and what to do. Where a "
            "service does not run, say so and go on.",
        ),
    )
}


def write(name: str, arguments: Mapping[str, str]) -> str:
    """The prompt with its arguments filled in; raises :class:`ToolError`."""
    if name not in PROMPTS:
        hint = suggestion(name, list(PROMPTS)).strip()
        raise ToolError("unknown_prompt", f"There is no prompt {name[:80]!r}.", f"{hint} {', '.join(PROMPTS)}.".strip())
    prompt = PROMPTS[name]
    unknown = [argument for argument in arguments if argument not in prompt.arguments]
    if unknown:
        raise ToolError("argument", f"Unknown argument {unknown[0][:80]!r}.", f"{name} takes: symbol, market.")
    given = _DEFAULTS | {key: value for key, value in arguments.items() if value}
    try:
        return prompt.text.format(symbol=symbol(given["symbol"]), market=market(given["market"]).name)
    except UnknownNameError as error:
        raise ToolError("argument", str(error), "Call again with an allowed name.") from None
