"""The published fees: one per market, in bps, with where they stand."""

from __future__ import annotations

import pytest

from orderflow_assets.analytics.fees import FEES, maker_fee_bps, taker_fee_bps
from orderflow_streaming.markets import MARKETS, UnknownNameError


def test_every_market_and_no_other_has_fees_of_a_known_page() -> None:
    assert set(FEES) == set(MARKETS)
    for fee in FEES.values():
        assert 0 <= fee.maker_bps <= fee.taker_bps < 50
        assert fee.source.startswith("https://")
        assert fee.tier


def test_fees_are_in_bps() -> None:
    assert taker_fee_bps("bybit", "futures") == 5.5
    assert maker_fee_bps("binance", "spot") == 10


def test_an_unknown_market_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'bybit_spot'"):
        taker_fee_bps("bybt", "spot")
