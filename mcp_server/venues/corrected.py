"""Clients of the library where it reads a venue otherwise than the venue means it, or leaves out what it tells.

Loads the library, so it is imported where the first venue is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ccxt


class Hyperliquid(ccxt.hyperliquid):
    """Impact prices are no quotes and the mid is no trade, coins go by their names, and trades are public."""

    def fetch_swap_markets(self, params: dict[str, Any] = {}) -> list[Any]:  # noqa: B006
        return [{**market, "id": market["info"]["name"]} for market in super().fetch_swap_markets(params)]

    def parse_ticker(self, ticker: Any, market: Any = None) -> Any:
        parsed = super().parse_ticker(ticker, market)
        middle, before = (self.safe_number(ticker, name) for name in ("midPx", "prevDayPx"))
        unknown = dict.fromkeys(("bid", "ask", "last", "close", "vwap", "average"))
        return {
            **parsed,
            **unknown,
            "open": before,
            "percentage": None if middle is None or not before else (middle / before - 1) * 100,
            "baseVolume": self.safe_number(ticker, "dayBaseVlm"),
            "markPrice": self.safe_number(ticker, "markPx"),
            "indexPrice": self.safe_number(ticker, "oraclePx"),
        }

    def fetch_trades(
        self,
        symbol: str,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = {},  # noqa: B006
    ) -> Any:
        """Those of everybody; the library asks for those of an account."""
        self.load_markets()
        market = self.market(symbol)
        coin = market["baseName"] if market["swap"] else market["id"]
        told = self.publicPostInfo({"type": "recentTrades", "coin": coin})
        return self.parse_trades(told, market, since, limit)


class Deribit(ccxt.deribit):
    """Amounts are in coin where they are not in US dollars, whatever the size of a contract."""

    def describe(self) -> Any:
        return self.deep_extend(super().describe(), {"has": {"fetchFundingRates": True, "fetchOpenInterests": True}})

    def fetch_markets(self, params: dict[str, Any] = {}) -> Any:  # noqa: B006
        return [{**market, "amounts": "coin"} for market in super().fetch_markets(params)]

    def parse_ticker(self, ticker: Any, market: Any = None) -> Any:
        stats = self.safe_dict(ticker, "stats", ticker)
        change = self.safe_number(stats, "price_change")
        return {**super().parse_ticker(ticker, market), "percentage": change, "vwap": None}

    def fetch_tickers(self, symbols: Any = None, params: dict[str, Any] = {}) -> Any:  # noqa: B006
        """Of all currencies; the library asks for one. ``kind`` is future or option."""
        tickers = {item["symbol"]: item for item in map(self.parse_ticker, self._summaries(params))}
        return self.filter_by_array_tickers(tickers, "symbol", self.market_symbols(symbols))

    def fetch_open_interests(self, symbols: Any = None, params: dict[str, Any] = {}) -> Any:  # noqa: B006
        return self.parse_open_interests(self._summaries(params), symbols)

    def fetch_funding_rates(self, symbols: Any = None, params: dict[str, Any] = {}) -> Any:  # noqa: B006
        told = [row for row in self._summaries(params) if "current_funding" in row]
        rates = {rate["symbol"]: rate for rate in map(self._in_force, told)}
        return rates if symbols is None else {name: rates[name] for name in symbols if name in rates}

    def fetch_funding_rate(self, symbol: str, params: dict[str, Any] = {}) -> Any:  # noqa: B006
        """The rate in force; the library gives what was paid over the last 8 hours."""
        self.load_markets()
        told = self.publicGetTicker({"instrument_name": self.market(symbol)["id"], **params})
        return self._in_force(told["result"])

    def fetch_funding_rate_history(
        self,
        symbol: str | None = None,
        since: int | None = None,
        limit: int | None = None,
        params: dict[str, Any] = {},  # noqa: B006
    ) -> Any:
        """The latest; the library gives the first of the last 30 days."""
        if since is None and limit is not None:
            since = self.milliseconds() - limit * 3_600_000
        return super().fetch_funding_rate_history(symbol, since, limit, params)

    def _in_force(self, row: Any) -> Any:
        parsed = self.parse_funding_rate(row, self.safe_market(row["instrument_name"]))
        told = {"fundingRate": "current_funding", "markPrice": "mark_price", "indexPrice": "index_price"}
        return {**parsed, **{ours: self.safe_number(row, theirs) for ours, theirs in told.items()}}

    def _summaries(self, params: dict[str, Any]) -> list[Any]:
        """Of the instruments of every currency that they are settled in."""
        self.load_markets()
        return [
            row
            for currency in sorted({market["settleId"] for market in self.markets.values() if market["contract"]})
            for row in self.publicGetGetBookSummaryByCurrency({"currency": currency, **params})["result"]
        ]

    def parse_open_interest(self, interest: Any, market: Any = None) -> Any:
        parsed = super().parse_open_interest(interest, market)
        if self.safe_market(interest["instrument_name"], market)["linear"]:
            return {
                **parsed,
                "openInterestAmount": self.safe_number(interest, "open_interest"),
                "openInterestValue": None,
            }
        return parsed


class KrakenFutures(ccxt.krakenfutures):
    """Tickers tell extremes and volume in US dollars too; an inverse contract's funding is in coin for a dollar."""

    def parse_ticker(self, ticker: Any, market: Any = None) -> Any:
        names = {"high": "high24h", "low": "low24h", "quoteVolume": "volumeQuote"}
        told = {ours: self.safe_number(ticker, theirs) for ours, theirs in names.items()}
        told = {name: value for name, value in told.items() if value is not None}
        return {**super().parse_ticker(ticker, market), **told}

    def parse_funding_rate(self, ticker: Any, market: Any = None) -> Any:
        parsed = super().parse_funding_rate(ticker, market)
        mark = parsed["markPrice"]
        if mark is None or not self.safe_market(self.safe_string(ticker, "symbol"), market)["inverse"]:
            return parsed
        rates = {"fundingRate": "fundingRate", "nextFundingRate": "fundingRatePrediction"}
        told = {ours: self.safe_number(ticker, theirs) for ours, theirs in rates.items()}
        return {**parsed, **{name: None if rate is None else rate * mark for name, rate in told.items()}}


class Okx(ccxt.okx):
    """Candles of contracts tell volume in contracts, as all other amounts are; the library takes that in coin."""

    def parse_ohlcv(self, ohlcv: Any, market: Any = None) -> Any:
        return [*super().parse_ohlcv(ohlcv, market)[:5], self.safe_number(ohlcv, 5)]


class Gate(ccxt.gate):
    """Tickers of contracts tell volume in contracts, as all other amounts are; the library takes that in coin."""

    def parse_ticker(self, ticker: Any, market: Any = None) -> Any:
        contracts = self.safe_number(ticker, "volume_24h")
        told = {} if contracts is None else {"baseVolume": contracts}
        return {**super().parse_ticker(ticker, market), **told}


class KucoinFutures(ccxt.kucoinfutures):
    """Contracts tell volume in coin, where all other amounts are contracts."""

    def parse_contract_ticker(self, ticker: Any, market: Any = None) -> Any:
        parsed = super().parse_contract_ticker(ticker, market)
        coins, size = self.safe_number(ticker, "volumeOf24h"), self.safe_number(ticker, "multiplier")
        return {**parsed, "baseVolume": None if coins is None or not size else coins / size}


class Kraken(ccxt.kraken):
    """The opening price is that of the day in UTC, not that of 24 hours ago."""

    def parse_ticker(self, ticker: Any, market: Any = None) -> Any:
        return {**super().parse_ticker(ticker, market), **dict.fromkeys(("open", "change", "percentage", "average"))}


CLIENTS: Mapping[str, type[ccxt.Exchange]] = {
    "okx": Okx,
    "gate": Gate,
    "kucoinfutures": KucoinFutures,
    "hyperliquid": Hyperliquid,
    "deribit": Deribit,
    "krakenfutures": KrakenFutures,
    "kraken": Kraken,
}
