"""What waits together is done together, nothing is lost, and no more waits than may."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from ragvlm.service.batching import Batcher, QueueFullError


async def test_alike_items_share_a_batch_and_keep_their_order() -> None:
    seen: list[list[int]] = []

    def double(items: Sequence[int]) -> list[int]:
        seen.append(list(items))
        return [2 * item for item in items]

    batcher = Batcher(size=4, wait=0.05)
    batcher.start()
    found = await asyncio.gather(*(batcher.do("a", double, n) for n in range(10)))
    assert found == [2 * n for n in range(10)]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    await batcher.stop()


async def test_items_of_another_kind_are_not_mixed() -> None:
    batcher = Batcher(size=8, wait=0.05)
    batcher.start()
    found = await asyncio.gather(
        *(batcher.do(kind, lambda items, kind=kind: [(kind, len(items))] * len(items), 0) for kind in "abab")
    )
    assert found == [("a", 2), ("b", 2), ("a", 2), ("b", 2)]
    await batcher.stop()


async def test_an_error_is_told_to_whom_it_concerns_and_work_goes_on() -> None:
    def fail(items: Sequence[int]) -> list[int]:
        raise ValueError("broken")

    batcher = Batcher(wait=0)
    batcher.start()
    with pytest.raises(ValueError, match="broken"):
        await batcher.do("a", fail, 1)
    found = await asyncio.gather(
        *(batcher.do("b", lambda items: [ValueError("odd") if n % 2 else n for n in items], n) for n in range(2)),
        return_exceptions=True,
    )
    assert found[0] == 0
    assert isinstance(found[1], ValueError)
    await batcher.stop()


async def test_a_full_queue_says_so_and_who_leaves_makes_room() -> None:
    go = threading.Event()
    done: list[int] = []

    def slow(items: Sequence[int]) -> list[int]:
        go.wait(10)
        done.extend(items)
        return list(items)

    batcher = Batcher(size=1, wait=0, depth=2)
    batcher.start()
    first = asyncio.ensure_future(batcher.do("a", slow, 0))
    await asyncio.sleep(0.05)  # it runs now
    waiting = [asyncio.ensure_future(batcher.do("a", slow, n)) for n in (1, 2)]
    await asyncio.sleep(0.05)
    assert batcher.waiting == 3
    with pytest.raises(QueueFullError, match="the queue is full: try again in") as full:
        await batcher.do("a", slow, 3)
    assert full.value.retry_after >= 1
    waiting[0].cancel()
    await asyncio.sleep(0.05)
    last = asyncio.ensure_future(batcher.do("a", slow, 4))
    await asyncio.sleep(0.05)
    go.set()
    assert await asyncio.gather(first, waiting[1], last) == [0, 2, 4]
    assert done == [0, 2, 4]  # the one that left was not worked for
    await batcher.stop()


async def test_what_was_accepted_is_finished() -> None:
    batcher = Batcher(size=1, wait=0)
    batcher.start()
    waiting = [asyncio.ensure_future(batcher.do("a", list, n)) for n in range(5)]
    await asyncio.sleep(0)
    await batcher.stop()
    assert [await one for one in waiting] == list(range(5))
