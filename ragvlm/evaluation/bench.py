"""What all systems of a run share: the cases, the corpus, the index, and what is retrieved for whom."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.abstain import NEIGHBOURS
from ragvlm.errors import InputError
from ragvlm.evaluation.cases import Case
from ragvlm.evaluation.split import subject_of
from ragvlm.evaluation.suite import CONTROLS, Suite
from ragvlm.retrieve import Retrieved, retrieve
from ragvlm.searching import SearchOptions
from ragvlm.types import Context, Hit, Query, Record

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.corpus import Corpus
    from ragvlm.evaluation.journal import Row
    from ragvlm.index import Index

OWN, BLANK, SHUFFLED, RANDOM, OTHER, NOTHING = "own", *CONTROLS, "nothing"
"""What a system is given: its picture and what was retrieved for it, one of the controls, or its picture alone."""
PICTURES = {OWN: OWN, BLANK: BLANK, SHUFFLED: SHUFFLED, RANDOM: OWN, OTHER: SHUFFLED}
"""The picture that is asked with to find the references of each."""
GREY, BLANK_SIDE = (127, 127, 127), 256


class Bench:
    """The queries of a run against one index.

    ``own`` is that of ``ragvlm.evaluation.split.Parts``: "hide" leaves references of a query's own subject, and its
    own record, out of everything that systems are given. ``search`` are the options of a description's retrieval.
    """

    def __init__(
        self,
        suite: Suite,
        corpus: Corpus,
        cases: Sequence[Case],
        index: Index,
        *,
        own: str = "hide",
        search: SearchOptions | None = None,
        seed: int = 0,
    ) -> None:
        self.suite, self.corpus, self.cases, self.index = suite, corpus, tuple(cases), index
        self.own, self.seed = own, seed
        self.search = search or SearchOptions(mode="image", with_text=True)
        self.records = tuple({case.record.id: case.record for case in cases}.values())
        self.neighbours: dict[tuple[str, str], Retrieved] = {}

    def only(self, cases: Sequence[Case]) -> Bench:
        """The same with some of its cases."""
        return Bench(self.suite, self.corpus, cases, self.index, own=self.own, search=self.search, seed=self.seed)

    @property
    def k(self) -> int:
        """How many references are retrieved: the most that the suite asks for."""
        return max(self.suite.k)

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Record id -> row of the index."""
        return {record.id: row for row, record in enumerate(self.index.records)}

    @cached_property
    def partner(self) -> Mapping[str, Record]:
        """For each record asked about another one, of another subject where there is one. Raises InputError for one."""
        order = sorted(self.records, key=lambda record: draw_of(self.seed, record.id))
        if len(order) < 2:
            raise InputError(
                f"{self.suite.file}: controls need two pictures that are asked about; here is {len(order)}"
            )
        found = {}
        for place, record in enumerate(order):
            others = [*order[place + 1 :], *order[:place]]
            found[record.id] = next((o for o in others if subject_of(o) != subject_of(record)), others[0])
        return found

    def options(self, record: Record, *others: Record) -> SearchOptions:
        """The search options for a query about ``record``; nothing of the subjects of ``others`` is found either."""
        if self.own != "hide":
            return replace(self.search, exclude_subject=False)
        hidden = {name for one in (record, *others) for name in (one.id, *self.of_subject(one))}
        return replace(self.search, exclude_subject=True, exclude_ids=self.search.exclude_ids | hidden)

    def eligible(self, record: Record) -> Callable[[int], bool]:
        """Whether a row of the index may be given to a system that is asked about ``record``."""
        hidden = self.options(record).exclude_ids
        return lambda row: self.index.records[row].id not in hidden

    def random_rows(self, record: Record, salt: str) -> Iterator[int]:
        """All rows that may be given for ``record``, in an order drawn by the seed."""
        rng = np.random.default_rng(draw_of(self.seed, f"{salt} {record.id}"))
        return filter(self.eligible(record), map(int, rng.permutation(len(self.index))))

    def retrieve(self, record: Record, picture: str) -> Row:
        """What is retrieved for ``record`` with its own or a control's picture, as a row of neighbours.jsonl."""
        if picture == SHUFFLED:
            other = self.partner[record.id]
            image, options = self.image(other), self.options(record, other)
        else:
            image = self.image(record) if picture == OWN else blank()
            options = self.options(record)
        query = Query(id=record.id, image=image, subject_id=record.subject_id)
        found = retrieve(self.index, [query], self.k, options, nearest=NEIGHBOURS)[0]
        hits = [[hit.record.id, round(hit.score, 6), hit.duplicate] for hit in found.context.hits]
        return {
            "id": record.id, "picture": picture, "hits": hits, "nearest": [round(score, 6) for score in found.nearest]
        }  # fmt: skip

    def know(self, rows: Sequence[Row]) -> None:
        """Take rows of neighbours.jsonl. Raises InputError for a neighbour that the index doesn't hold."""
        for row in rows:
            hits = []
            for rank, (name, score, duplicate) in enumerate(row["hits"], 1):
                if name not in self.rows:
                    raise InputError(f"index {self.index.path} doesn't hold {name!r}: choose another --out")
                hits.append(Hit(self.located(self.rows[name]), score, rank, duplicate))
            context = Context(Query(id=row["id"]), tuple(hits))
            self.neighbours[row["id"], row["picture"]] = Retrieved(context, tuple(row["nearest"]))

    def located(self, row: int) -> Record:
        """The record with its picture's whole path."""
        record: Record = self.index.records[row]
        path = self.index.image_path(record)
        return replace(record, image=str(path)) if path else record

    def asked(self, case: Case, given: str, k: int, *, look: bool = True) -> Asked:
        """``case`` with what a system is ``given``; without the picture where it doesn't ``look``."""
        record = case.record
        known = Retrieved(Context(Query(id=case.id)))
        if k:
            known = self.neighbours[record.id, PICTURES[given]]
        hits = known.context.hits[:k]
        if k and given == RANDOM:
            hits = self._random(record, k)
        shown = {BLANK: BLANK, SHUFFLED: SHUFFLED}.get(given, OWN)
        query = Query(
            id=case.id,
            image=self._picture(record, shown) if look else None,
            text=case.words,
            subject_id=record.subject_id,
        )
        return Asked(case, Retrieved(Context(query, hits), known.nearest), given)

    def image(self, record: Record) -> Image:
        """The picture of ``record``. Raises ImageError where it can't be decoded."""
        from ragvlm.images import open_image

        return open_image(self.corpus.image_path(record))

    def _picture(self, record: Record, shown: str) -> Image:
        if shown == BLANK:
            return blank()
        return self.image(self.partner[record.id] if shown == SHUFFLED else record)

    def _random(self, record: Record, k: int) -> tuple[Hit, ...]:
        rows = self.random_rows(record, RANDOM)
        told = (row for row in rows if self.index.records[row].caption or self.index.records[row].labels)
        chosen = [row for row, _ in zip(told, range(k), strict=False)]
        return tuple(Hit(self.located(row), 0.0, rank) for rank, row in enumerate(chosen, 1))

    def of_subject(self, record: Record) -> frozenset[str]:
        """Ids of the index's records of the same subject; none where ``record`` names no subject."""
        if record.subject_id is None:
            return frozenset()
        return self._subjects.get(self.index.pseudonym(record.subject_id), frozenset())

    @cached_property
    def _subjects(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for record in self.index.records:
            if record.subject_id is not None:
                found.setdefault(record.subject_id, set()).add(record.id)
        return {subject: frozenset(ids) for subject, ids in found.items()}


@dataclass(frozen=True, slots=True)
class Asked:
    """A case with the query and the references that a system is given; ``given`` is which those are."""

    case: Case
    found: Retrieved
    given: str = OWN


@dataclass(frozen=True, slots=True)
class System:
    """What answers the cases of a run.

    ``predict`` gives one object a case: "prediction" and what measures or the report may want besides, as JSON types.
    ``role`` is "system", "baseline" or "control"; ``of`` names the system that a baseline or a control belongs to.
    ``given`` is what it is given (OWN, a control or NOTHING), ``k`` how many references, ``looks`` whether it sees the
    picture. ``judges``: its answers say how near the query is to the corpus. ``note`` says what a reader must know.
    """

    name: str
    predict: Callable[[Sequence[Asked]], list[dict[str, Any]]] = field(repr=False)
    role: str = "system"
    of: str | None = None
    given: str = OWN
    k: int = 0
    looks: bool = True
    judges: bool = False
    note: str = ""


def draw_of(seed: int, name: str) -> int:
    """A number that ``seed`` and ``name`` decide, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")


def blank() -> Image:
    """A picture that shows nothing: even grey."""
    from PIL import Image

    return Image.new("RGB", (BLANK_SIDE, BLANK_SIDE), GREY)
