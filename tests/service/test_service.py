"""The service as a client sees it: what it answers, what it refuses, and that it says nothing of a patient."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from scipy.special import softmax
from tiny import COLOURS, ColourEncoder, build, make_corpus, of

from ragvlm.assistant import Assistant
from ragvlm.index import Index
from ragvlm.service.access import Gate
from ragvlm.service.app import create_app
from ragvlm.service.desk import Limits
from ragvlm.service.served import Served
from ragvlm.types import Float32

TOKEN = "0123456789abcdef"  # noqa: S105 - of the test


class RuledEncoder(ColourEncoder):
    """Says how its cosines become probabilities."""

    probability_rule = "softmax"

    def similarity_to_probabilities(self, cosines: Float32) -> Float32:
        return np.asarray(softmax(10 * cosines, axis=1), np.float32)


def png(colour: str = "red", size: tuple[int, int] = (12, 12)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(stream, "PNG")
    return stream.getvalue()


def upload(data: bytes | None = None, name: str = "Jane Doe.png") -> dict[str, Any]:
    return {"image": (name, data if data is not None else png(), "image/png")}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    index = build(make_corpus(tmp_path / "c", 12), tmp_path / "i", calibrate=True)
    make = partial(Assistant, generator="consensus", alpha=0)
    return Served(make(index), make)


@pytest.fixture
def client(served: Served) -> Iterator[TestClient]:
    with TestClient(create_app(served, limits=Limits(max_mb=0.5, max_pixels=10_000))) as client:
        yield client


def test_a_description_is_the_one_of_the_command(client: TestClient, served: Served) -> None:
    found = client.post("/describe", files=upload()).json()
    expected = served.assistant(Image.open(io.BytesIO(png()))).to_dict()
    for told in (found, expected):
        del told["timings"], told["image"]
    assert found == json.loads(json.dumps(expected))
    assert "red square" in found["text"]


def test_the_own_subject_is_left_out(client: TestClient) -> None:
    found = client.post("/describe", files=upload(), data={"subject_id": "s0"}).json()
    assert not {"a00", "a01"} & {hit["id"] for hit in found["neighbours"]}


def test_search_by_words_by_picture_and_by_both(client: TestClient) -> None:
    words = client.post("/search", data={"text": "a green square", "k": 2}).json()
    assert [hit["caption"].split()[1] for hit in words["hits"]] == ["green", "green"]
    picture = client.post("/search", files=upload(png("blue")), data={"k": 1}).json()
    assert picture["hits"][0]["id"] == "a02"
    both = client.post("/search", files=upload(png("blue")), data={"k": 1, "text": "blue"}).json()
    assert both["hits"][0]["score"] != picture["hits"][0]["score"]  # ranks, not a cosine


def test_a_question(client: TestClient) -> None:
    found = client.post("/ask", files=upload(), data={"question": "Is the square red or blue?"}).json()
    assert (found["answer"], found["abstained"]) == ("red", False)
    wrong = client.post("/ask", files=upload(), data={"question": "Which colour?", "options": ["red"]})
    assert wrong.status_code == 400


def test_labels(client: TestClient) -> None:
    assert "biomedclip" in client.post("/classify", files=upload(), data={"labels": ["red", "green"]}).json()["detail"]


def test_labels_by_an_encoder_that_can(tmp_path: Path) -> None:
    encoder = RuledEncoder()
    index = build(make_corpus(tmp_path / "c", 4), tmp_path / "i", encoder=encoder, calibrate=True)
    make = partial(Assistant, generator="consensus", alpha=0)
    with TestClient(create_app(Served(make(index), make))) as client:
        found = client.post("/classify", files=upload(), data={"labels": ["red", "green"]}).json()
    assert found["probabilities"][0]["label"] == "red"
    assert found["image"] == "upload"


@pytest.mark.parametrize(
    ("path", "files", "data", "status", "says"),
    [
        ("/describe", upload(b"no picture"), {}, 400, "not a picture"),
        ("/describe", upload(b""), {}, 400, "empty"),
        ("/describe", upload(png(size=(200, 200))), {}, 400, "pixels"),
        ("/describe", upload(b"x" * 600_000), {}, 413, ""),
        ("/describe", None, {}, 422, "image"),
        ("/describe", upload(), {"question": "what?"}, 400, "question"),
        ("/search", None, {}, 400, "nothing to look for"),
        ("/search", None, {"text": "red", "k": 0}, 422, "k"),
        ("/classify", upload(), {"labels": ["one"]}, 422, "labels"),
        ("/nothing", None, {}, 404, ""),
    ],
)
def test_what_can_not_be_used_is_refused(
    client: TestClient, path: str, files: Any, data: dict[str, Any], status: int, says: str
) -> None:
    answer = client.post(path, files=files, data=data)
    assert answer.status_code == status, answer.text
    assert says in answer.text
    assert "Traceback" not in answer.text
    assert client.post("/describe", files=upload()).status_code == 200


def test_tokens_and_how_often(served: Served) -> None:
    with TestClient(create_app(served, Gate((TOKEN,), per_minute=2))) as client:
        assert client.get("/health").json() == {"status": "ok"}
        for path in ("/describe", "/metrics", "/docs", "/openapi.json", "/nothing"):
            assert client.get(path).status_code == 401
        wrong = client.post("/describe", files=upload(), headers={"Authorization": "Bearer x"})
        assert (wrong.status_code, wrong.headers["WWW-Authenticate"]) == (401, "Bearer")
        ours = {"Authorization": f"Bearer {TOKEN}"}
        assert [client.post("/describe", files=upload(), headers=ours).status_code for _ in range(3)] == [200, 200, 429]
        assert int(client.post("/describe", files=upload(), headers=ours).headers["Retry-After"]) > 0


def test_nothing_of_what_was_sent_is_logged_or_counted(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        told = client.post("/describe", files=upload(), data={"subject_id": "MRN 4711"}).text
        client.get("/Jane%20Doe?name=Jane")
    figures = client.get("/metrics").text
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith("ragvlm"))
    for text in (told, figures, ours):
        assert "Jane" not in text
        assert "4711" not in text
    assert 'ragvlm_requests_total{path="/describe",status="200"} 1.0' in figures
    first = next(record for record in caplog.records if record.name == "ragvlm.service")
    assert json.loads(first.getMessage())["status"] == 200


def test_a_newer_index_takes_over_and_requests_go_on(client: TestClient, served: Served) -> None:
    index = served.assistant.index
    corpus = make_corpus(index.path.parent / "c", 12)
    more = [*corpus.records, replace(corpus.records[0], id="new", caption="a newer red square")]
    before = client.get("/metrics").text
    build(of(index.path.parent / "c", more), index.path, calibrate=True)
    assert served.refresh()
    assert not served.refresh()
    ids = {hit["id"] for hit in client.post("/search", data={"text": "red", "k": 13}).json()["hits"]}
    assert "new" in ids
    assert "ragvlm_index_generation" in before
    assert client.get("/metrics").text != before


def test_an_index_that_broke_leaves_the_older_one(served: Served) -> None:
    manifest = served.assistant.index.path / "manifest.json"
    manifest.write_text("{")
    with TestClient(create_app(served, limits=Limits(follow=0.01))) as client:
        time.sleep(0.1)
        assert client.post("/describe", files=upload()).status_code == 200


class SlowEncoder(ColourEncoder):
    """Takes its time with a question, not with a corpus."""

    slow = 0.0

    def encode_images(self, images: Sequence[Image.Image]) -> Any:
        time.sleep(self.slow)
        return super().encode_images(images)


def test_what_takes_too_long_ends(tmp_path: Path) -> None:
    build(make_corpus(tmp_path / "c", 4), tmp_path / "i", calibrate=True)
    encoder = SlowEncoder()
    make = partial(Assistant, generator="consensus", alpha=0)
    served = Served(make(Index.open(tmp_path / "i", encoder=encoder)), make)
    with TestClient(create_app(served, limits=Limits(timeout=0.2))) as client:
        encoder.slow = 1.0
        late = client.post("/describe", files=upload())
        assert (late.status_code, late.json()) == (504, {"detail": "not done in time"})
        encoder.slow = 0.0
        time.sleep(1)
        assert client.post("/describe", files=upload()).status_code == 200


def test_the_description_of_the_service_names_every_way_to_fail(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/describe", "/ask", "/search", "/classify", "/health", "/ready", "/metrics"}
    for name in ("/describe", "/ask", "/search", "/classify"):
        assert {"200", "400", "401", "413", "422", "429", "504"} <= set(paths[name]["post"]["responses"])
    assert client.get("/ready").json() == {"ready": True}
