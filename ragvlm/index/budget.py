"""Memory that several threads share: who asks in turn gets it, and waits until it is there."""

from __future__ import annotations

import threading


class Budget:
    """``limit`` bytes, given in the order of turns 0, 1, 2, ...; a request beyond the limit is met when all is free.

    The order matters: who takes results in the order of turns would else wait for ever for one that can't get what
    later ones hold. Every turn must end in ``keep``.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._next = 0
        self._held: dict[int, int] = {}
        self._passed: set[int] = set()
        self._closed = False
        self._change = threading.Condition()

    def take(self, turn: int, size: int) -> None:
        """Take ``size`` bytes; waits until all earlier turns have theirs and it fits. A second request adds nothing."""
        with self._change:
            if turn in self._held:
                return
            self._change.wait_for(lambda: self._closed or (self._next == turn and self._fits(size)))
            self._held[turn] = size
            self.used += size
            self._pass(turn)

    def keep(self, turn: int, size: int) -> None:
        """Of what ``turn`` took ``size`` bytes stay in use; the rest is free."""
        with self._change:
            self.used += size - self._held.pop(turn, 0)
            self._pass(turn)

    def give(self, size: int) -> None:
        """Free ``size`` bytes that were kept."""
        with self._change:
            self.used -= size
            self._change.notify_all()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def _fits(self, size: int) -> bool:
        return self.used == 0 or self.used + size <= self.limit

    def _pass(self, turn: int) -> None:
        if turn >= self._next:
            self._passed.add(turn)
        while self._next in self._passed:
            self._passed.remove(self._next)
            self._next += 1
        self._change.notify_all()
