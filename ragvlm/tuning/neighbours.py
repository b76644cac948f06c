"""References for training: those that a picture would get were it new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from ragvlm.corpus import Corpus
from ragvlm.evaluation.split import subject_of
from ragvlm.images import open_image
from ragvlm.index import Index
from ragvlm.retrieve import retrieve
from ragvlm.searching import SearchOptions
from ragvlm.tuning.split import Split
from ragvlm.types import Query, Record


def find_neighbours(
    index: Index, corpus: Corpus, split: Split, k: int, progress: Callable[..., None] | None = None
) -> dict[str, list[Record]]:
    """Id -> the ``k`` nearest references by picture of each record of ``split``, best first.

    Left out are the record itself, all of its subject, what shows the same picture, and every record of the validation
    and test part: their words must not be read in training, nor by each other.
    """
    records = [*split.train, *split.validation, *split.test]
    hidden = {record.id for record in (*split.validation, *split.test)}
    own = _by_subject(corpus)
    found = {}
    for done, record in enumerate(records, 1):
        options = SearchOptions.of(
            mode="image",
            with_text=True,
            duplicates="exclude",
            exclude_ids=frozenset(hidden | own[subject_of(record)]),
        )
        query = Query(record.id, open_image(corpus.image_path(record)), subject_id=record.subject_id)
        found[record.id] = [hit.record for hit in retrieve(index, [query], k, options)[0].context.hits]
        if progress:
            progress(done, len(records))
    return found


def _by_subject(records: Iterable[Record]) -> dict[str, set[str]]:
    own: dict[str, set[str]] = defaultdict(set)
    for record in records:
        own[subject_of(record)].add(record.id)
    return own
