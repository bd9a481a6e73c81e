"""Answers of Kraken and Deribit, written by hand after their public documentation, and a server that gives them.

docs.kraken.com (Spot and Futures REST) and docs.deribit.com describe the shapes; the figures are made up so that what
is made of them can be worked out by hand. No simulator answers for these venues, and nothing was recorded from them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Query = Mapping[str, str]
Body = Callable[[Query], Any]
NOW_MS = int(datetime.now(UTC).timestamp() // 60 * 60_000)
EXPIRY = (datetime.now(UTC) + timedelta(days=73)).replace(hour=8, minute=0, second=0, microsecond=0)
EXPIRY_MS = int(EXPIRY.timestamp() * 1_000)
DAY = f"{EXPIRY:%-d%b%y}".upper()
CALL, PUT = f"BTC-{DAY}-100000-C", f"BTC-{DAY}-100000-P"
FUTURE = f"BTC-{DAY}"


def _kraken(result: Any) -> Body:
    return lambda query: {"error": [], "result": result}


_PAIR = {
    "altname": "XBTUSD",
    "wsname": "XBT/USD",
    "base": "XXBT",
    "quote": "ZUSD",
    "pair_decimals": 1,
    "lot_decimals": 8,
    "leverage_buy": [2, 3],
    "fees": [[0, 0.4]],
    "fees_maker": [[0, 0.25]],
    "ordermin": "0.00005",
    "costmin": "0.5",
    "tick_size": "0.1",
    "status": "online",
}
_KRAKEN_SPOT: Mapping[str, Body] = {
    "/0/public/AssetPairs": _kraken(
        {
            "XXBTZUSD": _PAIR,
            "XETHZUSD": {**_PAIR, "altname": "ETHUSD", "wsname": "ETH/USD", "base": "XETH"},
            "SOLUSD": {**_PAIR, "altname": "SOLUSD", "wsname": "SOL/USD", "base": "SOL"},
        }
    ),
    "/0/public/Ticker": _kraken(
        {
            "XXBTZUSD": {
                "a": ["99010.0", "1", "1.000"],
                "b": ["98990.0", "2", "2.000"],
                "c": ["99000.0", "0.01"],
                "v": ["10.0", "40.0"],
                "p": ["98800.0", "98500.0"],
                "t": [100, 400],
                "l": ["98000.0", "97000.0"],
                "h": ["99500.0", "101000.0"],
                "o": "98100.0",
            }
        }
    ),
    "/0/public/Depth": _kraken(
        {
            "XXBTZUSD": {
                "asks": [["99010.0", "1.000", NOW_MS // 1_000], ["99020.0", "1.000", NOW_MS // 1_000]],
                "bids": [["98990.0", "2.000", NOW_MS // 1_000], ["98980.0", "4.000", NOW_MS // 1_000]],
            }
        }
    ),
    "/0/public/Trades": _kraken(
        {
            "XXBTZUSD": [
                ["98999.0", "0.10", NOW_MS / 1_000 - 2, "s", "m", "", 1],
                ["99000.0", "0.30", NOW_MS / 1_000 - 1, "b", "l", "", 2],
            ],
            "last": "1",
        }
    ),
    "/0/public/OHLC": _kraken(
        {
            "XXBTZUSD": [
                [NOW_MS // 1_000 - 60, "98900.0", "99100.0", "98800.0", "99000.0", "98950.0", "1.5", 12],
            ],
            "last": 1,
        }
    ),
    "/0/public/Spread": _kraken(
        {
            "XXBTZUSD": [
                [NOW_MS // 1_000 - 2, "98990.0", "99000.0"],
                [NOW_MS // 1_000 - 1, "100000.0", "100010.0"],
            ],
            "last": 1,
        }
    ),
    "/0/public/Assets": _kraken(
        {"XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5, "status": "enabled"}}
    ),
    "/0/public/SystemStatus": _kraken({"status": "online", "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}),
    "/0/public/Time": lambda query: {
        "error": [],
        "result": {"unixtime": int(datetime.now(UTC).timestamp()), "rfc1123": ""},
    },
}

_LINEAR, _INVERSE = "PF_XBTUSD", "PI_XBTUSD"
_FUTURES_TICKERS = [
    {
        "symbol": _LINEAR,
        "tag": "perpetual",
        "pair": "XBT:USD",
        "last": 99100,
        "lastTime": datetime.fromtimestamp(NOW_MS / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "markPrice": 99000,
        "indexPrice": 98901.09890109891,
        "bid": 99090,
        "bidSize": 2,
        "ask": 99110,
        "askSize": 1,
        "vol24h": 100,
        "volumeQuote": 9_900_000,
        "openInterest": 250,
        "open24h": 98000,
        "high24h": 100100,
        "low24h": 98100,
        "fundingRate": 1.98,
        "fundingRatePrediction": 0.99,
        "suspended": False,
    },
    {
        "symbol": _INVERSE,
        "tag": "perpetual",
        "pair": "XBT:USD",
        "last": 99000,
        "markPrice": 99000,
        "indexPrice": 99000,
        "bid": 98990,
        "bidSize": 1000,
        "ask": 99010,
        "askSize": 1000,
        "vol24h": 5_000_000,
        "volumeQuote": 5_000_000,
        "openInterest": 1_000_000,
        "open24h": 99000,
        "fundingRate": 2e-10,
        "fundingRatePrediction": 1e-10,
        "suspended": False,
    },
]


def _futures_instrument(symbol: str, kind: str, size: int) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "type": kind,
        "tickSize": 0.5,
        "contractSize": size,
        "tradeable": True,
        "contractValueTradePrecision": 4,
        "openingDate": "2022-01-01T00:00:00.000Z",
    }


def _execution(direction: str, quantity: str, at_ms: int) -> dict[str, Any]:
    order = {"tradeable": _LINEAR, "quantity": quantity, "timestamp": str(at_ms), "limitPrice": "99100"}
    maker = "Buy" if direction == "Sell" else "Sell"
    execution = {
        "uid": f"{at_ms}",
        "makerOrder": {**order, "direction": maker, "orderType": "Post"},
        "takerOrder": {**order, "direction": direction, "orderType": "Market"},
        "timestamp": str(at_ms),
        "quantity": quantity,
        "price": "99100",
        "markPrice": "99000",
    }
    return {"uid": f"{at_ms}", "timestamp": str(at_ms), "event": {"Execution": {"execution": execution}}}


_KRAKEN_FUTURES: Mapping[str, Body] = {
    "/derivatives/api/v3/instruments": lambda query: {
        "result": "success",
        "instruments": [
            _futures_instrument(_INVERSE, "futures_inverse", 1),
            _futures_instrument(_LINEAR, "flexible_futures", 1),
        ],
    },
    "/derivatives/api/v3/tickers": lambda query: {"result": "success", "tickers": _FUTURES_TICKERS},
    f"/derivatives/api/v3/tickers/{_LINEAR}": lambda query: {"result": "success", "ticker": _FUTURES_TICKERS[0]},
    "/derivatives/api/v3/orderbook": lambda query: {
        "result": "success",
        "serverTime": datetime.fromtimestamp(NOW_MS / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "orderBook": {"bids": [[99090, 2]], "asks": [[99110, 1]]},
    },
    f"/api/history/v3/market/{_LINEAR}/executions": lambda query: {
        "elements": [_execution("Sell", "0.1", NOW_MS - 1_000), _execution("Buy", "0.3", NOW_MS - 2_000)],
        "len": 2,
    },
    f"/api/charts/v1/trade/{_LINEAR}/1h": lambda query: {
        "candles": [{"time": NOW_MS, "open": "1", "high": "4", "low": "0.5", "close": "2", "volume": 3}],
        "more_candles": False,
    },
}


def _deribit(result: Any) -> Body:
    return lambda query: {"jsonrpc": "2.0", "result": result(query) if callable(result) else result, "testnet": False}


def _instrument(name: str, kind: str, **further: Any) -> dict[str, Any]:
    return {
        "instrument_name": name,
        "kind": kind,
        "base_currency": "BTC",
        "counter_currency": "USD",
        "settlement_currency": "BTC",
        "settlement_period": "month",
        "expiration_timestamp": EXPIRY_MS,
        "creation_timestamp": 1,
        "contract_size": 1,
        "min_trade_amount": 0.1,
        "tick_size": 0.5,
        "maker_commission": 0.0003,
        "taker_commission": 0.0003,
        "is_active": True,
        **further,
    }


_PERPETUAL = {"settlement_period": "perpetual", "expiration_timestamp": 32503708800000}
_LINEAR_USDC = {"counter_currency": "USDC", "settlement_currency": "USDC", "contract_size": 0.001}
_INSTRUMENTS = [
    _instrument("BTC-PERPETUAL", "future", contract_size=10, **_PERPETUAL),
    _instrument("BTC_USDC-PERPETUAL", "future", **{**_PERPETUAL, **_LINEAR_USDC}),
    _instrument("ETH-PERPETUAL", "future", base_currency="ETH", settlement_currency="ETH", **_PERPETUAL),
    _instrument("SOL_USDC-PERPETUAL", "future", **{**_PERPETUAL, **_LINEAR_USDC, "base_currency": "SOL"}),
    _instrument(FUTURE, "future", contract_size=10),
    _instrument(CALL, "option", strike=100000, option_type="call"),
    _instrument(PUT, "option", strike=100000, option_type="put"),
    _instrument("BTC_USDC", "spot", counter_currency="USDC", settlement_currency=None, settlement_period="none"),
]
_SUMMARIES = {
    ("BTC", "future"): [
        {
            "instrument_name": "BTC-PERPETUAL",
            "bid_price": 98990,
            "ask_price": 99010,
            "mark_price": 99000,
            "last": 99005,
            "high": 100000,
            "low": 97000,
            "price_change": -1.5,
            "volume": 700,
            "volume_usd": 69_000_000,
            "volume_notional": 69_000_000,
            "open_interest": 900_000_000,
            "current_funding": 0.0001,
            "funding_8h": 0.00005,
            "creation_timestamp": NOW_MS,
        },
    ],
    ("USDC", "future"): [
        {
            "instrument_name": "BTC_USDC-PERPETUAL",
            "bid_price": 98990,
            "ask_price": 99010,
            "mark_price": 99000,
            "last": 99005,
            "volume": 70,
            "volume_usd": 6_900_000,
            "volume_notional": 6_900_000,
            "open_interest": 500,
            "current_funding": 0.0002,
            "funding_8h": 0.0001,
            "creation_timestamp": NOW_MS,
        },
    ],
    ("BTC", "option"): [
        {
            "instrument_name": name,
            "bid_price": 0.05,
            "ask_price": 0.06,
            "mark_price": 0.055,
            "mark_iv": iv,
            "last": 0.054,
            "underlying_price": 100000,
            "open_interest": held,
            "volume": 10,
            "volume_usd": 55_000,
            "creation_timestamp": NOW_MS,
        }
        for name, iv, held in ((CALL, 55.5, 40), (PUT, 60.0, 10))
    ],
}
_TICKERS = {
    "BTC_USDC-PERPETUAL": {
        "instrument_name": "BTC_USDC-PERPETUAL",
        "timestamp": NOW_MS,
        "last_price": 99005,
        "mark_price": 99000,
        "index_price": 99000,
        "open_interest": 500,
        "current_funding": 0.0002,
        "stats": {"high": 100000, "low": 97000, "price_change": -1.5, "volume": 70, "volume_usd": 6_900_000},
    },
    "BTC-PERPETUAL": {
        "instrument_name": "BTC-PERPETUAL",
        "timestamp": NOW_MS,
        "best_bid_price": 98990,
        "best_bid_amount": 40_000,
        "best_ask_price": 99010,
        "best_ask_amount": 10_000,
        "last_price": 99005,
        "mark_price": 99099,
        "index_price": 99000,
        "open_interest": 900_000_000,
        "current_funding": 0.0001,
        "funding_8h": 0.00005,
        "stats": {"high": 100000, "low": 97000, "price_change": -1.5, "volume": 700, "volume_usd": 69_000_000},
    },
    CALL: {
        "instrument_name": CALL,
        "timestamp": NOW_MS,
        "best_bid_price": 0.05,
        "best_bid_amount": 3,
        "best_ask_price": 0.06,
        "best_ask_amount": 5,
        "last_price": 0.054,
        "mark_price": 0.055,
        "index_price": 99000,
        "underlying_price": 100000,
        "mark_iv": 55.5,
        "bid_iv": 52.0,
        "ask_iv": 0,
        "open_interest": 40,
        "greeks": {"delta": 0.51, "gamma": 0.00001, "theta": -42.0, "vega": 170.0, "rho": 90.0},
        "stats": {"high": 0.06, "low": 0.05, "price_change": 2.0, "volume": 10, "volume_usd": 55_000},
    },
}


def _summary(query: Query) -> Any:
    return _SUMMARIES.get((query["currency"], query.get("kind", "")), [])


def _funding_history(query: Query) -> Any:
    """By the hour within the stretch that is asked for, oldest first; rates of 1 to n of 1/100,000."""
    start, end = int(query["start_timestamp"]), int(query["end_timestamp"])
    hours = range(-(-start // 3_600_000), end // 3_600_000 + 1)
    return [
        {"timestamp": hour * 3_600_000, "index_price": 99000, "interest_8h": 1e-5 * (index + 1), "interest_1h": 1e-6}
        for index, hour in enumerate(hours)
    ]


def _candles(query: Query) -> Any:
    """Of the stretch that is asked for as far as it is past, oldest first."""
    step, last = int(query["resolution"]) * 60_000, min(int(query["end_timestamp"]), NOW_MS + 60_000)
    opened = range(-(-int(query["start_timestamp"]) // step) * step, last + 1, step)
    prices = {"open": 1, "high": 4, "low": 0.5, "close": 2, "volume": 3}
    return {"ticks": list(opened), **{name: [value] * len(opened) for name, value in prices.items()}, "status": "ok"}


def _trade(name: str, direction: str, amount: float, back_ms: int, **further: Any) -> dict[str, Any]:
    return {
        "trade_id": f"{name}{back_ms}",
        "instrument_name": name,
        "timestamp": NOW_MS - back_ms,
        "price": 99000,
        "index_price": 98990,
        "mark_price": 99000,
        "direction": direction,
        "amount": amount,
        **further,
    }


_DERIBIT: Mapping[str, Body] = {
    "get_instruments": _deribit(_INSTRUMENTS),
    "get_book_summary_by_currency": _deribit(_summary),
    "get_book_summary_by_instrument": _deribit(
        lambda query: [
            row for rows in _SUMMARIES.values() for row in rows if row["instrument_name"] == query["instrument_name"]
        ]
    ),
    "ticker": _deribit(lambda query: _TICKERS[query["instrument_name"]]),
    "get_order_book": _deribit(
        {"timestamp": NOW_MS, "bids": [[98990, 40_000], [98980, 20_000]], "asks": [[99010, 10_000], [99020, 10_000]]}
    ),
    "get_last_trades_by_instrument": _deribit(
        {"trades": [_trade("BTC-PERPETUAL", "buy", 300, 1_000), _trade("BTC-PERPETUAL", "sell", 100, 2_000)]}
    ),
    "get_last_trades_by_currency": _deribit(
        lambda query: {
            "trades": [_trade(CALL, "buy", 2.5, 1_000, iv=56.1, price=0.055), _trade(PUT, "sell", 1, 2_000, iv=61)]
            if (query["currency"], query["kind"]) == ("BTC", "option")
            else []
        }
    ),
    "get_funding_rate_history": _deribit(_funding_history),
    "get_historical_volatility": _deribit([[NOW_MS - 3_600_000, 41.5], [NOW_MS, 42.5]]),
    "get_volatility_index_data": _deribit(
        {"data": [[NOW_MS - 60_000, 50, 52, 49, 51], [NOW_MS, 51, 53, 50, 52.5]], "continuation": None}
    ),
    "get_index_price_names": _deribit(["eth_usd", "btc_usd"]),
    "get_last_settlements_by_currency": _deribit(
        {
            "settlements": [
                {
                    "type": "settlement",
                    "timestamp": NOW_MS,
                    "instrument_name": "BTC-PERPETUAL",
                    "position": 900_000_000,
                    "mark_price": 99000,
                    "index_price": 98990,
                    "profit_loss": 1.5,
                    "session_profit_loss": 2.5,
                }
            ],
            "continuation": "x",
        }
    ),
    "get_currencies": _deribit(
        [{"currency": "BTC", "currency_long": "Bitcoin", "fee_precision": 4, "withdrawal_fee": 0.0001}]
    ),
    "get_tradingview_chart_data": _deribit(_candles),
}
_ROUTES: Mapping[str, Body] = {
    **{f"/kraken_spot{path}": body for path, body in _KRAKEN_SPOT.items()},
    **{f"/kraken_futures{path}": body for path, body in _KRAKEN_FUTURES.items()},
    **{f"/deribit/api/v2/public/{name}": body for name, body in _DERIBIT.items()},
}


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        body = _ROUTES.get(asked.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(json.dumps(body(dict(parse_qsl(asked.query))) if body else {}).encode())

    def log_message(self, *_: Any) -> None:
        """Silent."""


@contextmanager
def answering() -> Iterator[str]:
    """The address of a server that gives the answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
