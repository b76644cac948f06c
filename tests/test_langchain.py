"""LangChain's own standard suites, and a chain that describes."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from PIL import Image
from tiny import COLOURS, ColourEncoder, build, make_corpus, of

import ragvlm as rv
from ragvlm.errors import ImageError, InputError
from ragvlm.index import Index
from ragvlm.langchain import RagvlmDescriber, RagvlmEmbeddings, RagvlmRetriever

GREEN = Image.new("RGB", (12, 12), COLOURS["green"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Index:
    place = tmp_path_factory.mktemp("langchain")
    return build(make_corpus(place / "c", 12), place / "i", calibrate=True)


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _index(self, built: Index) -> None:
        self.index = built

    @property
    def retriever_constructor(self) -> type[RagvlmRetriever]:
        return RagvlmRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self.index}

    @property
    def retriever_query_example(self) -> str:
        return "a red square"


class _Embeddings:
    @property
    def embeddings_class(self) -> type[RagvlmEmbeddings]:
        return RagvlmEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"encoder": ColourEncoder()}


class TestEmbeddingsAlone(_Embeddings, EmbeddingsUnitTests):
    """The suite of the interface."""


class TestEmbeddingsAtWork(_Embeddings, EmbeddingsIntegrationTests):
    """The suite of what they give."""


def test_a_document_says_what_the_reference_says(built: Index) -> None:
    first, *rest = RagvlmRetriever(index=built, k=5, subject_id="s0").invoke("a red square")
    assert (first.id, first.page_content) == ("a04", "a red square number 4")
    assert first.metadata["labels"] == {"colour": "red", "number": 4}
    assert (first.metadata["rank"], first.metadata["source"]) == (1, "brush")
    assert not {"a00", "a01"} & {document.id for document in (first, *rest)}  # the query's own subject
    assert "s2" not in str(first)


def test_a_picture_finds_pictures_and_options_hold(built: Index, tmp_path: Path) -> None:
    retriever = RagvlmRetriever(index=built, options={"where": ["colour=green"]})
    found = retriever.invoke(GREEN, k=2)
    assert [document.metadata["labels"]["colour"] for document in found] == ["green", "green"]
    with pytest.raises(InputError, match="there is no option 'colour'"):
        retriever.invoke("red", colour="red")
    assert RagvlmRetriever(index=str(built.path)).index == str(built.path)  # opened at the first question alone


def test_a_reference_without_words_is_no_silent_gap(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 4)
    bare = [replace(record, caption=None, labels={}, modality=None) for record in corpus.records]
    index = build(of(tmp_path / "c", bare), tmp_path / "i")
    assert [d.page_content for d in RagvlmRetriever(index=index, k=4).invoke(GREEN)] == [""] * 4


def test_a_chain_describes(built: Index) -> None:
    step = RagvlmDescriber(built, k=3, alpha=0)
    picture = built.path.parent / "c" / "p02.png"
    found = (step | (lambda description: description.text)).invoke(str(picture))
    assert "blue square" in found
    known = {"image": str(picture), "subject_id": "s1"}
    assert {hit.record.subject_id for hit in step.invoke(known).context.hits}.isdisjoint({"s1"})
    assert [d.text for d in step.batch([str(picture), str(picture)])] == [found, found]
    mixed = step.batch([known, str(picture)])
    assert [d.query_id for d in mixed] == [str(picture)] * 2
    assert asyncio.run(step.ainvoke(str(picture))).text == found
    with pytest.raises(InputError, match="the input has no 'image': it has picture"):
        step.invoke({"picture": "a.png"})
    failed, good = step.batch(["absent.png", str(picture)], return_exceptions=True)
    assert isinstance(failed, ImageError)
    assert good.text == found


def test_pictures_have_vectors_too(built: Index) -> None:
    encoder = ColourEncoder()
    vectors = RagvlmEmbeddings(encoder).embed_images([GREEN])
    assert np.allclose(vectors, encoder.encode_images([GREEN]))
    assert RagvlmEmbeddings(encoder).embed_images([]) == RagvlmEmbeddings(encoder).embed_documents([]) == []


def test_the_chain_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).resolve().parents[1] / "docs" / "langchain.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    rv.simulate_corpus("corpus", 24, 0, kinds=["blood_smear", "dna_nuclei"])
    rv.Index.build(rv.Corpus.load("corpus"), "indexes/demo")
    shutil.copy(sorted(Path("corpus/images").iterdir())[0], "query.png")
    exec(compile(block, "langchain.md", "exec"), {})  # noqa: S102 - our own page
    text, references = capsys.readouterr().out.rsplit(" [", 1)
    assert text.strip()
    assert references.count("'") == 6
