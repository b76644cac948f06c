"""Requests that arrive together go through the model together; no more wait than a queue holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ragvlm.errors import RagvlmError

Work = Callable[[Sequence[Any]], Sequence[Any]]


class QueueFullError(RagvlmError):
    """As many wait as may; ``retry_after`` is in how many seconds there may be room."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full: try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(eq=False)
class _Job:
    key: Hashable
    work: Work
    item: Any
    done: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Batcher:
    """One thread for all models; items with equal ``key`` that wait at the same time are given to ``work`` together.

    size: the most that go together. wait: seconds that the first of a batch waits for others. depth: how many may wait.
    """

    def __init__(self, size: int = 16, wait: float = 0.01, depth: int = 64) -> None:
        self.size, self.wait, self.depth = size, wait, depth
        self.seconds = 1.0  # that an item took lately
        self._jobs: list[_Job] = []
        self._running = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "ragvlm-models")
        self._loop: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many were accepted and aren't done."""
        return len(self._jobs) + self._running

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        self._loop = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Finish what was accepted, then end."""
        while self.waiting:
            await asyncio.sleep(0.01)
        if self._loop is not None:
            self._loop.cancel()
        self._thread.shutdown()

    async def do(self, key: Hashable, work: Work, item: Any) -> Any:
        """What ``work`` makes of ``item``; an exception in its place is raised.

        Raises QueueFullError. Who is cancelled while waiting is not worked for.
        """
        if len(self._jobs) >= self.depth:
            raise QueueFullError(max(1, round(len(self._jobs) * self.seconds)))
        job = _Job(key, work, item)
        self._jobs.append(job)
        self._arrived.set()
        try:
            return await job.done
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._jobs and len(self._alike()) < self.size:
                await asyncio.sleep(self.wait)
            batch = self._alike()
            self._jobs = [job for job in self._jobs if job not in batch]
            if not self._jobs:
                self._arrived.clear()
            if not batch:
                continue
            self._running, began = len(batch), loop.time()
            try:
                found = await loop.run_in_executor(self._thread, batch[0].work, [job.item for job in batch])
            except Exception as error:  # whoever waits is told; the service goes on
                found = [error] * len(batch)
            self._running = 0
            self.seconds += 0.2 * ((loop.time() - began) / len(batch) - self.seconds)
            for job, one in zip(batch, found, strict=True):
                _tell(job.done, one)

    def _alike(self) -> list[_Job]:
        """The one that waits longest, and those like it."""
        return [job for job in self._jobs if job.key == self._jobs[0].key][: self.size]


def _tell(done: asyncio.Future[Any], found: Any) -> None:
    if done.done():  # its client is gone
        return
    if isinstance(found, Exception):
        done.set_exception(found)
    else:
        done.set_result(found)
