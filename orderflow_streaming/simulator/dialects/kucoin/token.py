"""The tokens with which KuCoin lets a socket in: signed with the time of issue, so that nothing need be remembered."""

from __future__ import annotations

import hashlib
import hmac

VALID_US = 24 * 3_600_000_000
_KEY = b"of the simulated KuCoin"


def issue(venue: str, now_us: int) -> str:
    """A token for a socket of ``venue``."""
    return f"{now_us:x}.{_signature(venue, now_us)}"


def refusal(venue: str, token: str, now_us: int) -> str:
    """Why ``token`` opens no socket now; empty where it does."""
    issued, _, signature = token.partition(".")
    try:
        issued_us = int(issued, 16)
    except ValueError:
        return "token is invalid"
    if not hmac.compare_digest(signature.encode(), _signature(venue, issued_us).encode()):
        return "token is invalid"
    return "" if 0 <= now_us - issued_us <= VALID_US else "token is expired"


def _signature(venue: str, issued_us: int) -> str:
    return hmac.new(_KEY, f"{venue}{issued_us}".encode(), hashlib.sha256).hexdigest()
