"""Who may ask, and how often."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from ragvlm.errors import InputError


def read_tokens(file: Path | None) -> tuple[str, ...]:
    """The tokens in ``file``, one a line; a line that begins with # is a remark. Raises InputError."""
    if file is None:
        return ()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: can't be read: {getattr(error, 'strerror', None) or 'is not UTF-8'}") from error
    tokens = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    for row, token in enumerate(tokens, start=1):
        if len(token) < 16 or not token.isascii():
            raise InputError(f"{file}: token {row} must have at least 16 ASCII characters")
    if not tokens:
        raise InputError(f"{file}: holds no token: write one a line")
    return tokens


def check_host(host: str, tokens: tuple[str, ...]) -> None:
    """Raises InputError where ``host`` can be reached from other machines and no token is asked for."""
    try:
        own = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = False
    if not own and not tokens:
        raise InputError(f"host {host} can be reached from other machines: give --token-file, or listen on 127.0.0.1")


class Gate:
    """Tokens, and for each so many requests a minute (a bucket that fills evenly; 0: no bound)."""

    def __init__(
        self, tokens: tuple[str, ...] = (), per_minute: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tokens, self.per_minute, self.clock = tokens, per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def known(self, authorization: str | None) -> str | None:
        """The token of a header "Bearer TOKEN", "" where none is asked for, None where it is none of ours."""
        if not self.tokens:
            return ""
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        # all are compared, each in the same time, so that nothing can be learnt from how long it takes
        found = [token for token in self.tokens if secrets.compare_digest(token.encode(), given.strip().encode())]
        return found[0] if found else None

    def wait(self, token: str) -> float:
        """0 where ``token`` may ask now (which is counted), else in how many seconds it may."""
        if not self.per_minute:
            return 0.0
        now = self.clock()
        left, since = self._buckets.get(token, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - since) * self.per_minute / 60)
        self._buckets[token] = (left - 1 if left >= 1 else left, now)
        return 0.0 if left >= 1 else (1 - left) * 60 / self.per_minute
