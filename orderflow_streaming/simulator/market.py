"""The simulated markets, minute by minute: no I/O, and the same for the same seed, start and knobs.

:class:`Market` plays all symbols on all venues and hands out one :class:`Minute` each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orderflow_streaming.markets import SYMBOLS
from orderflow_streaming.simulator import book
from orderflow_streaming.simulator.candles import Rolling
from orderflow_streaming.simulator.flow import Arrivals
from orderflow_streaming.simulator.latent import MINUTE_US, SLOT_US, SLOTS, Latent, LatentMinute, autoregression
from orderflow_streaming.simulator.perpetual import Perpetual
from orderflow_streaming.simulator.records import Books, Minute, Touches, Trades
from orderflow_streaming.simulator.symbols import CHARACTERS, Character
from orderflow_streaming.simulator.venue import Listing, Venue

Floats = NDArray[np.float64]

ORDER_SPREAD, LEVEL_SPREAD = 1.7, 1.0
"""Standard deviations of log size of taker orders and of resting levels."""
LEVEL_OF_ORDER = 12.0
"""Median level over median taker order."""
PREMIUM_MEMORY = 0.998
"""Per minute; a half-life of 5.8 hours."""
NOISE_MEMORY = 0.98
"""Per slot of 100 ms; a half-life of 3.4 seconds."""

_FIRST_LISTED_US = 1_567_900_800_000_000
"""Ids count from 2019-09-08."""


class Market:
    """All symbols on all venues from ``start_us``, which is cut to the whole minute.

    ``activity`` scales the order rates of every venue; ``book_interval_ms`` (a multiple of 100) is the time
    between two snapshots of a book. A venue named in ``opens_us`` begins with the first whole minute from then on.
    """

    def __init__(
        self,
        seed: int,
        start_us: int,
        venues: Sequence[Venue],
        symbols: Sequence[str] = SYMBOLS,
        *,
        activity: float = 1.0,
        book_interval_ms: int = 100,
        opens_us: Mapping[str, int] | None = None,
    ) -> None:
        if book_interval_ms <= 0 or book_interval_ms * 1_000 % SLOT_US or MINUTE_US % (book_interval_ms * 1_000):
            raise ValueError(
                f"the book interval of {book_interval_ms} ms must be a multiple of 100 ms that divides a minute."
            )
        if activity <= 0:
            raise ValueError(f"the activity of {activity:g} must be above 0; 1 is normal.")
        self.next_us = start_us // MINUTE_US * MINUTE_US
        self._latent = Latent(seed, self.next_us)
        push_slots = book_interval_ms * 1_000 // SLOT_US
        self._closed = [
            _Opening((opens_us or {}).get(venue.name, self.next_us), venue, venue.listings[symbol], index)
            for index, venue in enumerate(venues)
            for symbol in symbols
            if symbol in venue.listings
        ]
        if not self._closed:
            raise ValueError("no symbol to simulate: the venues list none of those asked for.")
        self._desks: list[_Desk] = []
        self._open = partial(_Desk, seed=seed, activity=activity, push_slots=push_slots)

    def minute(self) -> list[Minute]:
        """The next minute of every listing of the venues that are open."""
        latent = self._latent.minute()
        start_us, self.next_us = self.next_us, self.next_us + MINUTE_US
        for opening in [one for one in self._closed if one.opens_us <= start_us]:
            self._closed.remove(opening)
            price = float(np.exp(latent[opening.listing.symbol].log_price[0]))
            self._desks.append(
                self._open(opening.venue, opening.listing, start_us, key=opening.rank * len(SYMBOLS), price=price)
            )
        return [desk.minute(start_us, latent[desk.listing.symbol]) for desk in self._desks]


class _Opening(NamedTuple):
    """A listing that begins at some time; ``rank`` is that of its venue."""

    opens_us: int
    venue: Venue
    listing: Listing
    rank: int


class _Desk:
    """One listing on one venue, which begins at ``start_us`` at about ``price``."""

    def __init__(
        self,
        venue: Venue,
        listing: Listing,
        start_us: int,
        *,
        seed: int,
        activity: float,
        push_slots: int,
        key: int,
        price: float,
    ) -> None:
        self.venue, self.listing = venue, listing
        self._key = (seed, 3_000 + key + SYMBOLS.index(listing.symbol))
        self._activity, self._push_slots = activity * venue.activity, push_slots
        self._character: Character = CHARACTERS[listing.symbol]
        self._arrivals = Arrivals()
        self._book: book.Book | None = None
        self._lagging: Floats = np.full(venue.lag_slots, np.log(price))
        begin = np.random.default_rng(self._key)
        self._premium = 1e-4 * (venue.premium_bps + venue.premium_sd_bps * float(begin.standard_normal()))
        self._noise = 0.0
        self._last_us = start_us
        age_seconds = (start_us - _FIRST_LISTED_US) // 1_000_000
        self._next_order_id = age_seconds * 20
        self._next_match_id = age_seconds * 50
        self._book_number = age_seconds * 10
        self._rolling = Rolling(round(price / listing.tick))
        self._perpetual = Perpetual(listing, self._character, start_us) if venue.perpetual else None

    def minute(self, start_us: int, latent: LatentMinute) -> Minute:
        random = np.random.default_rng([*self._key, start_us // MINUTE_US])
        fair = self._fair(random, latent)
        tape = self._tape(random, latent, fair)
        if self._book is None:
            self._book = book.Book(tape.fair[0], tape.typical_level, tape.spacing, random)
        played = self._book.play(tape, random)
        trades = self._trades(random, start_us, played.trades)
        day = self._rolling.day(start_us)
        candle = self._rolling.close(start_us, trades)
        seconds = None
        if self._perpetual is not None:
            index = np.exp(latent.log_price[9::10])
            seconds = self._perpetual.minute(random, start_us, index, played, trades)
        return Minute(
            self.venue,
            self.listing,
            start_us,
            trades,
            _touches(start_us, played.touches),
            self._books(start_us, tape.when_us, played),
            played.liquidations,
            candle,
            day,
            seconds,
        )

    def _fair(self, random: np.random.Generator, latent: LatentMinute) -> Floats:
        """Fair price on the venue per slot: latent price, late, with premium and noise."""
        path = np.concatenate([self._lagging, latent.log_price])
        self._lagging = path[SLOTS:]
        old, mean = self._premium, 1e-4 * self.venue.premium_bps
        shock = 1e-4 * self.venue.premium_sd_bps * (1 - PREMIUM_MEMORY**2) ** 0.5 * float(random.standard_normal())
        self._premium = mean + PREMIUM_MEMORY * (old - mean) + shock
        noise = autoregression(
            self._noise,
            NOISE_MEMORY,
            1e-4 * self.venue.noise_bps * (1 - NOISE_MEMORY**2) ** 0.5 * random.standard_normal(SLOTS),
        )
        self._noise = float(noise[-1])
        return np.exp(path[:SLOTS] + np.linspace(old, self._premium, SLOTS) + noise)

    def _tape(self, random: np.random.Generator, latent: LatentMinute, fair: Floats) -> book.Tape:
        character, listing = self._character, self.listing
        rate = self._activity * latent.activity
        takes, quotes = self._arrivals.minute(random, character.trade_rate * rate, character.quote_rate * rate)
        liquidations = np.arange(60) + random.random(60) if self.venue.perpetual else np.empty(0)
        seconds = np.concatenate([quotes, takes, liquidations])
        kind = np.repeat([book.QUOTE, book.TAKE, book.LIQUIDATE], [quotes.size, takes.size, liquidations.size])
        order = np.argsort(seconds, kind="stable")
        seconds, kind = seconds[order], kind[order]
        count = seconds.size

        ticks = fair / listing.tick
        median_order = character.order_usd / (listing.lot * listing.contract_size * fair[0])
        medians = np.array([LEVEL_OF_ORDER, 1.0, book.LIQUIDATION_SIZE]) * median_order
        spreads = np.array([LEVEL_SPREAD, ORDER_SPREAD, LEVEL_SPREAD])
        level = np.minimum(random.geometric(0.35, count) - 1, book.LEVELS)
        sizes = medians[kind] * np.exp(spreads[kind] * random.standard_normal(count)) * (1 + 0.1 * level)
        side, choice, place = random.random((3, count)).tolist()
        second_sigma = latent.sigma * float(ticks[0])
        reach = max(1.0, 0.7 * second_sigma)
        return book.Tape(
            when_us=_distinct(seconds),
            kind=kind.tolist(),
            side=side,
            choice=choice,
            place=place,
            level=level.tolist(),
            lots=np.maximum(1, np.rint(sizes)).astype(np.int64).tolist(),
            fair=ticks.tolist(),
            pressure=latent.pressure.tolist(),
            reach=reach,
            typical_order=median_order,
            typical_level=LEVEL_OF_ORDER * median_order,
            spacing=1.3 + reach / 30.0,
            minute_sigma=second_sigma * 60**0.5,
            push_slots=self._push_slots,
        )

    def _trades(self, random: np.random.Generator, start_us: int, played: list[book.Trade]) -> Trades:
        table = np.array(played, dtype=np.int64).reshape(-1, 4)
        matches = np.minimum(random.geometric(0.6, len(table)), table[:, 2])
        last = self._next_match_id + np.cumsum(matches) - 1
        order_id = self._next_order_id + np.arange(len(table))
        self._next_order_id += len(table)
        self._next_match_id += int(matches.sum())
        return Trades(
            start_us + table[:, 0], table[:, 1], table[:, 2], table[:, 3] == 1, order_id, last - matches + 1, last
        )

    def _books(self, start_us: int, when_us: list[int], played: book.Played) -> Books:
        push = np.array(played.push_us, dtype=np.int64)
        when = start_us + np.array(when_us, dtype=np.int64)
        upto = np.searchsorted(when, start_us + push)
        changes = np.concatenate([[self._last_us], when])
        before = np.concatenate([[0], upto[:-1]])
        first = np.where(upto > before, changes[np.minimum(before + 1, when.size)], 0)
        last = changes[upto]
        self._last_us = int(changes[-1])
        number = self._book_number + np.cumsum(np.diff(last, prepend=last[0]) > 0)
        self._book_number = int(number[-1])
        return Books(
            start_us + push,
            first,
            last,
            number,
            -np.array(played.bid_ticks, dtype=np.int64),
            np.array(played.bid_lots, dtype=np.int64),
            np.array(played.ask_ticks, dtype=np.int64),
            np.array(played.ask_lots, dtype=np.int64),
        )


def _touches(start_us: int, played: list[book.Touch]) -> Touches:
    table = np.array(played, dtype=np.int64).reshape(-1, 5)
    return Touches(start_us + table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4])


def _distinct(seconds: Floats) -> list[int]:
    """Strictly increasing microseconds within the minute."""
    count = seconds.size
    spread = (seconds / 60.0 * (MINUTE_US - count)).astype(np.int64) + np.arange(count)
    result: list[int] = spread.tolist()
    return result
