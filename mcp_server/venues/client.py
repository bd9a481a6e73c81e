"""Asking a venue: one client per venue and section, within its rate limit, the same question once a second."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

from mcp_server.errors import ToolError
from mcp_server.venues import instruments
from mcp_server.venues.instruments import Instrument
from mcp_server.venues.venue import VENUES, Kind, Section, Venue
from orderflow_streaming.markets import suggestion

CACHED_S = 1.0
"""How long an answer serves the same question."""
MOST_CACHED = 500
LONGEST_S = 10.0
"""How long a venue may take to answer."""
MOST_SAID = 120
"""How much of an address or of a venue's words is passed on."""
LISTED_S = 3_600.0
"""How long the list of a venue's instruments serves."""


class NotOfferedError(Exception):
    """The venue has no such data; the message says which do, where that is known."""


class NotSimulatedError(NotOfferedError):
    """The venue may have such data, but the simulator that answers for it in a demo has not."""


class Venues:
    """The clients, made when first asked. With ``simulator_url`` the simulator's markets answer and no others."""

    def __init__(self, simulator_url: str | None = None) -> None:
        self._simulator_url = simulator_url
        self._clients: dict[tuple[str, Kind], Client] = {}
        self._lock = Lock()

    def client(self, venue: Venue, kind: Kind) -> Client:
        """Raises :class:`NotOfferedError` for a section that the venue or the simulator does not have."""
        section = venue.sections.get(kind)
        if section is None:
            others = [name for name, other in VENUES.items() if kind in other.sections]
            raise NotOfferedError(f"{venue.name} has no {kind} here; these have: {', '.join(others)}")
        if self._simulator_url and section.simulated is None:
            raise NotSimulatedError(f"no {kind} of {venue.name}")
        with self._lock:
            if (venue.name, kind) not in self._clients:
                self._clients[venue.name, kind] = Client(venue, kind, section, self._simulator_url)
            return self._clients[venue.name, kind]


class Client:
    """One section of a venue. Calls wait for each other, as the library's clients serve one at a time."""

    def __init__(self, venue: Venue, kind: Kind, section: Section, simulator_url: str | None) -> None:
        self.venue, self.kind, self.section = venue, kind, section
        self._exchange = _made(section, simulator_url)
        self._lock = Lock()
        self._cache: dict[tuple[str, str], tuple[float, Any]] = {}

    @property
    def name(self) -> str:
        return f"{self.venue.name} {self.kind}"

    def offers(self, method: str) -> bool:
        """Whether the library can ask this venue for what ``method`` (such as ``fetchTicker``) brings."""
        return bool(self._exchange.has.get(method))

    @property
    def intervals(self) -> list[str]:
        """Of the candles that the venue has."""
        return list(self._exchange.timeframes)

    def ask(self, method: str, *arguments: Any, left_s: float, cached_s: float = CACHED_S) -> Any:
        """The answer to ``method`` of the library (``fetchTicker``, or an endpoint such as ``publicGetTime``).

        Raises :class:`NotOfferedError` where there are no such data and :class:`ToolError` where the venue refuses or
        cannot be reached.
        """
        if method.startswith("fetch") and not self.offers(method):
            raise NotOfferedError(f"{self.name} offers no {_words(method)} over its public interface")
        key = (method, repr(arguments))
        with self._locked(left_s):
            now = time.monotonic()
            if (known := self._cache.get(key)) and now - known[0] < cached_s:
                return known[1]
            self._exchange.timeout = int(1_000 * min(LONGEST_S, left_s))
            answer = self._asked(method, *arguments)
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            self._cache[key] = (now, answer)
            return answer

    def ask_all(self, method: str, *, left_s: float) -> dict[str, Any]:
        """The answer to ``method`` (such as ``fetchTickers``) about all instruments of this section, by symbol."""
        return self.ask(method, None, dict(self.section.all), left_s=left_s)

    def instruments(self, left_s: float) -> list[Instrument]:
        """All instruments of this section."""
        found = self.ask("loadMarkets", True, left_s=left_s, cached_s=LISTED_S)
        return [item for item in found.values() if item["type"] in self.section.types]

    def instrument(self, text: str, left_s: float) -> Instrument:
        """The instrument that ``text`` names; raises :class:`ToolError` with the nearest one."""
        listed = self.instruments(left_s)
        found = instruments.find(listed, text, self.section.quotes)
        if found is not None:
            return found
        hint = suggestion(text.upper(), [str(item["id"]) for item in listed]).strip()
        nearest = hint.split("'")[1] if hint else None
        raise ToolError(
            "unknown_name",
            f"{self.name} lists no {text[:40]!r}.",
            f"{hint} venue_instruments lists all {len(listed)}.".strip(),
            nearest=nearest,
        )

    def _locked(self, left_s: float) -> _Held:
        return _Held(self._lock, left_s, self.name)

    def _asked(self, method: str, *arguments: Any) -> Any:
        import ccxt

        try:
            return getattr(self._exchange, method)(*arguments)
        except ccxt.NotSupported as error:
            raise NotOfferedError(f"{self.name}: {_said(error)}") from None
        except ccxt.AuthenticationError:
            raise NotOfferedError(f"{self.name} tells {_words(method)} only to accounts of its own") from None
        except (ccxt.RateLimitExceeded, ccxt.DDoSProtection):
            raise ToolError(
                "busy", f"{self.name} asks for fewer questions.", "Wait a minute.", retryable=True
            ) from None
        except ccxt.RequestTimeout:
            raise ToolError("timeout", f"{self.name} did not answer in time.", "Try again.", retryable=True) from None
        except ccxt.NetworkError:
            raise ToolError(
                "venue_unreachable",
                f"{self.name} cannot be reached.",
                "Check the network, or ask the stored data: price_latest, trades_recent, bars_get.",
                retryable=True,
            ) from None
        except ccxt.BaseError as error:
            raise ToolError("venue", f"{self.name} refused: {_said(error)}.", "Change the question.") from None


class _Held:
    """A lock that is waited for no longer than a call has left."""

    def __init__(self, lock: Lock, left_s: float, name: str) -> None:
        self._lock, self._left_s, self._name = lock, left_s, name

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._left_s):
            raise ToolError("busy", f"{self._name} is being asked already.", "Try again.", retryable=True)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _made(section: Section, simulator_url: str | None) -> Any:
    try:
        import ccxt

        from mcp_server.venues.corrected import CLIENTS
    except ImportError:
        raise ToolError(
            "not_installed",
            "Asking venues needs ccxt, which is not installed.",
            "Install it with: pip install 'orderflow[venues]'. What is stored can be asked without.",
        ) from None
    made = CLIENTS.get(section.client) or getattr(ccxt, section.client)
    exchange = made({"enableRateLimit": simulator_url is None, "options": dict(section.options)})
    exchange.has = {**exchange.has, "fetchCurrencies": "on request"}  # not, as else, with each list of instruments
    if simulator_url:
        root = f"{simulator_url.rstrip('/')}/{section.simulated}"
        exchange.urls["api"] = _moved(exchange.urls["api"], root)
        exchange.on_rest_response = _simulated
    return exchange


def _moved(urls: Any, root: str) -> Any:
    """The same paths below ``root``."""
    if isinstance(urls, Mapping):
        return {name: _moved(url, root) for name, url in urls.items()}
    return re.sub(r"https://[^/]+", root, urls) if isinstance(urls, str) else urls


def _simulated(status: int, reason: str, url: str, method: str, headers: Any, body: str, *_: Any) -> str:
    """The body of a simulator's answer, which is looked at before the library does."""
    if status == 404:
        raise NotSimulatedError(f"nothing at {re.sub(r'https?://[^/]+/[^/]+', '', url)[:MOST_SAID]}")
    return body


def _words(method: str) -> str:
    """``fetchOpenInterestHistory`` as ``open interest history``."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", method.removeprefix("fetch"))).lower()


def _said(error: Exception) -> str:
    """The venue's own words, without addresses."""
    return re.sub(r"https?://\S+", "…", str(error)).splitlines()[0][:200].rstrip(". ")
