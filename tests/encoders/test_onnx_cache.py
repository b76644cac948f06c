"""The exported models: agree with torch, survive damage, and are made once by many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragvlm.encoders.embedded import EmbeddedEncoder
from ragvlm.encoders.onnx_cache import cached_model
from ragvlm.errors import RagvlmError, StoreError


def counted(tmp_path: Path, contents: bytes = b"model") -> tuple[list[int], Path]:
    calls: list[int] = []

    def export() -> bytes:
        calls.append(1)
        return contents

    return calls, cached_model("tower", "k" * 64, export)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path))
    return tmp_path


def test_a_model_is_made_once(cache: Path) -> None:
    first, path = counted(cache)
    second, again = counted(cache)
    assert (len(first), len(second)) == (1, 0)
    assert again == path
    assert path.read_bytes() == b"model"


@pytest.mark.parametrize("damage", [b"", b"mode", b"modem", b"model "])
def test_a_damaged_file_is_made_again(cache: Path, damage: bytes) -> None:
    _, path = counted(cache)
    path.write_bytes(damage)
    calls, again = counted(cache)
    assert len(calls) == 1
    assert again.read_bytes() == b"model"
    assert len(list(cache.rglob("*.onnx"))) == 1


def test_another_key_is_another_file(cache: Path) -> None:
    _, path = counted(cache)
    other = cached_model("tower", "l" * 64, lambda: b"model")
    assert other != path
    assert path.exists()


def test_an_export_that_fails_leaves_nothing(cache: Path) -> None:
    def fail() -> bytes:
        raise RagvlmError("no weights")

    with pytest.raises(RagvlmError, match="no weights"):
        cached_model("tower", "k" * 64, fail)
    assert not list(cache.rglob("*.onnx*"))


def test_a_cache_that_is_no_folder_is_a_clear_error(cache: Path) -> None:
    (cache / "onnx").write_text("in the way")
    with pytest.raises(StoreError, match="set RAGVLM_CACHE"):
        counted(cache)


def test_a_damaged_encoder_is_exported_again(embedded: EmbeddedEncoder, model_cache: Path) -> None:
    (path,) = model_cache.glob("onnx/efficientnet-*.onnx")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # one bit of one weight: ONNX Runtime would load it without a word
    path.write_bytes(data)
    picture = [Image.new("RGB", (30, 20), "purple")]
    found = EmbeddedEncoder(threads=1).encode_images(picture)
    (fresh,) = model_cache.glob("onnx/efficientnet-*.onnx")
    assert fresh.read_bytes() != data
    np.testing.assert_allclose(found, embedded.encode_images(picture), atol=1e-6)


RACE = """
import sys, time
from pathlib import Path
from ragvlm.encoders.onnx_cache import cached_model
log = Path(sys.argv[1])
def export():
    with log.open("a") as stream:
        stream.write("x")
    time.sleep(0.5)
    return b"model"
assert cached_model("tower", "k" * 64, export).read_bytes() == b"model"
"""


def test_of_two_processes_one_exports(cache: Path) -> None:
    log = cache / "log"
    command = [sys.executable, "-c", RACE, str(log)]
    with subprocess.Popen(command, env=os.environ) as one, subprocess.Popen(command, env=os.environ) as two:
        assert (one.wait(60), two.wait(60)) == (0, 0)
    assert log.read_text() == "x"


def test_the_first_use_writes_nothing_to_the_terminal(cache: Path) -> None:
    code = "from ragvlm.encoders import load_encoder as l; l().encode_texts(['nuclei'])"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
