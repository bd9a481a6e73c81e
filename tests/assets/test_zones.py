"""Zones of resting orders against a plain count over the stored books."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orderflow_assets.analytics import zones
from orderflow_assets.analytics.zones import LAYER, LIQUIDITY_ZONES, TOP, standing_zones
from orderflow_streaming.store import Store, connect
from tests.assets.computing import differences, stored
from tests.assets.venues_tape import OPENING, Venue, compute, load

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
END = OPENING + 40 * MINUTE


def market() -> list[Venue]:
    """Two venues with books every few seconds that drift; one order of a hundred stays at 59,900, and is taken away
    after half an hour; one venue is down for the last ten minutes and shows a crossed book at the first minute."""
    rng = np.random.default_rng(2)
    venues = [Venue("binance"), Venue("okx")]
    for number, venue in enumerate(venues):
        for second in range(0, 40 * 60 if number == 0 else 30 * 60, 4):
            time = OPENING + timedelta(seconds=second + 0.5 + number)
            mid = 60_000 + round(40 * math.sin(second / 400))
            bids = [(float(mid - 5 - 10 * k), round(rng.random() + 0.5, 3)) for k in range(9)]
            asks = [(float(mid + 5 + 10 * k), round(rng.random() + 0.5, 3)) for k in range(10)]
            if second < 1800 and number == 0:
                bids.append((59_800.0, 100.0))
            venue.books.append((time, bids, asks) if second != 56 or number == 0 else (time, asks, bids))
    return venues


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with connect(tmp_path_factory.mktemp("zones"), scope="write") as store:
        load(store, market())
        compute(store, [LAYER], OPENING, OPENING + HOUR, HOUR)
        yield store


def pictures(venues: list[Venue], side: str, until: datetime) -> list[dict[int, float]]:
    """Value by zone at each ten seconds of the ten minutes up to ``until``, by plain looking."""
    seen = []
    for number in range(zones.SNAPSHOTS):
        edge = until - timedelta(seconds=zones.STEP_S * (zones.SNAPSHOTS - 1 - number))
        resting: dict[int, float] = defaultdict(float)
        known = False
        for venue in venues:
            fresh = [
                (bids, asks)
                for time, bids, asks in venue.books
                if edge - timedelta(seconds=5) <= time <= edge and bids[0][0] < asks[0][0]
            ]
            if fresh:
                known = True
                for price, qty in fresh[-1][side == "ask"]:
                    resting[math.floor(math.log(price) / zones.WIDTH)] += price * qty
        if known:
            seen.append(resting)
    return seen


def expected(side: str, until: datetime) -> list[dict[str, Any]]:
    seen = pictures(market(), side, until)
    found = []
    for zone in {zone for picture in seen for zone in picture}:
        values = [picture[zone] for picture in seen if picture.get(zone)]
        presence = len(values) / len(seen)
        if presence < zones.LEAST_PRESENCE or not seen[-1].get(zone):
            continue
        mean = statistics.fmean(values)
        reliability = presence * max(0.0, 1 - statistics.pstdev(values) / mean)
        found.append(
            {"value": seen[-1][zone], "mean_value": mean, "presence": presence, "reliability": reliability}
            | {"snapshots": len(seen)}
        )
    return sorted(found, key=lambda row: -row["reliability"] * row["mean_value"])[:TOP]


@pytest.mark.parametrize("number", [5, 12, 29, 36, 40])
@pytest.mark.parametrize(("side", "kind"), [("bid", "support"), ("ask", "resistance")])
def test_zones_are_what_plain_counting_finds(computed: Store, number: int, side: str, kind: str) -> None:
    until = OPENING + number * MINUTE
    rows = computed.query(
        "SELECT * FROM analytics.liquidity_zones WHERE bar_ts = ? AND side = ? ORDER BY rank", [until, kind]
    ).to_pylist()
    wanted = expected(side, until)
    assert len(rows) == len(wanted) > 0
    for row, plain in zip(rows, wanted, strict=True):
        for name, value in plain.items():
            assert row[name] == pytest.approx(value), (row["rank"], name)


def test_an_order_that_stays_is_the_first_support_until_it_is_gone(computed: Store) -> None:
    first = {
        row["bar_ts"]: row
        for row in computed.query(
            "SELECT * FROM analytics.liquidity_zones WHERE side = 'support' AND rank = 1"
        ).to_pylist()
    }
    standing, gone = first[OPENING + 25 * MINUTE], first[OPENING + 31 * MINUTE]
    assert standing["price"] == pytest.approx(59_800, rel=1e-4)
    assert standing["presence"] == 1
    assert standing["reliability"] > 0.95
    assert gone["price"] != pytest.approx(59_800, abs=3)


def test_too_few_pictures_give_no_zone(computed: Store) -> None:
    rows = computed.query("SELECT min(bar_ts) AS first, max(bar_ts) AS last FROM analytics.liquidity_zones").to_pylist()
    assert rows == [{"first": OPENING + 5 * MINUTE, "last": END}]


def test_equal_values_are_as_reliable_as_they_are_present() -> None:
    values = np.zeros((2, zones.SNAPSHOTS))
    values[0] = 7.0
    values[1, ::2] = 9.0
    values[1, -1] = 9.0
    ((first, second),) = standing_zones(values, np.ones(zones.SNAPSHOTS, dtype=bool), 6)
    assert (first[0], first[1]["reliability"]) == (0, 1)
    assert second[1]["presence"] == second[1]["reliability"] == pytest.approx(31 / 60)


@pytest.mark.parametrize("minutes", [20, 60])
def test_the_window_does_not_matter(computed: Store, tmp_path: Path, minutes: int) -> None:
    with connect(tmp_path, scope="write") as store:
        load(store, market())
        compute(store, [LAYER], OPENING, OPENING + HOUR, minutes * MINUTE)
        assert not differences(stored(computed, LIQUIDITY_ZONES), stored(store, LIQUIDITY_ZONES), 1e-9)


def test_no_zone_knows_what_came_after_it(computed: Store, tmp_path: Path) -> None:
    moment = OPENING + 23 * MINUTE
    venues = market()
    for venue in venues:
        venue.books[:] = [record for record in venue.books if record[0] <= moment]
    with connect(tmp_path, scope="write") as store:
        load(store, venues)
        compute(store, [LAYER], OPENING, moment, HOUR)
        known = stored(computed, LIQUIDITY_ZONES, f"bar_ts <= TIMESTAMP '{moment}'")
        assert known
        assert not differences(known, stored(store, LIQUIDITY_ZONES), 1e-9)
