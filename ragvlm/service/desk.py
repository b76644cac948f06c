"""What stands between a request and the models: decoding, the queue, the clock, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import Request, Response, UploadFile

from ragvlm.images import open_image
from ragvlm.service.batching import Batcher
from ragvlm.service.served import Served
from ragvlm.types import Query

CLIENT_LEFT = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """max_mb: of a request's body. max_pixels: of a picture. timeout: seconds for a request, upload and wait included.

    batch, batch_wait, queue: size, wait and depth of ``Batcher``. follow: seconds between looks for a newer index.
    """

    max_mb: float = 50.0
    max_pixels: int | None = None
    timeout: float = 120.0
    batch: int = 16
    batch_wait: float = 0.01
    queue: int = 64
    follow: float = 2.0


class Desk:
    """Takes questions to the models of ``served``."""

    def __init__(self, served: Served, limits: Limits) -> None:
        self.served, self.limits = served, limits
        self.batcher = Batcher(limits.batch, limits.batch_wait, limits.queue)

    async def picture(self, image: UploadFile, subject_id: str | None = None, text: str | None = None) -> Query:
        """The query that an upload is. Raises ImageError."""
        data = await image.read()
        opened = await asyncio.to_thread(open_image, data, max_pixels=self.limits.max_pixels)
        # named "upload": the file's own name may be a person's
        return Query(id="upload", image=opened, text=text or None, subject_id=subject_id or None)

    async def run(
        self, request: Request, task: Callable[[Any, Any, Sequence[Query]], Sequence[Any]], known: Any, query: Query
    ) -> Any:
        """What ``task`` makes of ``query``; ``known`` is what it is asked beside, JSON types.

        Raises QueueFullError and what the task raises.
        """
        assistant = self.served.assistant
        # a batch is of one version of the index and of one way to ask
        key = (task.__name__, id(assistant), json.dumps(known, sort_keys=True))
        doing = asyncio.ensure_future(self.batcher.do(key, partial(task, assistant, known), query))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return await doing if doing.done() else Response(status_code=CLIENT_LEFT)
        finally:
            doing.cancel()
            leaving.cancel()


async def _left(request: Request) -> None:
    """Returns when the client has gone away."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)
