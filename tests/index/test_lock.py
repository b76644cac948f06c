"""One writer at a time: the second says who holds the lock, or waits."""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from tiny import build, make_corpus

from ragvlm.errors import StoreError
from ragvlm.index.lock import HOLDER, writing


def test_the_second_names_the_first(tmp_path):
    with writing(tmp_path), pytest.raises(StoreError, match="wait until it ends") as caught, writing(tmp_path):
        pass
    says = str(caught.value)
    assert f"another process (pid {os.getpid()} on {platform.node()}, since 2" in says
    assert "\n" not in says
    assert not (tmp_path / HOLDER).exists()


@pytest.mark.parametrize("note", [None, "", "{", '{"pid": "x"}', "[]"])
def test_who_does_not_say_who_it_is_is_another_process(tmp_path, note):
    with FileLock(tmp_path / ".lock"):
        if note is not None:
            (tmp_path / HOLDER).write_text(note)
        with pytest.raises(StoreError, match=r": another process is writing it"), writing(tmp_path):
            pass


def test_the_note_says_no_more_than_it_must(tmp_path):
    with writing(tmp_path):
        assert set(json.loads((tmp_path / HOLDER).read_text())) == {"pid", "host", "since"}


def test_waiting(tmp_path, caplog):
    corpus, out = make_corpus(tmp_path / "corpus"), tmp_path / "index"
    build(corpus, out)
    freed: list[float] = []

    def hold() -> None:
        with writing(out):
            held.set()
            time.sleep(0.3)
            freed.append(time.monotonic())

    held, other = threading.Event(), threading.Thread(target=hold)
    other.start()
    held.wait()
    with caplog.at_level(logging.INFO, "ragvlm"):
        assert build(corpus, out, wait=True).report.unchanged == 8
    assert time.monotonic() > freed[0]
    other.join()
    assert f"waiting for another process (pid {os.getpid()}" in caplog.text


def test_the_note_of_a_killed_writer_is_no_foreign_file(tmp_path):
    out = tmp_path / "index"
    out.mkdir()
    (out / HOLDER).write_text("{}")
    (out / ".lock").write_text("")
    assert len(build(make_corpus(tmp_path / "corpus"), Path(out))) == 8
