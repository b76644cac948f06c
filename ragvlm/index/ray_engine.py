"""Decoding and encoding by actors of Ray Data (Moritz et al. 2018, arXiv:1712.05889), here or on a cluster.

The driver cuts the records into blocks of one segment each. An actor holds the encoder and does with a block what this
process would do with it, by the same code; rows come back in order, and the driver alone commits them, segment by
segment. So a killed job goes on from its last segment, whoever did the work. Blocks travel as JSON with subjects hashed
already; the key that hashes them stays with the driver. An actor that dies is started again, and its block with it.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.errors import EncoderMismatchError, InputError, RagvlmError, StoreError, reason, require
from ragvlm.index.encode import RowEncoder
from ragvlm.index.engines import Job, Note, prepared
from ragvlm.index.prepare import Outcome, Preparer, Unchanged
from ragvlm.index.segments import Row, to_json
from ragvlm.types import Encoder, Record, Skipped

RESTARTS = 3  # of an actor, and of a block: a picture that ends every process must not go on for ever


class RayEngine:
    """address: of a cluster, as "ray://host:10001" or "auto"; without one Ray is started on this machine.

    workers: actors at most [one a CPU of the cluster]; gpus: GPUs that each of them holds, a fraction shares one. The
    corpus must lie at the same path on all machines.
    """

    name = "ray"

    def __init__(self, address: str | None = None, workers: int | None = None, gpus: float = 0) -> None:
        for option, value, least in (("workers", workers, 1), ("gpus", gpus, 0)):
            if value is not None and (not isinstance(value, int | float) or value < least):
                raise InputError(f"engine ray: {option} is {value!r}: give a number from {least} on")
        self.address, self.workers, self.gpus = address, workers, gpus
        self.pictures = 0
        require("ray", "ray")

    def rows(self, job: Job, note: Note) -> Generator[Row]:
        """See ``ragvlm.index.engines.Engine``. Raises StoreError where the cluster fails."""
        with _cluster(self.address) as ray, _telling():
            data = ray.data.from_items(list(_blocks(job)), override_num_blocks=_count(job))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
                done = data.map_batches(
                    Worker,
                    fn_constructor_args=(job.load, job.encoder.fingerprint, str(job.corpus.root), _limits(job)),
                    batch_size=1,
                    batch_format="numpy",
                    compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._most(ray)),
                    num_cpus=1,
                    num_gpus=self.gpus,
                    ray_remote_args_fn=_restarts,  # deprecated from 2.60 on, without another way to bound restarts
                )
            for block in done.iter_rows():
                if isinstance(block["outcomes"], RagvlmError):
                    raise block["outcomes"]
                for outcome in block["outcomes"]:
                    note(outcome)
                    if isinstance(outcome, Row):
                        self.pictures += outcome.image_embedding is not None
                        yield outcome

    def _most(self, ray: Any) -> int:
        return self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))


class Worker:
    """An actor: the encoder, loaded once, and what it does with a block."""

    def __init__(self, load: Callable[[], Encoder], fingerprint: str, root: str, limits: dict[str, Any]) -> None:
        self.load, self.fingerprint, self.root, self.limits = load, fingerprint, root, limits

    @cached_property
    def encoder(self) -> Encoder:
        """Loaded by the first block, not by ``__init__``, so that what fails can be told."""
        encoder = self.load()
        if encoder.fingerprint != self.fingerprint:
            raise EncoderMismatchError(
                f"encoder {encoder.name!r} has other weights on {platform.node()} than here: install the same there"
            )
        return encoder

    def __call__(self, blocks: dict[str, Any]) -> dict[str, Any]:
        """Rows in place of the records of each block; ``blocks["records"]`` are JSON."""
        found = np.empty(len(blocks["records"]), object)
        for i, (records, known) in enumerate(zip(blocks["records"], blocks["known"], strict=True)):
            made = [Record(**values) for values in json.loads(records)]
            try:
                found[i] = self._outcomes(made, json.loads(known))
            except RagvlmError as error:  # as a value: of one that is raised Ray keeps the text of its traceback
                found[i] = error
        return {"outcomes": found}

    def _outcomes(self, records: Sequence[Record], known: dict[str, str]) -> list[Outcome | Row]:
        from ragvlm.corpus import Corpus

        corpus = Corpus((), Path(self.root), "", "", "records")
        preparer = Preparer(corpus, known, encoder=self.encoder, max_pixels=self.limits["max_pixels"])
        coder = RowEncoder(self.encoder, self.limits["batch_size"], self.limits["segment_rows"])
        noted: list[Outcome | Row | None] = []

        def note(outcome: Outcome | Row) -> None:
            noted.append(outcome if isinstance(outcome, Skipped | Unchanged) else None)

        with closing(preparer.stream(records)) as outcomes, closing(coder.rows(prepared(outcomes, note))) as rows:
            made = list(rows)
        # one for each record, in order: in the place of those that were prepared the row
        left = iter(made)
        return [outcome or next(left) for outcome in noted]


def _restarts() -> dict[str, int]:
    return {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}


def _limits(job: Job) -> dict[str, Any]:
    return {name: getattr(job.options, name) for name in ("batch_size", "segment_rows", "max_pixels")}


def _count(job: Job) -> int:
    return -(-len(job.corpus.records) // job.options.segment_rows)


def _blocks(job: Job) -> Iterator[dict[str, bytes]]:
    stored = Preparer(job.corpus, {}, encoder=job.encoder, hash_subject=job.options.hash_subject).stored
    names = [field.name for field in fields(Record)]
    for start in range(0, len(job.corpus.records), job.options.segment_rows):
        records = [stored(record) for record in job.corpus.records[start : start + job.options.segment_rows]]
        known = {record.id: job.known[record.id] for record in records if record.id in job.known}
        told = [{name: getattr(record, name) for name in names} for record in records]
        # bytes, since the name of a file may be no UTF-8
        yield {
            name: to_json(value).encode(errors="surrogatepass") for name, value in (("records", told), ("known", known))
        }


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected; what was started here is stopped."""
    # sends nothing home: what is indexed here is nobody's business
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    running = ray.is_initialized()
    if not running:
        try:
            ray.init(
                address=address, include_dashboard=False if address is None else None, log_to_driver=False,
                logging_level=logging.ERROR,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise StoreError(f"engine ray: {address or 'Ray on this machine'}: {reason(error)}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True  # as the local engine's: an index doesn't depend on who made it
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is told in one line below
    try:
        yield ray
    finally:
        if not running:
            ray.shutdown()


@contextmanager
def _telling() -> Iterator[None]:
    """What fails in the cluster, in one line."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise StoreError(f"engine ray: {reason(error)}; the same command goes on where it stopped") from error
