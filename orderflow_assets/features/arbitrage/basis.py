"""``features.basis_arbitrage``: the differential of premiums of each symbol, what it may close by, and at what cost."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import MINUTE, SERIES_NAMES, closed_window, hours
from orderflow_assets.features.arbitrage.costs import COSTS
from orderflow_assets.features.arbitrage.declarations import (
    BASIS_ARBITRAGE,
    BASIS_HOLDING_H,
    LEAST_EPISODES,
    MEMORY_DAYS,
)
from orderflow_assets.features.arbitrage.episodes import convergence
from orderflow_assets.features.arbitrage.spreads import PREMIUM_SPREADS_1M
from orderflow_assets.features.grid import Grid, epoch_us
from orderflow_assets.features.mark_prices import reversion
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window

_DAY, _HOUR, _YEAR_H = 1440, 60, 8760
_MEMORY = MEMORY_DAYS * _DAY
_LOOKBACK = timedelta(days=MEMORY_DAYS, minutes=1)
_TABLE = BASIS_ARBITRAGE.table

_ROWS_SQL = f"""
WITH costs AS ({COSTS})
SELECT p.symbol, p.exchange, p.market_type, p.open_time, p.bar_ts, p.venues AS n_obs, p.basis_spread,
       p.high_exchange AS long_basis_exchange, p.low_exchange AS short_basis_exchange,
       h.fees_bps + l.fees_bps AS fees_bps, h.spread_bps + l.spread_bps AS spreads_bps
FROM bars.premium_spreads_1m p
LEFT JOIN costs h ON h.symbol = p.symbol AND h.bar_ts = p.bar_ts AND h.exchange = p.high_exchange
LEFT JOIN costs l ON l.symbol = p.symbol AND l.bar_ts = p.bar_ts AND l.exchange = p.low_exchange
WHERE p.open_time >= $start::TIMESTAMP AND p.open_time < $end::TIMESTAMP
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(PREMIUM_SPREADS_1M, BARS_1M, _TABLE)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    rows = store.query(_ROWS_SQL, {"start": start, "end": end}, timeout_s=600)
    if not rows.num_rows:
        return store.write(_TABLE, _TABLE.arrow_schema.empty_table(), Window(start, end))
    outputs = round((end - start) / MINUTE)
    spreads = Grid.read(store, PREMIUM_SPREADS_1M, ("basis_spread",), start + MINUTE - _LOOKBACK, end, MINUTE)
    spread = spreads["basis_spread"]
    days, which = reversion.quarters(spread, _DAY, start.minute, outputs)
    kappa = _HOUR * reversion.fit(days).kappa[:, which]
    found = [convergence(row, _MEMORY, BASIS_HOLDING_H * _HOUR, outputs, LEAST_EPISODES) for row in spread]
    share, episodes = np.array(found).swapaxes(0, 1)

    place = {identity: index for index, identity in enumerate(spreads.series)}
    row = [place[identity] for identity in zip(*(rows[name].to_pylist() for name in SERIES_NAMES), strict=True)]
    bar = (rows["open_time"].cast(pa.int64()).to_numpy() - epoch_us(start)) // 60_000_000
    costs = rows["fees_bps"].to_numpy() + rows["spreads_bps"].to_numpy()
    speed = kappa[row, bar]
    profit = 1e4 * rows["basis_spread"].to_numpy() * -np.expm1(-speed * BASIS_HOLDING_H) - costs
    values = {
        "expected_profit_bps": profit,
        "expected_profit_per_year": profit / 1e4 * _YEAR_H / BASIS_HOLDING_H,
        "spread_reversion_speed": speed,
        "convergence_probability": share[row, bar],
        "convergence_episodes": episodes[row, bar],
    }
    for name, value in values.items():
        rows = rows.append_column(name, pa.array(value, mask=np.isnan(value)))
    rows = rows.append_column("arbitrage_opportunity", pa.array(profit > 0, mask=np.isnan(profit)))
    return store.write(_TABLE, rows, Window(start, end))


LAYER = Layer(
    _TABLE,
    _compute,
    (PREMIUM_SPREADS_1M.qualified, BARS_1M.qualified),
    _LOOKBACK,
    "features",
    ("duckdb", "python"),
    backs={BARS_1M.qualified: timedelta(0)},
    lineage=BASIS_ARBITRAGE.lineage | {"n_obs": columns_of(PREMIUM_SPREADS_1M.qualified, "venues")},
)
