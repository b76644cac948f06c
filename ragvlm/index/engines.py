"""Where records are decoded and encoded: in this process, or by Ray on the machines of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ragvlm.errors import InputError
from ragvlm.index.encode import RowEncoder
from ragvlm.index.prepare import Outcome, Prepared, Preparer, Unchanged
from ragvlm.index.scan import Scan
from ragvlm.index.segments import Row
from ragvlm.types import Encoder, Skipped

if TYPE_CHECKING:
    from ragvlm.corpus import Corpus
    from ragvlm.index.build import BuildOptions

ENGINES = ("local", "ray")
Note: TypeAlias = Callable[[Outcome | Row], None]


@dataclass(frozen=True, slots=True)
class Job:
    """The records to look at. ``known`` are row hashes by committed ids; ``load`` makes the encoder elsewhere."""

    corpus: Corpus
    known: Mapping[str, str]
    encoder: Encoder
    load: Callable[[], Encoder]
    options: BuildOptions
    scan: Scan


class Engine(Protocol):
    """Makes rows of records; ``pictures`` counts those that were encoded."""

    name: str
    pictures: int

    def rows(self, job: Job, note: Note) -> Generator[Row]:
        """The rows of what is new or changed, in the order of the records.

        ``note`` is called once for each record: with Unchanged or Skipped, or with what becomes its row. Raises what
        the encoder raises.
        """
        ...


class LocalEngine:
    """Threads decode ahead of the one that encodes."""

    name = "local"

    def __init__(self) -> None:
        self.pictures = 0

    def rows(self, job: Job, note: Note) -> Generator[Row]:
        """See Engine."""
        options = job.options
        preparer = Preparer(
            job.corpus,
            job.known,
            encoder=job.encoder,
            hash_subject=options.hash_subject,
            max_pixels=options.max_pixels,
            scan=job.scan,
        )
        coder = RowEncoder(job.encoder, options.batch_size, options.segment_rows)
        with (
            closing(preparer.stream(job.corpus.records)) as outcomes,
            closing(coder.rows(prepared(outcomes, note))) as rows,
        ):
            try:
                yield from rows
            finally:
                self.pictures = coder.pictures


def prepared(outcomes: Iterable[Outcome], note: Note) -> Iterator[Prepared]:
    for outcome in outcomes:
        note(outcome)
        if not isinstance(outcome, Skipped | Unchanged):
            yield outcome


def make_engine(name: str, options: Mapping[str, Any]) -> Engine:
    """The engine called ``name``. Raises InputError for another name or option, MissingExtraError without Ray."""
    if name == "local":
        if options:
            raise InputError(f"engine local has no option {next(iter(options))!r}: it takes none")
        return LocalEngine()
    if name != "ray":
        raise InputError(f"unknown engine {name!r}: choose one of {', '.join(ENGINES)}")
    from ragvlm.index.ray_engine import RayEngine

    known = ("address", "workers", "gpus")
    for option in options:
        if option not in known:
            raise InputError(f"engine ray has no option {option!r}: it takes {', '.join(known)}")
    return RayEngine(**options)
