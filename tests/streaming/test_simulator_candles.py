"""Longer candles of the simulated venues are what the minutes make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orderflow_streaming.simulator.candles import MINUTES, merged
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Candle


@st.composite
def minutes(draw: st.DrawFn) -> list[Candle]:
    """Consecutive minutes, each opening where it likes, some without a trade."""
    first, close, made, last_id = draw(st.integers(0, 3_000)), 1_000, [], 0
    for number in range(draw(st.integers(1, 200))):
        start_us = (first + number) * MINUTE_US
        count = draw(st.integers(0, 2))
        if not count:
            made.append(Candle(start_us, close, close, close, close))
            continue
        low, high = draw(st.integers(900, 1_000)), draw(st.integers(1_000, 1_100))
        start, close, lots = draw(st.integers(low, high)), draw(st.integers(low, high)), draw(st.integers(1, 9))
        ids = (last_id + 1, last_id + count)
        made.append(Candle(start_us, start, high, low, close, lots, lots * close, 0, 0, count, *ids, lots))
        last_id += count
    return made


@given(minutes(), st.sampled_from(list(MINUTES.values())))
def test_longer_candles_keep_what_the_minutes_hold(parts: list[Candle], width: int) -> None:
    made = merged(parts, width)
    assert sum(one.lots for one in made) == sum(one.lots for one in parts)
    assert sum(one.count for one in made) == sum(one.count for one in parts)
    assert [one.start_us % (width * MINUTE_US) for one in made] == [0] * len(made)
    assert len({one.start_us for one in made}) == len(made)
    assert made[-1].close == parts[-1].close
    for one in made:
        inside = [part for part in parts if 0 <= part.start_us - one.start_us < width * MINUTE_US and part.count]
        assert one.high == max([part.high for part in inside], default=one.close)
        assert one.open == (inside[0].open if inside else one.close)
