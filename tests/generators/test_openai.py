"""The generator behind a base URL, against a real HTTP server on this computer."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
from chatdouble import chat
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from texts import context_of

from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators import chatserver, load_generator
from ragvlm.prompt import build_prompt
from ragvlm.types import Query, Record
from ragvlm.writing import Writer

PRIVATE = Record(
    "SECRET-id", "SECRET/path.png", "One red cell.", "SECRET-subject", "SECRET-study", source="SECRET-source",
    extra={"note": "SECRET-extra"},
)  # fmt: skip


def prompt_of(*records, picture=None, text=None):
    context = context_of(*records)
    query = Query("SECRET/query.jpg", image=picture, text=text, subject_id="SECRET-patient")
    return build_prompt(replace(context, query=query))


def load(server, **options):
    return load_generator("openai:tiny", base_url=server.url, **{"backoff": 0.01, **options})


def refusal(server, *answers, **options):
    server.script = list(answers)
    with pytest.raises(RagvlmError) as told:
        load(server, **options).generate([prompt_of("One red cell.")])
    assert "\n" not in str(told.value)
    return str(told.value)


def test_it_writes_what_the_server_answers_in_order(chat_server):
    prompts = [prompt_of(f"Field {i}.") for i in range(20)]
    texts = load(chat_server, concurrency=4).generate([*prompts[:7], prompt_of(), *prompts[7:]])
    assert texts == [*(f"Field {i}." for i in range(7)), "", *(f"Field {i}." for i in range(7, 20))]
    assert len(chat_server.requests) == 20  # nothing is asked for a prompt without references


def test_what_is_sent(chat_server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "second")
    monkeypatch.setenv("RAGVLM_API_KEY", " first\n")
    prompt = prompt_of(PRIVATE, text="How many cells?")
    load(chat_server, max_tokens=9, temperature=0.5).generate([prompt])
    assert chat_server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}],
            "max_tokens": 9,
            "temperature": 0.5,
            "stream": False,
        }
    ]
    assert chat_server.headers[0]["Authorization"] == "Bearer first"


def test_the_picture_goes_along_bounded_and_without_metadata(chat_server):
    picture = Image.effect_noise((300, 150), 60).convert("RGB")
    exif = picture.getexif()
    exif[0x010E] = "SECRET-description"
    picture.info |= {"exif": exif.tobytes(), "comment": b"SECRET-comment", "icc_profile": b"SECRET-profile"}
    load(chat_server, max_side=64).generate([prompt_of(PRIVATE, picture=picture)])
    kind, _, data = chat_server.requests[0]["messages"][1]["content"][1]["image_url"]["url"].partition(",")
    raw = base64.b64decode(data)
    sent = Image.open(io.BytesIO(raw))
    assert (kind, sent.format, sent.mode, sent.size) == ("data:image/jpeg;base64", "JPEG", "RGB", (64, 32))
    small = picture.copy()
    small.thumbnail((64, 64))
    assert np.abs(np.asarray(sent, int) - np.asarray(small, int)).mean() < 4
    assert b"SECRET" not in raw + b"".join(chat_server.raw)
    assert "SECRET" not in json.dumps(chat_server.headers)
    load(chat_server, with_image=False).generate([prompt_of(PRIVATE, picture=picture)])
    assert isinstance(chat_server.requests[1]["messages"][1]["content"], str)


def test_the_references_pictures_go_along_where_the_template_shows_them(chat_server, tmp_path):
    comment = PngInfo()
    comment.add_text("Comment", "SECRET-comment")
    shades = [Image.new("RGB", (90, 30), (80 * shade, 0, 0)) for shade in range(3)]
    paths = [tmp_path / f"SECRET-{n}.png" for n in range(2)]
    for shade, path in zip(shades, paths, strict=False):
        shade.save(path, pnginfo=comment)
    records = [replace(PRIVATE, image=str(paths[0])), Record("b", caption="Two."), Record("c", str(paths[1]), "Three.")]
    query = Query("SECRET/query.jpg", image=shades[2], text="How many?")
    writer = Writer(load(chat_server, max_side=32), "few-shot-pictures")
    writer.first_turn([replace(context_of(*records), query=query)])
    content = chat_server.requests[0]["messages"][1]["content"]
    assert [part["type"] for part in content] == ["image_url", "text", "image_url", "text", "image_url", "text"]
    sent = [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in content[::2]]
    pictures = [Image.open(io.BytesIO(raw)) for raw in sent]
    assert [picture.size for picture in pictures] == [(32, 11)] * 3
    assert [round(np.asarray(picture)[..., 0].mean() / 80) for picture in pictures] == [0, 1, 2]
    assert content[1]["text"] == 'Image [1] -> "One red cell."\nImage [2] -> "Two."\n'
    assert b"SECRET" not in b"".join([*sent, *chat_server.raw])
    with pytest.raises(InputError, match="takes no pictures"):
        Writer(load(chat_server, with_image=False), "few-shot-pictures")
    # other templates send the query's picture alone
    for template in ("describe", "few-shot", "zero-shot"):
        Writer(load(chat_server), template).first_turn([replace(context_of(*records), query=query)])
        content = chat_server.requests[-1]["messages"][1]["content"]
        assert [part["type"] for part in content] == ["text", "image_url"]


def test_zero_shot_asks_although_it_cites_nothing(chat_server):
    chat_server.script = [(200, {}, chat("One red cell."))]
    written = Writer(load(chat_server), "zero-shot").first_turn([context_of("One red cell.")])
    assert [w.text for w in written] == ["One red cell."]
    assert "red cell" not in json.dumps(chat_server.requests)


def test_the_second_turn_sends_what_the_first_wrote(chat_server):
    chat_server.script = [(200, {}, chat('One "red" cell [1].')), (200, {}, chat("Normal."))]
    writer = Writer(load(chat_server), "findings-impression")
    written = writer.second_turn(writer.first_turn([context_of("One red cell.")]))
    assert written[0].text == 'One "red" cell.\n\nNormal.'
    second = json.loads(chat_server.raw[-1])["messages"][1]["content"]
    assert second.startswith("Findings of the new image: \"One 'red' cell.\"\n")


def test_the_only_model_is_taken(chat_server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", chat_server.url + "/")
    assert load_generator("openai").name == "openai:tiny"
    assert load_generator("openai:llama3.2:1b").name == "openai:llama3.2:1b"
    chat_server.models = ["a", "b"]
    with pytest.raises(InputError, match=r"offers 2 models: choose with model=a\|b"):
        load_generator("openai")


@pytest.mark.parametrize(
    ("text", "reason", "expected"),
    [
        ("<think>They say [1].</think>\nOne red cell [1].", "stop", "One red cell."),
        ("<think>They say", "length", ""),
        ("One red cell. And a", "length", "One red cell."),
        (None, "stop", ""),
    ],
)
def test_answers_are_made_tidy(chat_server, text, reason, expected):
    chat_server.script = [(200, {}, chat(text, reason))]
    assert load(chat_server).generate([prompt_of("One red cell.")]) == [expected]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(chat_server, status):
    chat_server.script = [(status, {}, b"busy")] * 2
    assert load(chat_server, retries=2).generate([prompt_of("One red cell.")]) == ["One red cell."]
    assert len(chat_server.raw) == 3


def test_waits_double_or_are_as_long_as_asked_but_bounded(chat_server, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(chatserver.time, "sleep", waits.append)
    asked = [{}, {}, {"Retry-After": "7"}, {"Retry-After": "9000"}, {"Retry-After": "soon"}]
    chat_server.script = [(429, headers, b"") for headers in asked]
    load(chat_server, retries=5, backoff=1).generate([prompt_of("One red cell.")])
    assert waits == [1, 2, 7, 60, 16]


def test_the_retries_end(chat_server):
    busy = (429, {}, b'{"error": {"message": "slow\\ndown"}}')
    told = refusal(chat_server, *[busy] * 9, retries=3)
    assert "HTTP 429 (slow down)" in told
    assert "lower concurrency" in told
    assert len(chat_server.raw) == 4


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, {}, b'{"error": {"message": "bad key"}}'), r"HTTP 401 \(bad key\): set RAGVLM_API_KEY"),
        ((404, {}, b'{"error": "no model tiny"}'), r"HTTP 404 \(no model tiny\): check base_url .* and model"),
        ((400, {}, b"<html>"), r"HTTP 400 \(Bad Request\): .*with_image=false"),
        ((307, {"Location": "http://127.0.0.1:9/v1"}, b""), "HTTP 307 .*check base_url"),
        ((200, {}, b"<html>hello"), r"answers no JSON \(.*\): check base_url"),
        ((200, {}, b"[" * 100_000), r"answers no JSON"),
        ((200, {}, b" " * (chatserver.MAX_ANSWER + 1)), r"answers no JSON \(more than 8,000,000 bytes\)"),
        ((200, {}, b"[]"), r"holds no choices\[0\].message.content"),
        ((200, {}, b'{"choices": []}'), r"holds no choices\[0\].message.content"),
        ((200, {}, chat([{"type": "text"}])), "content is not text"),
        ((200, {"Content-Length": "900"}, b"{"), "(can't be reached|no answer within|answers no JSON)"),
    ],
)  # fmt: skip
def test_each_refusal_is_one_line_with_the_next_step(chat_server, answer, expected):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGVLM_API_KEY", "SECRET-key")
        told = refusal(chat_server, answer, retries=0, timeout=2)
    assert re.search(expected, told), told
    assert "SECRET" not in told
    assert len(chat_server.raw) == 1


def test_a_silent_server_is_told_apart_from_an_absent_one(chat_server):
    chat_server.hold = True
    assert "no answer within 0.2 s: raise timeout" in refusal(chat_server, timeout=0.2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(RagvlmError, match=r"can't be reached \(.*refused.*\): start the server or check base_url"):
        load_generator("openai", base_url=url)


def test_after_an_error_nothing_more_is_sent(chat_server):
    chat_server.script = [(401, {}, b"")]
    with pytest.raises(RagvlmError, match="401"):
        load(chat_server, concurrency=1).generate([prompt_of("One red cell.")] * 50)
    assert len(chat_server.raw) < 50
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor")]


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": None}, {"base_url": "127.0.0.1:8000"}, {"base_url": "file:///etc/passwd"},
        {"base_url": "http://me:word@host/v1"}, {"base_url": "http://host:port/v1"}, {"base_url": "http://[::1"},
        {"base_url": "http://host/v1?key=1"}, {"max_tokens": 0}, {"temperature": -1}, {"timeout": 0}, {"max_side": 1},
        {"concurrency": 0}, {"retries": -1}, {"backoff": -1},
    ],
)  # fmt: skip
def test_bad_options(options, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match=next(iter(options))):
        load_generator("openai:tiny", **{"base_url": "http://127.0.0.1:9/v1", **options})


def test_a_key_that_cannot_be_is_not_told(chat_server, monkeypatch):
    monkeypatch.setenv("RAGVLM_API_KEY", "SECRET\nkey")
    with pytest.raises(InputError, match="RAGVLM_API_KEY") as told:
        load(chat_server).generate([prompt_of("One red cell.")])
    assert "SECRET" not in str(told.value)
