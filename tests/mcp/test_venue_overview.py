"""What venues tell of an instrument, of options and of themselves: a simulator answers for Hyperliquid and Binance,
answers written by hand for Kraken and Deribit, for which there is no simulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from mcp_server.aliases import declared_aliases
from mcp_server.errors import ToolError
from mcp_server.registry import declared_tools, find
from mcp_server.venues import client
from mcp_server.venues.venue import VENUES
from tests.mcp.conftest import Ask, asking
from tests.mcp.venue_answers import CALL, EXPIRY, FUTURE, PUT, answering
from tests.streaming.processes import Simulation, wait_for

SIMULATED = ("binance", "bybit", "okx", "gateio", "hyperliquid", "kucoin")
NAMES = sorted(
    name
    for name, alias in declared_aliases().items()
    if alias.given.get("exchange") in ("kraken", "hyperliquid", "deribit")
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Kraken and Deribit with the answers written by hand, asked without the pauses that real venues need."""

    def unhurried(section: Any, url: str | None) -> Any:
        exchange = made(section, url)
        exchange.enableRateLimit = False
        return exchange

    made = client._made
    with answering() as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_made", unhurried)
        for name in ("kraken", "deribit"):
            for kind, section in VENUES[name].sections.items():
                place = f"kraken_{kind}" if name == "kraken" else name
                patch.setitem(VENUES[name].sections, kind, replace(section, simulated=place))
        yield asking(tmp_path_factory.mktemp("nothing"), simulator_url=url)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    quiet = ("--symbols", "BTCUSDT,ETHUSDT", "--activity", 0.3, "--book-interval-ms", 1_000)
    running = Simulation(tmp_path_factory.mktemp("overview"), "--speed", 10, *quiet)
    yield running
    running.end()


@pytest.fixture(scope="module")
def simulated(simulation: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Venues on all of which something was traded already."""
    ask = asking(tmp_path_factory.mktemp("none"), simulator_url=simulation.url)
    for exchange in SIMULATED:
        wait_for(partial(traded, ask, exchange), what=f"trades on {exchange}")
    return ask


def traded(ask: Ask, exchange: str) -> list[dict[str, Any]]:
    """The latest five trades; none where there were fewer."""
    found = rows(ask("venue_trades", exchange=exchange, symbol="ETHUSDT", limit=5))
    return found if len(found) == 5 else []


def rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    constants = answer.get("constants", {})
    return [constants | dict(zip(answer["columns"], row, strict=True)) for row in answer["rows"]]


def figures(answer: dict[str, Any]) -> dict[tuple[str, str], float]:
    return {(row["part"], row["figure"]): row["value"] for row in rows(answer)}


def compared(answer: dict[str, Any]) -> dict[str, float | None]:
    return {row["comparison"]: row["value"] for row in rows(answer)}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_answers_with_rows_or_says_why_not(written: Ask, simulated: Ask, name: str) -> None:
    alias = declared_aliases()[name]
    needed = find(name, declared_tools()).input_schema.get("required", ())
    arguments = dict.fromkeys(needed, CALL if alias.tool == "venue_option_ticker" else "BTC")
    if "instrument_name" in alias.renamed:
        arguments["instrument_name"] = CALL if alias.tool == "venue_option_ticker" else "BTC-PERPETUAL"
    if alias.given["exchange"] == "hyperliquid":
        answer = simulated(name, **arguments)
        spot = alias.given["market"] == "spot"
        assert answer["rows"] or spot or alias.tool == "venue_funding_history", answer
    else:
        answer = written(name, **({"kind": "option"} if "kind" in alias.renamed else {}), **arguments)
        assert answer["rows"], answer


def test_a_snapshot_tells_each_part_with_its_time_and_what_is_missing(written: Ask) -> None:
    answer = written("venue_snapshot", exchange="kraken", symbol="BTC")
    told = figures(answer)
    assert answer["meta"]["instrument"] == "PF_XBTUSD"
    assert told["ticker", "last"] == 99_100
    assert told["book", "mid_price"] == 99_100
    assert told["book", "bid_qty_sum"] == 2
    assert told["trades", "buy_share"] == pytest.approx(0.3 / 0.4)
    assert told["trades", "stretch_s"] == 1
    assert told["funding", "funding_rate"] == pytest.approx(1.98 / 99_000), "Kraken tells dollars for a coin"
    assert told["open_interest", "open_interest"] == 250
    assert told["spot", "mid_price"] == 99_000
    assert set(answer["meta"]["missing"]) == {"volatility"}
    times = {row["part"]: row["timestamp"] for row in rows(answer)}
    assert times["trades"] < times["book"], "each part has its own"
    assert times["spot"] is None, "Kraken tells no time of a book"


def test_an_analysis_is_what_its_formulas_say_of_the_snapshot(written: Ask) -> None:
    answer = written("venue_analysis", exchange="kraken", symbol="BTC")
    told = compared(answer)
    assert told["range_position_24h"] == pytest.approx((99_100 - 98_100) / (100_100 - 98_100))
    assert told["depth_imbalance"] == pytest.approx((2 - 1) / (2 + 1), rel=1e-5)
    assert told["mark_over_index_pct"] == pytest.approx(0.1, rel=1e-5)
    assert told["mid_over_spot_pct"] == pytest.approx((99_100 / 99_000 - 1) * 100, rel=1e-5)
    assert told["funding_annualized_pct"] == pytest.approx(1.98 / 99_000 * 8_760 * 100, rel=1e-5)
    assert told["open_interest_over_volume_24h"] == pytest.approx(250 / 100)
    assert told["basis_annualized_pct"] is None, "it does not expire"
    assert told["implied_minus_realized_pct"] is None, "Kraken has no options"
    assert all(row["formula"] for row in rows(answer))


def test_a_contract_is_not_compared_with_a_pair_in_another_currency(written: Ask) -> None:
    answer = written("venue_analysis", exchange="deribit", symbol="BTC")
    told = compared(answer)
    assert told["mid_over_spot_pct"] is None
    assert "BTC/USDC" in answer["meta"]["missing"]["spot"]
    assert told["implied_minus_realized_pct"] == 52.5 - 42.5
    settled_in_usdc = written("venue_snapshot", exchange="deribit", symbol="BTC_USDC-PERPETUAL")
    assert figures(settled_in_usdc)["spot", "mid_price"] == 99_000


def test_the_venues_of_the_simulator_have_snapshots_too(simulated: Ask) -> None:
    for exchange in SIMULATED:
        told = figures(simulated("venue_snapshot", exchange=exchange, symbol="ETHUSDT"))
        assert told["book", "bid_price"] < told["book", "mid_price"] < told["book", "ask_price"], exchange
        assert -1 < told["book", "depth_imbalance"] < 1
        assert 0 <= told["trades", "buy_share"] <= 1
        assert told["open_interest", "open_interest"] > 0


def test_hyperliquid_tells_trades_of_everybody_and_no_quote_that_is_none(simulated: Ask) -> None:
    trades = traded(simulated, "hyperliquid")
    assert {row["side"] for row in trades} <= {"buy", "sell"}
    assert [row["timestamp"] for row in trades] == sorted((row["timestamp"] for row in trades), reverse=True)
    (ticker,) = rows(simulated("venue_ticker", exchange="hyperliquid", symbol="BTCUSDT"))
    assert ticker["instrument"] == "BTC"
    assert (ticker["bid"], ticker["ask"], ticker["last"]) == (None, None, None)
    assert None not in (ticker["mark_price"], ticker["index_price"], ticker["volume_24h_base"])
    mids = {row["instrument"]: row["mid_price"] for row in rows(simulated("hyperliquid_all_mids"))}
    assert set(mids) == {"BTC", "ETH"}
    assert mids["BTC"] == pytest.approx(ticker["mark_price"], rel=0.01)


def test_candles_begin_where_they_are_asked_to_and_come_in_periods_that_there_are(written: Ask) -> None:
    found = rows(written("deribit_klines", instrument_name="BTC-PERPETUAL", resolution="60", hours=3))
    opened = [datetime.fromisoformat(row["open_time"]) for row in found]
    assert len(opened) in (3, 4), "an hour may begin meanwhile"
    assert opened == sorted(opened, reverse=True)
    assert opened[-1] >= datetime.now(UTC) - timedelta(hours=3, minutes=1)
    assert found[0]["volume"] == 3, "told in coin"
    answer = written("venue_klines", exchange="deribit", interval="1w")
    assert not answer["rows"]
    assert "no candles of 1w; it has: 1m, 3m" in answer["hint"]


def test_dollars_are_counted_in_coin_where_contracts_are_settled_in_it(written: Ask) -> None:
    """BTC-PERPETUAL counts dollars; BTC_USDC-PERPETUAL coins, although a contract is a thousandth of one."""
    best = rows(written("deribit_orderbook", instrument_name="BTC-PERPETUAL"))[0]
    assert best["bid_qty"] == pytest.approx(40_000 / 98_990)
    bought = rows(written("deribit_trades", instrument_name="BTC-PERPETUAL"))[0]
    assert (bought["side"], bought["quantity"]) == ("buy", pytest.approx(300 / 99_000))
    interest = {row["instrument"]: row for row in rows(written("venue_open_interest", exchange="deribit"))}
    assert interest["BTC-PERPETUAL"]["open_interest_usd"] == 900_000_000
    assert interest["BTC_USDC-PERPETUAL"]["open_interest"] == 500
    volumes = {row["instrument"]: row["volume_24h_base"] for row in rows(written("deribit_futures_tickers"))}
    assert volumes == {"BTC-PERPETUAL": 700, "BTC_USDC-PERPETUAL": 70}


def test_funding_is_a_fraction_whatever_the_venue_tells(written: Ask) -> None:
    kraken = {row["instrument"]: row for row in rows(written("kraken_funding_rates_tool"))}
    assert kraken["PF_XBTUSD"]["funding_rate"] == pytest.approx(1.98 / 99_000)
    assert kraken["PI_XBTUSD"]["funding_rate"] == pytest.approx(2e-10 * 99_000), "coin for a dollar"
    (deribit,) = rows(written("deribit_funding_rate"))
    assert (deribit["funding_rate"], deribit["interval_h"]) == (0.0001, 8)
    paid = rows(written("deribit_funding_history", hours=3))
    assert [row["funding_rate"] for row in paid] == pytest.approx([3e-5, 2e-5, 1e-5]), "the latest, newest first"


def test_kraken_tells_no_price_of_24_hours_ago(written: Ask) -> None:
    """Its opening price is that of the day."""
    (ticker,) = rows(written("kraken_spot_ticker_tool"))
    assert (ticker["open_24h"], ticker["change_24h_pct"]) == (None, None)
    assert (ticker["last"], ticker["vwap_24h"], ticker["volume_24h_base"]) == (99_000, 98_500, 40)
    spreads = written("kraken_spread_tool", pair="btc/usd")
    assert [row["bid_price"] for row in rows(spreads)] == [100_000, 98_990]
    assert spreads["meta"]["min_bps"] == pytest.approx(1)


def test_options_are_found_by_coin_expiry_and_side(written: Ask) -> None:
    chain = rows(written("deribit_options_chain", currency="btc"))
    assert [row["instrument"] for row in chain] == [CALL, PUT]
    assert {(row["price_currency"], row["strike"]) for row in chain} == {("BTC", 100_000)}
    days = (f"{EXPIRY:%Y-%m-%d}", f"{EXPIRY:%d%b%y}", f"{EXPIRY:%y%m%d}", str(int(EXPIRY.timestamp())))
    for day in days:
        assert len(rows(written("venue_option_chain", coin="BTC-USD", expiry=day, option_type="put"))) == 1, day
    with pytest.raises(ToolError, match=f"There are: {EXPIRY:%Y-%m-%d}"):
        written("venue_option_chain", expiry="2020-01-01")
    with pytest.raises(ToolError, match="It has: BTC"):
        written("venue_option_chain", coin="DOGE")
    most = rows(written("deribit_top_options", limit=1))
    assert [row["open_interest"] for row in most] == [40]


def test_options_are_summed_by_expiry(written: Ask) -> None:
    answer = written("deribit_options_summary")
    (expiry,) = rows(answer)
    assert (expiry["calls"], expiry["puts"], expiry["strikes"]) == (1, 1, 1)
    assert expiry["put_call_ratio"] == 10 / 40
    assert answer["meta"]["all"]["call_open_interest"] == 40
    (coin,) = rows(written("venue_option_underlyings"))
    assert (coin["coin"], coin["options"], coin["settled_in"]) == ("BTC", 2, "BTC")


def test_one_option_has_its_greeks_and_no_volatility_where_nothing_is_offered(written: Ask) -> None:
    (option,) = rows(written("deribit_option_ticker", instrument_name=CALL))
    assert (option["mark_iv"], option["bid_iv"], option["ask_iv"]) == (55.5, 52, None)
    assert (option["delta"], option["theta"]) == (0.51, -42)


def test_a_coin_s_trades_settlements_and_volatility(written: Ask) -> None:
    answer = written("deribit_trades_by_currency", kind="option")
    assert answer["meta"]["by_instrument"] == {CALL: 1, PUT: 1}
    assert [row["quantity"] for row in rows(answer)] == [2.5, 1]
    assert rows(written("deribit_settlements"))[0]["position"] == 900_000_000
    assert [row["volatility_pct"] for row in rows(written("deribit_historical_volatility"))] == [42.5, 41.5]
    assert rows(written("deribit_dvol"))[0]["close"] == 52.5
    answer = written("venue_volatility_history", days=30)
    assert "days of its own" in answer["hint"], "Deribit cannot be asked for a number of days"


def test_totals_are_sums_of_what_is_told_and_say_of_how_many(written: Ask) -> None:
    answer = written("deribit_open_interest")
    told = {row["section"]: row for row in rows(answer)}
    assert told["futures"]["open_interest_usd"] == 900_000_000 + 500 * 99_000
    assert told["futures"]["instruments_summed"] == 2 < told["futures"]["instruments"]
    assert told["options"]["open_interest_usd"] == 50 * 100_000
    assert answer["meta"]["all"]["open_interest_usd"] == 954_500_000


def test_a_venue_tells_its_state_and_what_it_does_not_is_unknown(written: Ask, simulated: Ask) -> None:
    (kraken,) = rows(written("kraken_system_status_tool"))
    assert kraken["status"] == "ok"
    assert abs(kraken["clock_ahead_ms"]) < 2_000 + kraken["round_trip_ms"], "it tells whole seconds"
    (binance,) = rows(simulated("venue_status", exchange="binance"))
    assert binance["status"] is None
    assert binance["venue_time"] is not None
    assert rows(written("kraken_assets_tool"))[0]["currency"] == "BTC"
    assert "only to accounts" in simulated("venue_currencies", exchange="binance")["hint"]


@pytest.mark.parametrize(
    ("tool", "arguments", "others"),
    [
        ("venue_spread_history", {"exchange": "deribit"}, "kraken spot does"),
        ("venue_window_ticker", {"exchange": "kraken", "symbol": "BTCUSD"}, "binance spot does"),
        ("venue_coin_trades", {"exchange": "kraken"}, "deribit"),
        ("venue_settlements", {"exchange": "kraken"}, "deribit does"),
        ("venue_index_names", {"exchange": "kraken"}, "deribit does"),
        ("venue_announcements", {"exchange": "kraken"}, "bybit, okx, kucoin"),
    ],
)
def test_what_only_one_venue_tells_is_said_to_be_so(
    written: Ask, tool: str, arguments: dict[str, str], others: str
) -> None:
    symbol = {"symbol": "BTC_USDC"} if arguments["exchange"] == "deribit" else {}
    answer = written(tool, **arguments, **symbol)
    assert not answer["rows"]
    assert others in answer["hint"]


def test_a_dated_future_is_named_by_its_day(written: Ask) -> None:
    found = rows(written("deribit_instruments"))
    assert FUTURE in {row["instrument"] for row in found}
