"""Prompts go through a model in batches; where the memory runs out, the batches shrink."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from ragvlm.encoders.torch_tools import memory_errors
from ragvlm.errors import RagvlmError
from ragvlm.types import Prompt

T = TypeVar("T")
log = logging.getLogger(__name__)


class Batched(Protocol):
    """A generator with a ``batch_size``, the name that its errors say and its torch device."""

    name: str
    device: Any
    batch_size: int


def in_batches(owner: Batched, prompts: Sequence[Prompt], write: Callable[[list[Prompt]], list[T]]) -> list[T]:
    """What ``write`` says to each of ``prompts``, at most ``owner.batch_size`` at a time.

    ``owner.batch_size`` is halved, with a note in the log, when memory runs out. Raises RagvlmError where not even one
    prompt fits the memory.
    """
    texts: list[T] = []
    while len(texts) < len(prompts):
        batch = list(prompts[len(texts) : len(texts) + owner.batch_size])
        try:
            with memory_errors(owner.name, owner.device):
                texts += write(batch)
        except RagvlmError as error:
            if len(batch) == 1 or not isinstance(error.__cause__, MemoryError | RuntimeError):
                raise
            owner.batch_size = len(batch) // 2
            log.warning("%s; going on with batch_size %d", str(error).partition(":")[0], owner.batch_size)
    return texts
