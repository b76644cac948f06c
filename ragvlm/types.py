"""The nouns and the protocols. Frozen: inputs are never mutated, results answer questions by properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Float32: TypeAlias = NDArray[np.float32]
Int64: TypeAlias = NDArray[np.int64]
UInt64: TypeAlias = NDArray[np.uint64]
Label: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Record:
    """One reference of a corpus.

    ``image`` is a path (absolute, or relative to the corpus root). ``labels`` are named scalars such as
    ``{"stain": "DAPI", "nuclei": 42}``; ``extra`` keeps the columns that have no place of their own.
    ``subject_id`` names the patient, donor or specimen: nothing of the same subject may serve as evidence
    for a query of that subject when it is excluded.
    """

    id: str
    image: str | None = None
    caption: str | None = None
    subject_id: str | None = None
    study_id: str | None = None
    modality: str | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    source: str | None = None
    licence: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was left out, and why. ``item`` is a picture, a record's id, or a row as in ``metadata.csv, row 7``."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: a picture, words, or both. ``id`` is how results name it (a path, or the words).

    Of a volume ``slices`` are the pictures by name, in order, and ``image`` is the middle one.
    ``metadata`` is what else is known of it, by label or column; ``regions`` describe a mask (``ragvlm.modalities``).
    """

    id: str
    image: Image | None = None
    text: str | None = None
    subject_id: str | None = None
    slices: Mapping[str, Image] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    regions: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved record. ``score`` is a similarity (higher is closer); ``rank`` starts at 1.

    ``duplicate`` says that the reference shows the query's own picture: ``"exact"`` (equal pixels) or
    ``"near"`` (almost equal embedding and perceptual hash); ``None`` otherwise. ``query_slice`` names the slice of
    a volume as query that is nearest to the reference, ``slice`` is that of the reference, where it is a volume.
    """

    record: Record
    score: float
    rank: int
    duplicate: str | None = None
    query_slice: str | None = None
    slice: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """A query with the references that were retrieved for it, best first."""

    query: Query
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator is given. ``cited_ids[i]`` is the record behind the citation ``[i + 1]``.

    ``images`` holds the query's picture, if it has one. Where the template gives pictures their places, ``parts`` is
    the user text cut there: words, the numbers of references whose picture stands there, and 0 for the query's; else
    it is empty. ``dropped`` counts the references left out for length. ``blank`` says that there is nothing to
    write from: the template tells references, and none has words; a generator then answers with an empty text.
    """

    system: str
    user: str
    images: tuple[Image, ...]
    cited_ids: tuple[str, ...]
    context: Context
    parts: tuple[str | int, ...] = ()
    dropped: int = 0
    blank: bool = False


MEASURED = "measured in the picture"
"""What stands among an Evidence's ``record_ids`` where a number of the sentence was counted in the picture itself."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sentence of a description and the references that it rests on, strongest first.

    ``support`` in [0, 1] is the strongest reference's support; ``record_ids`` is empty where none supports it.
    """

    sentence: str
    record_ids: tuple[str, ...]
    support: float

    @property
    def supported(self) -> bool:
        """Whether at least one reference supports the sentence."""
        return bool(self.record_ids)


@dataclass(frozen=True, slots=True)
class Description:
    """A described picture, or the refusal to describe it.

    ``text`` is empty when ``abstained``; ``reason`` then says why. ``confidence`` in [0, 1] is the share of the
    retrieved references, weighted by similarity, that support a sentence, averaged over the sentences.
    ``timings`` are seconds of wall time by step.
    """

    query_id: str
    text: str
    evidence: tuple[Evidence, ...]
    context: Context
    abstained: bool
    confidence: float
    reason: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def cited_text(self) -> str:
        """The text with each sentence followed by the ranks of its references, as in ``... cells. [1][3]``.

        Square brackets inside a sentence become round ones: a caption's own "[12]" is no citation of this text.
        """
        rank = {hit.record.id: hit.rank for hit in self.context.hits}
        parts = []
        for item in self.evidence:
            marks = "".join(f"[{rank[i]}]" for i in item.record_ids if i in rank)
            marks = f"{marks}[measured]" if MEASURED in item.record_ids else marks or "[unsupported]"
            sentence = item.sentence.translate({ord("["): "(", ord("]"): ")"})
            parts.append(f"{sentence} {marks}")
        return " ".join(parts)

    def __str__(self) -> str:
        return f"Abstained: {self.reason}" if self.abstained else self.cited_text

    def _repr_html_(self) -> str:
        from ragvlm.notebook import description_card

        return description_card(self)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm describe --json`` prints, made of JSON types alone."""
        from ragvlm.results import description_to_dict

        return description_to_dict(self)


@runtime_checkable
class Reader(Protocol):
    """Reads one corpus format. ``columns`` maps a field of Record to the column that holds it."""

    name: str

    def matches(self, path: Path) -> bool:
        """Whether ``path`` looks like this format; must be cheap and must not raise."""
        ...

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Yield the records of ``path``, and a Skipped naming file and row for each that can't be read.

        Raises CorpusError where the corpus as a whole can't be read.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """An image tower and a text tower.

    ``fingerprint`` is a SHA-256 over weights, preprocessing, tokenizer and pooling: vectors of two encoders may
    be compared only if their fingerprints are equal. ``shared_space`` says whether image and text vectors may
    be compared with each other.
    """

    name: str
    fingerprint: str
    image_dim: int
    text_dim: int
    shared_space: bool

    def encode_images(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim), unit rows; ``images`` are RGB pictures of any size."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        """float32 (n, text_dim), unit rows."""
        ...


@runtime_checkable
class VectorStore(Protocol):
    """Nearest neighbours by inner product of unit vectors (cosine similarity, in [-1, 1]).

    ``suffix`` ends the name of the file that ``save`` writes, as in ``.faiss``.
    """

    name: str
    suffix: str
    dim: int

    def __init__(self, dim: int) -> None: ...

    def __len__(self) -> int: ...

    def add(self, vectors: Float32) -> None:
        """Append float32 (n, dim) unit rows; positions count on from ``len(self)``."""
        ...

    def search(self, queries: Float32, k: int) -> tuple[Float32, Int64]:
        """Scores and positions, both (n, min(k, len(self))), best first, equal scores by lower position."""
        ...

    def get(self, positions: Int64) -> Float32:
        """The vectors at ``positions`` (m,): float32 (m, dim), unit rows, a copy."""
        ...

    def save(self, path: Path) -> None:
        """Write the store to the file ``path``."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Writes a text from each prompt; an empty string means that it found nothing to say.

    It may also have (see docs/generators.md)

    - ``reads``: "prompt" (as where it is absent), "question" (of the words the query's alone) or "references" (no
      prompt, only the records of its context);
    - ``pictures``: how many pictures a prompt may hold, 1 where it is absent, 0 if it sees none, None for any number;
    - ``fits(prompt) -> bool``: whether the prompt and the longest answer fit its context;
    - ``choose(prompts, options) -> list[tuple[str, float | None]]``: for each prompt one of the options, "" for none,
      and its probability among them, None where it tells none.
    """

    name: str

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt, in order."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Says how probable each of its labels is. ``rule`` is "softmax" or "sigmoid": see ``ragvlm.results``.

    It may have ``provenance``, a mapping of JSON types that its results carry on.
    """

    name: str
    labels: tuple[str, ...]
    rule: str

    def classify(self, images: Sequence[Image]) -> Float32:
        """Probabilities: float32 (n, len(labels)), in [0, 1]; ``images`` are RGB pictures of any size."""
        ...
