"""The frame of one series: five-minute bars on a regular grid, and what was known at each closing edge.

Every array has one entry per closing edge; entry ``t`` uses bars that closed at or before ``t``. The price is the
last traded one. In a bar that is known to be quiet it is the one before; in a bar that was not recorded to its end it
is NaN, nothing is carried into it, and models learn from the stretches between such bars.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from orderflow_streaming.store.reader import Reader

STEP = timedelta(minutes=5)
HORIZON = 12
"""Bars ahead: one hour."""

MIN_BARS = 100
LOOKBACK = timedelta(days=14)

HALF_LIFE = 24
"""Bars after which a squared return counts half in the volatility that scales returns (two hours)."""
WARM_UP = 12
"""Returns needed before a volatility is stated."""
_HALF_LIVES = (6, 36, 144)
"""Of the volatilities among the covariates, in bars."""
LONGEST_WINDOW = max(6 * HORIZON, *_HALF_LIVES)
"""Bars back that the covariates look with most of their weight."""
SIGMA_FLOOR = 1e-6
"""A hundredth of a basis point per bar: below it a price is taken as standing still."""

BARS = "bars.bars_1m"

HOUR_VOLUME = "log_hour_volume"
"""Covariate: log of the amount traded in the last hour, in base units."""

FEATURES: Mapping[str, tuple[str, ...]] = {
    "features.prices": ("microprice_zscore", "spread_zscore", "pressure_ratio", "price_efficiency", "hurst_exponent"),
    "features.orderbook": ("depth_imbalance_5", "cumulative_depth_imbalance", "replenishment_speed"),
    "features.trades": ("cvd_zscore", "flow_toxicity", "aggressive_ratio", "whale_volume_ratio"),
}
"""Scale-free columns offered to the models, where the tables hold them."""

_BARS_SQL = f"""
WITH minutes AS (
    SELECT *, time_bucket(INTERVAL 5 MINUTE, open_time) + INTERVAL 5 MINUTE AS edge,
           max(open_time) FILTER (close IS NOT NULL) OVER (PARTITION BY edge) AS last_trade
    FROM {BARS}
    WHERE symbol = ? AND exchange = ? AND market_type = ? AND open_time >= ? AND open_time < ?
)
SELECT edge AS bar_ts,
       CASE WHEN count(volume) FILTER (open_time >= last_trade) = date_diff('minute', any_value(last_trade), edge)
            THEN arg_max(close, open_time) END AS close,
       count(volume) = 5 AND sum(volume) = 0 AS quiet,
       max(high) AS high, min(low) AS low,
       CASE WHEN count(volume) = 5 THEN sum(volume) END AS volume,
       CASE WHEN count(volume) = 5 THEN sum(quote_volume) END AS quote_volume,
       CASE WHEN count(volume) = 5 THEN sum(taker_buy_volume) END AS taker_buy_volume
FROM minutes GROUP BY edge ORDER BY edge
"""
"""The close counts where every minute from the last trade on is known, traded or quiet; amounts where all five are."""


_STORED_SQL = "SELECT 1 FROM duckdb_tables() WHERE schema_name || '.' || table_name = 'bars.bars_1m'"


class FrameError(ValueError):
    """No frame can be made of the stored bars; the message is the reason recorded with the forecast."""


def as_naive(moment: np.datetime64) -> datetime:
    """A grid time as the naive UTC ``datetime`` that tables hold."""
    value: datetime = moment.astype("datetime64[us]").item()
    return value


def floor_step(moment: datetime) -> datetime:
    """The last five-minute edge at or before ``moment`` (naive UTC)."""
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001 - times in tables are naive UTC
    return moment - (moment - epoch) % STEP


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class Series:
    """A symbol on a market; ``key`` is ``BTCUSDT|binance_futures``."""

    symbol: str
    exchange: str
    market_type: str

    @property
    def key(self) -> str:
        return f"{self.symbol}|{self.exchange}_{self.market_type}"

    @classmethod
    def parse(cls, key: str) -> Series:
        symbol, separator, market = key.partition("|")
        exchange, underscore, market_type = market.rpartition("_")
        if not (symbol and separator and exchange and underscore and market_type):
            raise ValueError(
                f"series {key!r} is not of the form SYMBOL|exchange_market, such as BTCUSDT|binance_futures"
            )
        return cls(symbol, exchange, market_type)


@dataclass(frozen=True, slots=True)
class Frame:
    """What one series looked like, bar by bar. Prices in quote currency, volatility in log units per bar."""

    series: Series
    times: np.ndarray
    """Closing edges, ``datetime64[us]``, five minutes apart."""
    price: np.ndarray
    returns: np.ndarray
    """Log return of the bar; NaN when it or the bar before is missing."""
    sigma: np.ndarray
    covariates: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def missing(self) -> int:
        return int(np.isnan(self.price).sum())

    def until(self, stop: int) -> Frame:
        """The first ``stop`` bars: what was known when bar ``stop - 1`` closed."""
        return self.between(0, stop)

    def between(self, start: int, stop: int) -> Frame:
        """The bars ``[start, stop)``, with what was known of those before them in volatility and covariates."""
        part = slice(start, stop)
        covariates = {name: values[part] for name, values in self.covariates.items()}
        return Frame(self.series, self.times[part], self.price[part], self.returns[part], self.sigma[part], covariates)

    def digest(self) -> str:
        """SHA-256 of times, prices and covariates."""
        hasher = hashlib.sha256(self.series.key.encode())
        hasher.update(self.times.tobytes())
        hasher.update(self.price.tobytes())
        for name in sorted(self.covariates):
            hasher.update(name.encode())
            hasher.update(self.covariates[name].tobytes())
        return hasher.hexdigest()


def count_bars(store: Reader) -> dict[Series, int]:
    """Series that have bars in the :data:`LOOKBACK` up to the newest, with how many five-minute bars."""
    until = known_until(store)
    if until is None:
        return {}
    rows = store.query(
        "SELECT symbol, exchange, market_type, count(DISTINCT time_bucket(INTERVAL 5 MINUTE, open_time)) AS bars "
        f"FROM {BARS} WHERE open_time >= ? AND open_time < ? GROUP BY ALL ORDER BY ALL",
        [until - LOOKBACK, until],
    ).to_pylist()
    return {Series(row["symbol"], row["exchange"], row["market_type"]): row["bars"] for row in rows}


def known_until(store: Reader) -> datetime | None:
    """The last five-minute edge up to which the bars of some series are stored; a stored bar is a complete one."""
    if not store.query(_STORED_SQL).num_rows:
        return None
    newest = store.query(f"SELECT max(bar_ts) AS newest FROM {BARS}").column("newest")[0].as_py()
    return floor_step(newest) if newest else None


def read_frame(store: Reader, series: Series, until: datetime, lookback: timedelta = LOOKBACK) -> Frame:
    """The frame of ``series`` over the ``lookback`` that ends at the edge ``until`` (naive UTC).

    Raises :class:`FrameError` when there are no bars.
    """
    identity = [series.symbol, series.exchange, series.market_type]
    bars = store.query(_BARS_SQL, [*identity, until - lookback, until])
    if bars.num_rows == 0:
        raise FrameError(f"no bars in the {lookback.days} days before {until:%Y-%m-%d %H:%M}")
    return build_frame(series, bars, until, _read_features(store, identity, until, lookback))


def _read_features(store: Reader, identity: list[str], until: datetime, lookback: timedelta) -> list[pa.Table]:
    """The feature columns that exist, at five-minute edges only."""
    stored = store.query(
        "SELECT schema_name || '.' || table_name AS name, column_name FROM duckdb_columns() "
        "WHERE schema_name = 'features'"
    ).to_pylist()
    tables = []
    for name, wanted in FEATURES.items():
        present = {row["column_name"] for row in stored if row["name"] == name}
        columns = [column for column in wanted if column in present]
        if columns:
            selected = ", ".join(f'CAST("{column}" AS DOUBLE) AS "{column}"' for column in columns)
            sql = (
                f"SELECT bar_ts, {selected} FROM {name} WHERE symbol = ? AND exchange = ? AND market_type = ? "
                "AND bar_ts > ? AND bar_ts <= ? AND bar_ts = time_bucket(INTERVAL 5 MINUTE, bar_ts)"
            )
            tables.append(store.query(sql, [*identity, until - lookback, until]))
    return tables


def build_frame(series: Series, bars: pa.Table, until: datetime, features: list[pa.Table] | None = None) -> Frame:
    """A frame of five-minute ``bars``: ``bar_ts``, ``close`` and where known quiet, high, low, volume,
    taker_buy_volume, quote_volume. ``features`` are tables of ``bar_ts`` and numbers, joined at equal times.

    The grid runs from the first bar to ``until``, so bars missing at the end show. Raises :class:`FrameError` when
    no bar has a price, a price is not one, or a bar comes twice, out of order or between two edges.
    """
    _check(bars)
    first = np.datetime64(bars.column("bar_ts")[0].as_py(), "us")
    step = np.timedelta64(STEP, "us")
    times = np.arange(first, np.datetime64(until, "us") + step, step)
    values = on_grid(bars, times)
    if "close" not in values:
        raise FrameError("nothing was traded in any of the bars")
    price = _through_quiet(values["close"], values.pop("quiet", np.zeros(len(times))) == 1)
    returns = np.diff(np.log(price), prepend=np.nan)
    sigma = np.maximum(ewma_volatility(returns, HALF_LIFE), SIGMA_FLOOR)
    covariates = _bar_covariates(values, price, returns, sigma, times)
    for table in features or []:
        covariates |= on_grid(table, times)
    return Frame(series, times, price, returns, sigma, covariates)


def _check(bars: pa.Table) -> None:
    if bars.num_rows == 0:
        raise FrameError("there are no bars")
    stamps = bars.column("bar_ts").to_numpy().astype("datetime64[us]")
    apart = np.diff(stamps)
    if (wrong := np.flatnonzero(apart <= np.timedelta64(0, "us"))).size:
        raise FrameError(f"bars must be in order of time, each once; {stamps[wrong[0] + 1]} is not")
    if (wrong := np.flatnonzero(apart % np.timedelta64(STEP, "us"))).size:
        raise FrameError(f"bars must close five minutes or a multiple of it apart; {stamps[wrong[0] + 1]} does not")
    close = bars.column("close").cast(pa.float64()).to_numpy()
    if (wrong := np.flatnonzero((close <= 0) | np.isinf(close))).size:
        raise FrameError(f"a price is a number above zero; the bar of {stamps[wrong[0]]} closes at {close[wrong[0]]}")


def ewma_volatility(returns: np.ndarray, half_life: float) -> np.ndarray:
    """Square root of the exponentially weighted mean of squared returns up to and including each bar.

    NaN until :data:`WARM_UP` returns are known; a missing return leaves it as it was.
    """
    decay = 0.5 ** (1.0 / half_life)
    out = np.full(len(returns), np.nan)
    weighted = weight = 0.0
    seen = 0
    for index, value in enumerate(returns):
        if not np.isnan(value):
            weighted = decay * weighted + value * value
            weight = decay * weight + 1.0
            seen += 1
        if seen >= WARM_UP:
            out[index] = np.sqrt(weighted / weight)
    return out


def _through_quiet(close: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    """``close`` with the price before in bars where it is known that nothing traded."""
    price = close.copy()
    for index in np.flatnonzero(quiet):
        if index:
            price[index] = price[index - 1]
    return price


def on_grid(table: pa.Table, times: np.ndarray) -> dict[str, np.ndarray]:
    """Each numeric column at its place in the grid, NaN elsewhere; columns that are empty throughout are left out."""
    stamps = table.column("bar_ts").to_numpy().astype("datetime64[us]")
    places = np.searchsorted(times, stamps)
    inside = (places < len(times)) & (times[np.minimum(places, len(times) - 1)] == stamps)
    columns = {}
    for name in table.column_names:
        if name == "bar_ts":
            continue
        values = np.full(len(times), np.nan)
        values[places[inside]] = table.column(name).cast(pa.float64()).to_numpy()[inside]
        if not np.isnan(values).all():
            columns[name] = values
    return columns


def _bar_covariates(
    bars: Mapping[str, np.ndarray], price: np.ndarray, returns: np.ndarray, sigma: np.ndarray, times: np.ndarray
) -> dict[str, np.ndarray]:
    """Scale-free figures of the bars themselves."""
    covariates: dict[str, np.ndarray] = {"log_sigma": np.log(sigma)}
    with np.errstate(divide="ignore", invalid="ignore"):
        if {"high", "low"} <= bars.keys():
            covariates["range"] = np.log(bars["high"] / bars["low"]) / sigma
        if {"taker_buy_volume", "volume"} <= bars.keys():
            covariates["flow_share"] = _finite(2 * bars["taker_buy_volume"] / bars["volume"] - 1)
        if {"quote_volume", "volume"} <= bars.keys():
            covariates["vwap_gap"] = _finite(np.log(price * bars["volume"] / bars["quote_volume"]) / sigma)
        if "volume" in bars:
            volume = np.log1p(bars["volume"])
            covariates["volume_surprise"] = volume - _ewma_mean(volume, HALF_LIFE)
            hour = _finite(np.log(rolling_sum(bars["volume"], HORIZON)))
            covariates |= {HOUR_VOLUME: hour, "hour_volume_surprise": hour - _ewma_mean(hour, _HALF_LIVES[-1])}
        for bars_back in (HORIZON, 6 * HORIZON):
            moved = rolling_sum(returns, bars_back)
            covariates[f"momentum_{bars_back}"] = moved / (sigma * np.sqrt(bars_back))
        for half_life in _HALF_LIVES:
            covariates[f"volatility_{half_life}"] = np.log(
                np.maximum(ewma_volatility(returns, half_life), SIGMA_FLOOR) / sigma
            )
    day = (times - times.astype("datetime64[D]")) / np.timedelta64(1, "D") * 2 * np.pi
    return covariates | {"day_sin": np.sin(day), "day_cos": np.cos(day)}


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _ewma_mean(values: np.ndarray, half_life: float) -> np.ndarray:
    decay = 0.5 ** (1.0 / half_life)
    out = np.full(len(values), np.nan)
    weighted = weight = 0.0
    for index, value in enumerate(values):
        if not np.isnan(value):
            weighted = decay * weighted + value
            weight = decay * weight + 1.0
        if weight:
            out[index] = weighted / weight
    return out


def rolling_sum(values: np.ndarray, width: int) -> np.ndarray:
    """Sum of the last ``width`` values; NaN where one of them is missing or there are fewer."""
    out = np.full(len(values), np.nan)
    if len(values) >= width:
        out[width - 1 :] = np.lib.stride_tricks.sliding_window_view(values, width).sum(axis=1)
    return out
