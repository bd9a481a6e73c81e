"""What is said every minute about a symbol across its venues."""

from __future__ import annotations

from orderflow_assets.analytics.symbols import SymbolGroup
from orderflow_assets.features.feature import NON_NEGATIVE, Feature
from orderflow_assets.lineage import book_levels, columns_of
from orderflow_streaming.markets import MARKETS

SIZE_QUOTE = 10_000.0
"""The stated size of an executable spread, in quote currency on each leg."""

WINDOW_CAP_S = 3600
_MARKETS = "{" + ", ".join(MARKETS) + "}"
_NET = "bid of the selling venue x (1 - its taker fee) / (ask of the buying venue x (1 + its taker fee)) - 1, in bps"
_FEES = "fees are the published base-tier constants; balances lie on both venues, transfer is not included"

_TOUCH, _SECONDS = (columns_of(f"bars.{table}", "bid_price", "ask_price") for table in ("bars_1m", "quotes_1s"))

CROSS_EXCHANGE = SymbolGroup(
    name="cross_exchange",
    doc="Prices and flow of a symbol compared across its venues, a row per symbol and minute.",
    observations="venues of the symbol that have a bar",
    features=(
        Feature(
            "quoting_venues",
            "venues",
            "quotes",
            "bar close",
            "Venues with a valid quote at bar_ts.",
            "definition",
            NON_NEGATIVE,
            inputs=_TOUCH,
        ),
        Feature(
            "price_dispersion_bps",
            "bps",
            "quotes",
            "bar close",
            "1e4 x (largest mid - smallest mid) / median mid over the quoting venues; NULL under two.",
            "definition",
            NON_NEGATIVE,
            inputs=_TOUCH,
        ),
        Feature(
            "buy_market",
            "label",
            "quotes",
            "bar close",
            "Market to buy on in the pair of venues with the largest net spread at the touch; NULL under two.",
            "definition",
            _MARKETS,
            "label",
            inputs=_TOUCH,
        ),
        Feature(
            "sell_market",
            "label",
            "quotes",
            "bar close",
            "Market to sell on in that pair.",
            "definition",
            _MARKETS,
            "label",
            inputs=_TOUCH,
        ),
        Feature(
            "gross_spread_bps",
            "bps",
            "quotes",
            "bar close",
            "1e4 x (bid of the selling venue / ask of the buying venue - 1) of that pair.",
            "executable spread",
            inputs=_TOUCH,
        ),
        Feature(
            "net_spread_bps",
            "bps",
            "quotes",
            "bar close",
            f"{_NET}, of that pair; positive is a profit at the touch; {_FEES}.",
            "executable spread net of fees",
            inputs=_TOUCH,
        ),
        Feature(
            "sized_buy_market",
            "label",
            "orderbook",
            "bar close",
            f"Market to buy on in the pair with the largest net spread for {SIZE_QUOTE:,.0f} quote on each leg.",
            "definition",
            _MARKETS,
            "label",
            inputs=book_levels(),
        ),
        Feature(
            "sized_sell_market",
            "label",
            "orderbook",
            "bar close",
            "Market to sell on in that pair.",
            "definition",
            _MARKETS,
            "label",
            inputs=book_levels(),
        ),
        Feature(
            "sized_net_spread_bps",
            "bps",
            "orderbook",
            "bar close",
            f"As net_spread_bps at the mean prices of taking {SIZE_QUOTE:,.0f} quote from the ten best levels; venues "
            f"whose ten levels hold less are left out; NULL under two; {_FEES}.",
            "executable spread net of fees",
            inputs=book_levels(),
        ),
        Feature(
            "executable_s",
            "s",
            "quotes",
            "bar at 1 s",
            "Seconds of the bar at whose closing edge some pair of venues nets more than zero at the touch; "
            "NULL where fewer than two venues quoted in the bar.",
            "definition",
            "[0, 60]",
            inputs=_SECONDS,
        ),
        Feature(
            "executable_window_s",
            "s",
            "quotes",
            "1 h at 1 s",
            "Length of the unbroken run of such seconds up to bar_ts, at most one hour; 0 where none is open.",
            "definition",
            f"[0, {WINDOW_CAP_S}]",
            inputs=_SECONDS,
        ),
        Feature(
            "flow_synchronization",
            "correlation",
            "trades",
            "1 h of 1 min",
            "Mean over the pairs of venues of the correlation of their signed taker flow (quote currency per minute); "
            "a pair needs 30 minutes known on both; NULL without a pair.",
            "mean pairwise correlation",
            "[-1, 1]",
            inputs=columns_of("bars.bars_1m", "quote_volume", "taker_buy_quote"),
        ),
        Feature(
            "flow_pairs",
            "pairs",
            "trades",
            "1 h of 1 min",
            "Pairs of venues in flow_synchronization.",
            "definition",
            NON_NEGATIVE,
            inputs=columns_of("bars.bars_1m", "quote_volume", "taker_buy_quote"),
        ),
    ),
)
