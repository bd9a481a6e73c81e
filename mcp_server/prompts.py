"""Questions worth asking, written out: which tools to call, in which order, and how to read the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcp_server.arguments import moment
from mcp_server.errors import ToolError
from mcp_server.resources import choices
from orderflow_streaming.markets import suggestion

ARGUMENTS = {
    "symbol": "such as ETHUSDT",
    "market": "such as bybit_futures",
    "model": "a forecasting model such as ridge",
    "signal": "a composite signal such as squeeze_probability",
    "since": "ISO 8601 UTC, or ago: 2h",
}
DEFAULTS = {
    "symbol": "BTCUSDT",
    "market": "binance_futures",
    "model": "the one that serves",
    "signal": "smart_money_index",
    "since": "2h",
}
_RULES = (
    "Tools that are not listed run through catalog_run_read. Give units and UTC times. Say which answers were empty "
    "and why (hint), and which were stale (meta.staleness_s); never fill a gap with a guess."
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """``text`` is a format string over ``arguments``, each of which has a default."""

    name: str
    description: str
    arguments: tuple[str, ...]
    text: str


PROMPTS: dict[str, Prompt] = {
    prompt.name: prompt
    for prompt in (
        Prompt(
            "morning_briefing",
            "What happened overnight and who is in control now: price, flow, book, positioning, outlook, caveats.",
            ("symbol", "market"),
            "Brief me on {symbol} on {market} as a trader who was away for eight hours.\n"
            "1. streams_health and price_latest: stop with what is missing if age_s is above 60.\n"
            "2. bars_get 1h since 12h: range, trend, volume against the hours before.\n"
            "3. trade_flow_get since 30m and since 8h: who pays the spread, and is it growing?\n"
            "4. mark_funding_get, open_interest_get since 8h, liquidations_get since 8h: is positioning crowded, who "
            "was forced out?\n"
            "5. book_latest and signals_aggregate_get: where is the book thin, and which signals agree?\n"
            "6. forecasts_get, and forecast_skill_get on whether forecasts have beaten the naive one.\n"
            "Then seven sentences: what happened, price now, flow, book, positioning, outlook with its interval, and "
            "what would prove it wrong.",
        ),
        Prompt(
            "why_did_it_move",
            "Find what drove a price move: takers, forced closures, positioning, another venue, or thin books.",
            ("symbol", "market", "since"),
            "Explain the move of {symbol} on {market} since {since}.\n"
            "1. bars_get 1m since {since}: when did it move, how far, on how much volume against the minutes before?\n"
            "2. trade_flow_get over the minutes of the move: were takers one-sided? trades_recent for the largest "
            "ones.\n"
            "3. liquidations_get over the same minutes: did forced closures start it, or follow it?\n"
            "4. open_interest_get and mark_funding_get: were positions opened or closed; position_intent_of names it.\n"
            "5. features_get group orderbook: did depth vanish before the move?\n"
            "6. lead_lag_get: did another venue move first? data_quality_get: was anything missed?\n"
            "Then the causes in order of time, each with its figures, how sure you are of each, and what the data "
            "cannot tell. What came at the same time did not have to cause it.",
        ),
        Prompt(
            "squeeze_watch",
            "Is one side crowded and close to being forced out: leverage, funding, liquidations, thin books, signals.",
            ("symbol", "market"),
            "Watch {symbol} on {market} for a squeeze.\n"
            "1. leverage_get since 8h: open interest, liquidations, funding and basis over the futures venues.\n"
            "2. mark_funding_get since 24h: who pays whom, and is it unusual against its own past?\n"
            "3. signal_get squeeze_probability and liquidation_cascade_risk: value, confidence and the parts that "
            "speak.\n"
            "4. signal_probabilities_get squeeze_probability: the calibrated chance; signal_worth_get view calibration "
            "says how good such chances were.\n"
            "5. liquidity_zones_get and book_latest: how far to the next resting size on either side?\n"
            "6. calculate_liquidation_cascade: are closures feeding themselves already?\n"
            "Then: which side is trapped, what would set it off and at which price, the calibrated chance or that "
            "there is none, and what would show that it is over.",
        ),
        Prompt(
            "funding_arbitrage",
            "Is a difference of funding between venues worth trading after fees, spreads and risk?",
            ("symbol",),
            "Look for funding arbitrage in {symbol}.\n"
            "1. mark_funding_get of {symbol} on all markets: rate, interval and time of the next settlement of each.\n"
            "2. calculate_funding_arbitrage: pairs of venues, net of fees, and how long the difference must last.\n"
            "3. funding_history_get since 7d of the best pair: did the difference persist or change its sign?\n"
            "4. cross_exchange_spreads_get and arbitrage_pairs_get: what entering and leaving costs at the touch.\n"
            "5. book_latest of both legs: what size fits? open_interest_get: is one of them small?\n"
            "6. calculate_funding_forecast: what may the next settlements be?\n"
            "Then a table of pairs: gross, costs, net per settlement and a year, break-even time; then the risks (rate "
            "flips, liquidation of a leg, transfer), and whether to do it. Rates are per interval: do not mix 4 h and "
            "8 h.",
        ),
        Prompt(
            "data_quality_triage",
            "What is wrong with the data now, what each fault spoils, and what to repair first.",
            ("symbol", "market"),
            "Triage the data of {symbol} on {market}.\n"
            "1. streams_health: anything disconnected, dropped, lagging? alerts_list for what was raised.\n"
            "2. data_quality_get since 24h: gaps and quarantined frames, with their reasons.\n"
            "3. tables_list: which tables are empty or older than the newest trades?\n"
            "4. assets_status: which assets are late or fail a check? runs_list status FAILURE and run_log for why.\n"
            "5. asset_lineage of the first bad asset, downstream: what else is spoilt?\n"
            "6. drift_status and models_list: which models learned from or forecast on it?\n"
            "Then the faults, worst first: since when, what each spoils, what to do, and what can wait. Where a "
            "service does not run, say so and go on.",
        ),
        Prompt(
            "model_review",
            "Does a forecasting model deserve to serve: live skill, rivals, drift, intervals, explanations.",
            ("symbol", "market", "model"),
            "Review {model} for {symbol} on {market}.\n"
            "1. models_list and training_status: which version serves, trained when, on what, challenged by whom?\n"
            "2. forecast_skill_get since 7d by step: error against the naive forecast, and coverage of the intervals. "
            "Skill at or below 0 is no better than the last value.\n"
            "3. leaderboard_get: where does it stand, on how many forecasts?\n"
            "4. drift_report and drift_history: did errors or inputs drift, and what came of it?\n"
            "5. feature_importance and forecast_explain: does it lean on what makes sense?\n"
            "6. error_analysis: at which hours and in which regime does it err?\n"
            "Then a verdict of keep, retrain or replace, with the three figures it rests on, their sample sizes, and "
            "what would change it.",
        ),
        Prompt(
            "backtest_review",
            "Can a backtest be trusted and would trading on it have paid after costs?",
            ("symbol", "market", "model"),
            "Review the backtests of {model} for {symbol} on {market}.\n"
            "1. backtest_results detailed: run, window, folds, origins, grade, rmae and dm_p by step.\n"
            "2. backtest_leaderboard: is it best anywhere, or best of many tried? With many models some win by "
            "chance.\n"
            "3. backtest_curve: profit bar by bar after fees, spread and funding; worst drawdown; how many trades.\n"
            "4. Coverage of the intervals against their level, and direction against one half.\n"
            "5. forecast_skill_get: does it hold up live? drift_status: has the market changed since?\n"
            "6. regime_get over the window of the backtest: one regime, or several?\n"
            "Then: what it earned and cost, whether chance could have done it, what the backtest leaves out (impact, "
            "latency, funding of other venues), and whether to trust it, small, or not at all.",
        ),
        Prompt(
            "explain_signal",
            "What a composite signal says now, out of which parts, how often it was right, and what to do with it.",
            ("signal", "symbol", "market"),
            "Explain {signal} of {symbol} on {market}.\n"
            "1. catalog_describe {signal}: definition, range, parts and weights.\n"
            "2. signal_get signal {signal} limit 30: value, confidence, the parts that speak and those that are null.\n"
            "3. features_get of the group of its heaviest part: which stored figures does it come from?\n"
            "4. signals_aggregate_get: do the other signals agree, or contradict?\n"
            "5. signal_worth_get signal {signal}: correlation, hits and Brier score against what followed, with "
            "intervals; signal_probabilities_get where it warns of an event.\n"
            "Then five sentences for someone who never saw it: what it measures, what it says now, why, how often that "
            "was right (or that nobody has measured it), and what would turn it.",
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
        takes = ", ".join(prompt.arguments)
        raise ToolError("argument", f"Unknown argument {unknown[0][:80]!r}.", f"{name} takes: {takes}.")
    given = {key: _checked(key, arguments[key]) if arguments.get(key) else DEFAULTS[key] for key in prompt.arguments}
    return f"{prompt.text.format(**given)}\n{_RULES}"


def _checked(argument: str, value: str) -> str:
    """The value as tools take it; raises :class:`ToolError` where they would not."""
    if argument == "since":
        moment(argument, value)
        return value
    spelt = value.strip().upper() if argument == "symbol" else value.strip()
    allowed = list(choices(argument))
    if spelt not in allowed:
        hint = suggestion(spelt, allowed).strip()
        raise ToolError(
            "argument", f"{argument}: there is no {value[:80]!r}.", hint or f"Allowed: {', '.join(allowed)}."
        )
    return spelt
