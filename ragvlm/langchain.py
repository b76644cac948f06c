"""LangChain: an index as a retriever, an encoder as embeddings, a description as a step of a chain.

    retriever = RagvlmRetriever(index="indexes/cells", k=3)
    chain = retriever | (lambda found: [document.page_content for document in found])

Needs langchain-core alone (extra ``langchain``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ragvlm.encoders import load_encoder
from ragvlm.errors import InputError, missing_extra
from ragvlm.images import open_image
from ragvlm.index import Index
from ragvlm.prompt import reference_text
from ragvlm.types import Description, Encoder, Hit

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable, RunnableConfig
    from pydantic import ConfigDict, PrivateAttr
except ImportError as error:  # this module is of no use without it
    raise missing_extra("langchain_core", "langchain") from error


class RagvlmRetriever(BaseRetriever):
    """The ``k`` nearest references of an index as documents.

    A query is words, or a picture (a path, a PIL image, an array, a ``Query``). ``subject_id`` names the query's own
    subject, whose references are left out. ``options`` are those of ``SearchOptions`` (mode, where, diversity, ...);
    all of these can be given to ``invoke`` too. A document holds a reference's caption, else its labels as sentences; a
    reference with neither is a document without text, not left out. Metadata: score (cosine similarity in [-1, 1], or
    what a fusion gives), rank, image, modality, labels, source, licence, and no subject.

    Raises StoreError where the index can't be opened, InputError for a wrong option.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index | str | Path
    k: int = 5
    subject_id: str | None = None
    options: Mapping[str, Any] = {}
    _opened: Index | None = PrivateAttr(default=None)

    def _get_relevant_documents(
        self, query: Any, *, run_manager: CallbackManagerForRetrieverRun | None = None, **given: Any
    ) -> list[Document]:
        asked: dict[str, Any] = {"k": self.k, "subject_id": self.subject_id, **self.options, **given}
        return [_document(hit) for hit in self._index().search(query, **asked)]

    def _index(self) -> Index:
        if self._opened is None:
            self._opened = self.index if isinstance(self.index, Index) else Index.open(self.index)
        return self._opened


class RagvlmEmbeddings(Embeddings):
    """An encoder's text tower, and its picture tower by ``embed_images``, as LangChain's vector stores want them.

    encoder: a name (see ``ragvlm models``) or an Encoder; ``options`` go to it. Only where ``encoder.shared_space`` may
    a text's vector be compared with a picture's.
    """

    def __init__(self, encoder: str | Encoder = "embedded", **options: Any) -> None:
        self.encoder = load_encoder(encoder, **options) if isinstance(encoder, str) else encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Unit vectors of ``encoder.text_dim`` numbers, one a text."""
        return cast("list[list[float]]", self.encoder.encode_texts(texts).tolist()) if texts else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    def embed_images(self, images: Sequence[Any]) -> list[list[float]]:
        """Unit vectors of ``encoder.image_dim`` numbers, one a picture (a path, a PIL image, an array).

        Raises ImageError naming the first that can't be decoded.
        """
        pictures = [open_image(image) for image in images]
        return cast("list[list[float]]", self.encoder.encode_images(pictures).tolist()) if pictures else []


class RagvlmDescriber(Runnable[Any, Description]):
    """A ``Describer`` as a step: a picture in, or a mapping with "image" and maybe "question" and "subject_id".

    All arguments are the Describer's. ``batch`` shares one batch of the encoder and of the generator among inputs
    with the same question and subject. What comes out is a ``Description``: ``step | (lambda found: found.text)``.
    """

    def __init__(self, index: Index | str | Path, generator: Any = "consensus", k: int = 5, **options: Any) -> None:
        self._arguments: dict[str, Any] = {"index": index, "generator": generator, "k": k, **options}

    @cached_property
    def describer(self) -> Any:
        """The Describer, made at the first call."""
        from ragvlm.describe import Describer

        return Describer(**self._arguments)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Description:
        """Describe one picture."""

        def describe(given: Any) -> Description:
            image, known = _asked(given)
            return cast("Description", self.describer(image, **known | kwargs))

        return self._call_with_config(describe, input, config, run_type="chain")

    def batch(
        self, inputs: list[Any], config: Any = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[Description]:
        """Describe many pictures at once; one by one where the exceptions are to be returned."""
        asked = [_asked(given) for given in inputs]
        if not inputs or return_exceptions or any(known != asked[0][1] for _, known in asked):
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        known = asked[0][1] | kwargs
        return [found for some in self.describer.batches([image for image, _ in asked], **known) for found in some]


def _asked(given: Any) -> tuple[Any, dict[str, Any]]:
    if not isinstance(given, Mapping):
        return given, {}
    known = dict(given)
    if "image" not in known:
        raise InputError(f"the input has no 'image': it has {', '.join(map(str, known)) or 'nothing'}")
    return known.pop("image"), known


def _document(hit: Hit) -> Document:
    record = hit.record
    facts = {
        "score": hit.score, "rank": hit.rank, "image": record.image, "modality": record.modality,
        "labels": dict(record.labels), "source": record.source, "licence": record.licence,
    }  # fmt: skip
    return Document(id=record.id, page_content=reference_text(record), metadata=facts)
