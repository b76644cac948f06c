"""The cases that the report shows: the best, the worst and the most changed, with pictures, neighbours and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.errors import RagvlmError
from ragvlm.evaluation.page.figures import confidence
from ragvlm.evaluation.page.reading import Run, answers
from ragvlm.evaluation.page.tables import number
from ragvlm.images import open_image, thumbnail_data_uri
from ragvlm.index import Index
from ragvlm.language.labels import label_sentences
from ragvlm.types import Record

CASES = 3
"""Cases of each sort."""
NEIGHBOURS = 5
_QUERY_SIDE, _NEIGHBOUR_SIDE = 360, 140
_MOST_LABELS, _MOST_LETTERS = 3, 300


class Pictures:
    """Thumbnails and words of records, each picture decoded once; None and "" where they aren't at hand."""

    def __init__(self, corpus: Corpus | None, index: Index | None) -> None:
        self._index = index
        records = corpus.records if corpus else ()
        self._queries = {r.id: corpus.image_path(r) for r in records if corpus and r.image is not None}
        self._captions = {r.id: r.caption or "" for r in records}
        self._records: dict[str, Record] = {r.id: r for r in index.records} if index else {}
        self._known: dict[tuple[Path, int], str | None] = {}

    def query(self, record_id: str) -> str | None:
        """The picture of a record that was asked about."""
        return self._shown(self._queries.get(record_id), _QUERY_SIDE)

    def caption(self, record_id: str) -> str:
        """The caption of a record that was asked about."""
        return self._captions.get(record_id, "")

    def neighbour(self, record_id: str) -> str | None:
        """The picture of a record of the index."""
        record = self._records.get(record_id)
        return self._shown(self._index.image_path(record) if self._index and record else None, _NEIGHBOUR_SIDE)

    def words(self, record_id: str) -> str:
        """The caption of a record of the index, else its labels."""
        record = self._records.get(record_id)
        return (
            shorten(record.caption or " ".join(label_sentences(record)), _MOST_LETTERS, placeholder=" …")
            if record
            else ""
        )

    def _shown(self, path: Path | None, side: int) -> str | None:
        if path is None:
            return None
        if (path, side) not in self._known:
            try:
                self._known[path, side] = thumbnail_data_uri(open_image(path), side)
            except RagvlmError:
                self._known[path, side] = None
        return self._known[path, side]


@dataclass(frozen=True, slots=True)
class Section:
    """Cases of one sort; ``again`` are those that stand in an earlier section, by number and id."""

    title: str
    note: str
    cases: Sequence[Mapping[str, Any]]
    again: Sequence[tuple[int, str]] = ()


def sections(run: Run, pictures: Pictures) -> list[Section]:
    """The best, the worst and the most changed cases of the lead system; none where no measure scores single items."""
    if run.ranking is None or not run.references:
        return []
    shown: dict[str, int] = {}
    found = []
    against = opponent(run)
    for title, note, ids in _sorts(run, against):
        again = [(shown[id_], id_) for id_ in ids if id_ in shown]
        new = [id_ for id_ in ids if id_ not in shown]
        for id_ in new:
            shown[id_] = len(shown) + 1
        if ids:
            found.append(Section(title, note, [_view(run, id_, shown[id_], against, pictures) for id_ in new], again))
    return found


def opponent(run: Run) -> str | None:
    """What the lead system's cases are compared with: itself without retrieval, else another system or baseline."""
    about = run.metrics["about"]
    own = [name for name in run.systems("baseline") if about[name]["of"] == run.lead]
    others = [name for name in run.systems("system", "baseline") if name != run.lead and about[name]["of"] is None]
    return next((s for s in (*own, *others) if answers(run, s)), None)


def _sorts(run: Run, against: str | None) -> list[tuple[str, str, list[str]]]:
    name, lead = str(run.ranking), run.lead
    up = 1 if run.metrics["systems"][lead][name]["higher_is_better"] else -1
    scores = {id_: up * value for id_ in run.references if (value := _score(run, lead, id_, name)) is not None}
    sure = {id_: confidence(row) or 0.0 for id_, row in run.predictions.get(lead, {}).items()}
    best = sorted(scores, key=lambda id_: (-scores[id_], -sure.get(id_, 0.0)))[: min(CASES, len(scores) // 2)]
    # of cases that are equally wrong the one is worst of which the system is surest
    rest = [id_ for id_ in scores if id_ not in best]
    worst = sorted(rest, key=lambda id_: (scores[id_], -sure.get(id_, 0.0)))[:CASES]
    found = [
        ("Best", f"By {name} of {lead}.", best),
        ("Worst", f"By {name} of {lead}; of equal ones those that it is surest of.", worst),
    ]
    if against is not None:
        gaps = {id_: abs(scores[id_] - up * v) for id_ in scores if (v := _score(run, against, id_, name)) is not None}
        changed = sorted((id_ for id_ in gaps if gaps[id_] > 0), key=lambda id_: -gaps[id_])
        found.append(("Most changed", f"By how far {name} of {lead} is from that of {against}.", changed[:CASES]))
    return found


def _score(run: Run, system: str, id_: str, name: str) -> float | None:
    return run.scores.get(system, {}).get(id_, {}).get(name)


def _view(run: Run, id_: str, shown: int, against: str | None, pictures: Pictures) -> dict[str, Any]:
    """What the template shows of one case."""
    row = run.references[id_]
    neighbours = _neighbours(run, row, pictures)
    ranks = {n["id"]: n["rank"] for n in neighbours}
    said = [
        _answer(run, system, id_, ranks)
        for system in run.systems("system", "baseline")
        if id_ in run.predictions.get(system, {}) and answers(run, system)
    ]
    first = [answer for answer in said if answer["system"] in (run.lead, against)]
    cited = {rank for answer in first for part in answer["parts"] for rank in part["ranks"]}
    return {
        "number": shown,
        "id": id_,
        "group": row.get("group"),
        "picture": pictures.query(row["record_id"]) if not _by_words(row) else None,
        "question": row.get("question") or (pictures.caption(row["record_id"]) if _by_words(row) else None),
        "right": _right(run, row),
        "answers": first,
        "others": [answer for answer in said if answer not in first],
        "neighbours": [n | {"cited": n["rank"] in cited} for n in neighbours],
    }


def _by_words(row: Mapping[str, Any]) -> bool:
    return row.get("group") == "text->image"


def _right(run: Run, row: Mapping[str, Any]) -> list[str]:
    right = run.right(row)
    if isinstance(right, Mapping):
        relevant = sum(gain > 0 for gain in right.values())
        return [f"{relevant} relevant of the indexed records"]
    return [str(text) for text in right] if isinstance(right, list | tuple) else [str(right)]


def _answer(run: Run, system: str, id_: str, ranks: Mapping[str, int]) -> dict[str, Any]:
    said = run.predictions[system][id_]
    score = _score(run, system, id_, str(run.ranking))
    return {
        "system": system,
        "role": run.metrics["about"][system]["role"],
        "abstained": bool(said.get("abstained")),
        "score": f"{run.ranking} {number(score)}",
        "parts": _parts(run, said, ranks),
    }


def _parts(run: Run, said: Mapping[str, Any], ranks: Mapping[str, int]) -> list[dict[str, Any]]:
    """The answer as sentences with the ranks of the references that each cites."""
    write: Callable[[Any], str] = {"classify": _labels, "retrieve": _found(run, said)}.get(run.task, str)
    if not said.get("evidence"):
        return [{"text": write(said["prediction"]) or "(nothing)", "ranks": []}]
    return [
        {"text": e["sentence"], "ranks": sorted(ranks[i] for i in e["record_ids"] if i in ranks)}
        for e in said["evidence"]
    ]


def _labels(prediction: Any) -> str:
    if not isinstance(prediction, Mapping):
        return str(prediction)
    best = sorted(prediction.items(), key=lambda pair: -pair[1])[:_MOST_LABELS]
    return ", ".join(f"{label} {probability:.2f}" for label, probability in best)


def _found(run: Run, said: Mapping[str, Any]) -> Callable[[Any], str]:
    gains = run.qrels.get(str(said["id"]), {})

    def write(prediction: Sequence[Sequence[Any]]) -> str:
        right = [str(rank) for rank, (id_, _) in enumerate(prediction, 1) if gains.get(str(id_), 0) > 0]
        return f"relevant at rank {', '.join(right)} of {len(prediction)}" if right else "nothing relevant found"

    return write


def _neighbours(run: Run, row: Mapping[str, Any], pictures: Pictures) -> list[dict[str, Any]]:
    """What was retrieved for the case; for a ranking what the lead system ranked highest."""
    hits: Sequence[Sequence[Any]] = run.neighbours.get(row["record_id"], [])
    gains = None
    if run.task == "retrieve":
        gains = run.qrels.get(row["id"], {})
        hits = run.predictions.get(run.lead, {}).get(row["id"], {"prediction": []})["prediction"]
    return [
        {
            "rank": rank,
            "id": id_,
            "score": number(score),
            "picture": pictures.neighbour(id_),
            "words": pictures.words(id_),
            "relevant": None if gains is None else gains.get(id_, 0) > 0,
        }
        for rank, (id_, score) in enumerate(hits[:NEIGHBOURS], 1)
    ]
