"""Leakage: what an index gives away about a query, by the same subject, the same picture or an altered copy of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ragvlm.duplicates import NEAR_BITS, full_hash
from ragvlm.errors import ImageError
from ragvlm.evaluation.copies import Copy, Square, find_copies, square
from ragvlm.images import open_image, perceptual_hash, pixel_hash
from ragvlm.types import Query

if TYPE_CHECKING:
    from ragvlm.index import Index

SUBJECT, EXACT, NEAR = "subject", "exact", "near"
KEPT = "LEAKAGE: {leaking} of {queries} queries share a subject or a picture with the index, and were kept"


@dataclass(frozen=True, slots=True)
class Leak:
    """The query ``id`` shares with the record ``reference_id`` its "subject", or its picture: "exact" by equal pixels,
    "near" as an altered copy. ``how`` says of a near one what was altered, for a reader.
    """

    id: str
    reference_id: str
    kind: str
    how: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON types; ``how`` only where something was altered."""
        found = {"id": self.id, "reference_id": self.reference_id, "kind": self.kind}
        return found | ({"how": self.how} if self.how else {})


@dataclass(frozen=True, slots=True)
class Leakage:
    """All leaks of ``queries`` queries, in their order. ``unread`` are references whose picture can't be read any more:
    of those only equal pixels and the perceptual hash were compared."""

    leaks: tuple[Leak, ...]
    queries: int
    unread: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The queries that leak, each once."""
        return tuple(dict.fromkeys(leak.id for leak in self.leaks))

    @property
    def references(self) -> Mapping[str, frozenset[str]]:
        """Of each query that leaks the references to leave out of its retrieval."""
        found: dict[str, set[str]] = {}
        for leak in self.leaks:
            found.setdefault(leak.id, set()).add(leak.reference_id)
        return {name: frozenset(ids) for name, ids in found.items()}

    @property
    def mark(self) -> str:
        """The loud mark of a result for which leaks were kept; empty where there are none."""
        return KEPT.format(leaking=len(self.ids), queries=self.queries) if self.leaks else ""

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "queries": self.queries,
            "leaking": len(self.ids),
            "unread": list(self.unread),
            "leaks": [leak.to_dict() for leak in self.leaks],
        }


def find_leaks(
    queries: Iterable[Query],
    index: Index,
    *,
    eligible: Callable[[str, int], bool] = lambda name, row: True,
    progress: Callable[[int, int], None] | None = None,
) -> Leakage:
    """What ``index`` gives away about ``queries``, whose ids must be unique.

    ``eligible(id, row)`` is false for rows that are hidden from the query of that id anyway: these are no leaks. The
    pictures of the index are read where they lay when it was built. ``progress`` is called with the pictures done and
    all, first those of the index. Raises InputError where subjects are hashed by a key that isn't at hand.
    """
    rows = [row for row, digest in enumerate(index.content_hashes) if digest]
    squares = _squares(index, rows, progress)
    asked = list(_asked(queries, index))
    shown = [number for number, query in enumerate(asked) if query.square is not None]
    total = len(rows) + len(shown)
    by_row = [row for row in rows if row in squares]
    copies = find_copies(
        [picture for query in asked if (picture := query.square) is not None],
        [squares[row] for row in by_row],
        eligible=lambda a, b: eligible(asked[shown[a]].id, by_row[b]),
        progress=None if progress is None else lambda done, _: progress(len(rows) + done, total),
    )
    near: dict[int, dict[int, str]] = {}
    for copy in copies:
        near.setdefault(shown[copy.a], {})[by_row[copy.b]] = _how(copy)
    unread = [row for row in rows if row not in squares]
    look = _Look(index, unread)
    leaks = [
        Leak(query.id, index.records[row].id, kind, how)
        for number, query in enumerate(asked)
        for row, (kind, how) in sorted(look.at(query, near.get(number, {})).items())
        if eligible(query.id, row)
    ]
    return Leakage(tuple(leaks), len(asked), tuple(index.records[row].id for row in unread))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is kept of a query: small, so that thousands can be held."""

    id: str
    subject: str | None
    digest: str | None = None
    square: Square | None = None
    hashes: tuple[int, ...] = ()


def _asked(queries: Iterable[Query], index: Index) -> Iterable[_Asked]:
    for query in queries:
        subject = None if query.subject_id is None else index.pseudonym(query.subject_id)
        if query.image is None:
            yield _Asked(query.id, subject)
        else:
            yield _Asked(query.id, subject, pixel_hash(query.image), square(query.image), _hashes(query.image))


def _hashes(image: Image.Image) -> tuple[int, ...]:
    """The perceptual hashes of a picture turned and mirrored: 8 of 64 bits."""
    luma = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX))  # a hash looks at no more
    forms = (np.rot90(one, turns) for one in (luma, luma[:, ::-1]) for turns in range(4))
    return tuple(perceptual_hash(Image.fromarray(np.ascontiguousarray(form))) for form in forms)


def _squares(index: Index, rows: Sequence[int], progress: Callable[[int, int], None] | None) -> dict[int, Square]:
    """The pictures of ``rows`` by row, without those that can't be read."""
    found: dict[int, Square] = {}
    for done, row in enumerate(rows, 1):
        with suppress(ImageError):
            found[row] = square(open_image(index.image_path(index.records[row]) or ""))
        if progress:
            progress(done, len(rows))
    return found


class _Look:
    """What leaks to a query, by row: subjects, equal pixels, and copies of pictures that can't be read any more."""

    def __init__(self, index: Index, unread: Sequence[int]) -> None:
        self.unread = np.array(unread, np.int64)
        self.hashes = index.rows.phash[self.unread]
        self.by_digest: dict[str, list[int]] = {}
        self.by_subject: dict[str, list[int]] = {}
        for row in range(len(index.content_hashes)):
            if digest := full_hash(index, row):
                self.by_digest.setdefault(digest, []).append(row)
        for row, record in enumerate(index.records):
            if record.subject_id is not None:
                self.by_subject.setdefault(record.subject_id, []).append(row)

    def at(self, query: _Asked, near: Mapping[int, str]) -> dict[int, tuple[str, str]]:
        """Kind and how by row: what is stronger evidence stands for what is weaker."""
        found = dict.fromkeys(self._by_hash(query), (NEAR, "perceptual hash"))
        found |= {row: (NEAR, how) for row, how in near.items()}
        found |= dict.fromkeys(self.by_digest.get(query.digest or "", ()), (EXACT, ""))
        return found | dict.fromkeys(self.by_subject.get(query.subject or "", ()), (SUBJECT, ""))

    def _by_hash(self, query: _Asked) -> list[int]:
        if not query.hashes or not len(self.unread):
            return []
        own = np.array(query.hashes, np.uint64)
        bits = np.bitwise_count(self.hashes[:, None] ^ own).min(axis=1)
        rows: list[int] = self.unread[bits <= NEAR_BITS].tolist()
        return rows


def _how(copy: Copy) -> str:
    """For a reader: "the query covers 90 % x 80 % of the reference, turned 90; similarity 0.98"."""
    top, bottom, left, right = copy.window
    width, height = round(100 * (right - left)), round(100 * (bottom - top))
    smaller, larger = ("reference", "query") if copy.contained == "b" else ("query", "reference")
    part = "" if copy.whole else "the middle of "
    covers = f"{part}the {smaller} covers {width} % x {height} % of the {larger}, {copy.form}"
    return f"{covers}; similarity {copy.similarity:.2f}"
