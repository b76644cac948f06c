"""Dual encoders on ONNX Runtime: the vectors and fingerprint of torch, without torch; int8; damage; what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ragvlm.corpus import Corpus
from ragvlm.encoders import export_dual, export_towers, load_encoder, torch_tools, transformers_dual
from ragvlm.encoders.probes import probe_pictures
from ragvlm.encoders.transformers_dual import TransformersEncoder
from ragvlm.errors import EncoderMismatchError, InputError, MissingExtraError, RagvlmError
from ragvlm.index import Index

FIXED = ["clip", "siglip", "siglip2-fixed"]
TEXTS = ["nuclei", "A coffee cup!", "Light micrograph of a stained peripheral blood smear, one white cell. " * 9, "µ"]
PICTURES = [Image.effect_noise((50, 30), 90).convert("RGB"), Image.new("RGB", (30, 91), "red")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this file's own: what is exported here must not serve other tests."""
    return tmp_path_factory.mktemp("towers")


@pytest.fixture(autouse=True)
def _this_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAGVLM_CACHE", str(cache))
    yield


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=FIXED)
def folder(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> Path:
    """A checkpoint of each family with pictures of fixed size, in turn."""
    return checkpoints[request.param]


def load(folder: Path, **options: Any) -> TransformersEncoder:
    found = load_encoder(f"transformers:{folder}", **options)
    assert isinstance(found, TransformersEncoder)
    return found


def test_onnx_and_torch_are_one_encoder(folder: Path) -> None:
    torch, onnx = load(folder, runtime="torch"), load(folder, runtime="onnx")
    assert (torch.runtime, onnx.runtime) == ("torch", "onnx")
    for name in ("fingerprint", "name", "options", "image_dim", "text_dim", "shared_space"):
        assert getattr(onnx, name) == getattr(torch, name), name
    for name in ("logit_scale", "logit_bias", "probability_rule"):
        assert getattr(onnx, name) == getattr(torch, name), name
    for _ in range(2):  # the second batch runs on arranged weights
        assert (torch.encode_images(PICTURES) * onnx.encode_images(PICTURES)).sum(axis=1).min() > 0.9999
        assert (torch.encode_texts(TEXTS) * onnx.encode_texts(TEXTS)).sum(axis=1).min() > 0.9999


QUERY = """
import json, sys
from PIL import Image
import ragvlm as rv
encoder = rv.load_encoder(sys.argv[1], **json.loads(sys.argv[2]))
vectors = [encoder.encode_images([Image.new("RGB", (30, 91), "red")]), encoder.encode_texts(["nuclei"])]
heavy = {"torch", "transformers", "torchvision", "sentencepiece", "onnx"} & set(sys.modules)
print(json.dumps([encoder.runtime, encoder.fingerprint, sorted(heavy), [v.tolist() for v in vectors]]))
"""


@pytest.mark.parametrize(
    ("family", "options"), [*((family, {}) for family in FIXED), ("siglip", {"precision": "int8"})], ids=str
)
def test_after_an_export_a_query_loads_neither_torch_nor_transformers(
    family: str, options: dict[str, Any], checkpoints: dict[str, Path]
) -> None:
    folder = checkpoints[family]
    wanted = load(folder, **{"runtime": "onnx", **options})
    command = [sys.executable, "-c", QUERY, f"transformers:{folder}", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.stderr == ""
    runtime, fingerprint, heavy, (image, text) = json.loads(done.stdout)
    assert (runtime, fingerprint, heavy) == ("onnx", wanted.fingerprint, [])
    np.testing.assert_allclose(image, wanted.encode_images([Image.new("RGB", (30, 91), "red")]), atol=1e-5)
    np.testing.assert_allclose(text, wanted.encode_texts(["nuclei"]), atol=1e-5)


def test_auto_is_torch_until_there_is_an_export(
    checkpoints: dict[str, Path], own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="ragvlm")
    folder = checkpoints["siglip"]
    assert load(folder).runtime == "torch"
    assert not list(own_cache.rglob("*.onnx"))
    export_towers(f"transformers:{folder}")
    assert "preparing siglip-fp32 for ONNX Runtime (the first time only)" in caplog.text
    assert load(folder).runtime == load(folder, device="cpu", dtype="float32").runtime == "onnx"
    assert load(folder, runtime="torch").runtime == load(folder, dtype="bfloat16").runtime == "torch"


def test_auto_is_torch_where_torch_would_use_a_gpu(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(checkpoints["clip"], runtime="onnx")
    monkeypatch.setattr(transformers_dual, "sees_gpu", lambda: True)
    assert load(checkpoints["clip"]).runtime == "torch"
    assert load(checkpoints["clip"], device="cpu").runtime == "onnx"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_report_says_what_was_measured(precision: str, checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["siglip"]
    plain = export_towers(f"transformers:{folder}", precision=precision)
    report = export_towers(f"transformers:{folder}", precision=precision, pictures=PICTURES, texts=TEXTS)
    assert report.folder == plain.folder  # nothing was made anew
    assert [tower.tower for tower in report.towers] == ["image", "text"]
    torch = load(folder, runtime="torch")
    found = load(folder, runtime="onnx", precision=precision)
    own = {"image": (torch.encode_images(PICTURES) * found.encode_images(PICTURES)).sum(axis=1)}
    own["text"] = np.array([(torch.encode_texts([t]) * found.encode_texts([t])).sum() for t in TEXTS])
    for tower, before, more in zip(report.towers, plain.towers, (PICTURES, TEXTS), strict=True):
        assert tower.probes == before.probes + len(more)
        assert tower.least_cosine == pytest.approx(min(before.least_cosine, own[tower.tower].min()), abs=1e-3)
        assert 0.99 < tower.least_cosine <= tower.mean_cosine <= 1 + 1e-9
        assert tower.bytes > 10_000
        assert f"mean {tower.mean_cosine:.6f}" in str(report)
    if precision == "fp32":
        assert report.towers[0].least_cosine > 0.999999
    json.dumps(report.to_dict())


def test_int8_is_another_encoder_that_its_options_give_again(checkpoints: dict[str, Path]) -> None:
    folder = checkpoints["clip"]
    exact, int8 = load(folder, runtime="onnx"), load(folder, precision="int8")
    assert int8.runtime == "onnx"
    assert int8.fingerprint != exact.fingerprint
    again = load_encoder(int8.name, **int8.options)
    assert (again.fingerprint, again.options) == (int8.fingerprint, {"dtype": "float32", "precision": "int8"})
    assert np.abs(int8.encode_images(PICTURES) - exact.encode_images(PICTURES)).max() > 1e-4
    for name in ("image.onnx.data", "text.onnx.data"):
        small, large = ((towers.folder / name).stat().st_size for towers in (int8._towers, exact._towers))  # type: ignore[union-attr]
        assert small < large / 2


@pytest.fixture
def smears(shared_data: Path) -> Corpus:
    corpus = Corpus.load(shared_data / "blood-cells")
    return Corpus.from_records(corpus.records[:6], root=corpus.root, name="smears")


@pytest.mark.parametrize(
    ("family", "builder", "reader"), [("clip", "torch", "onnx"), ("clip", "onnx", "torch"), ("siglip", "torch", "onnx")]
)
def test_an_index_of_one_runtime_is_asked_by_the_other(
    family: str, builder: str, reader: str, checkpoints: dict[str, Path], smears: Corpus, tmp_path: Path
) -> None:
    folder = checkpoints[family]
    Index.build(smears, tmp_path / "index", encoder=load(folder, runtime=builder), hash_subject=False, calibrate=False)
    index = Index.open(tmp_path / "index", encoder=load(folder, runtime=reader))
    record = smears.records[3]
    assert index.search(str(smears.image_path(record)), k=3)[0].record.id == record.id
    assert index.search(str(record.caption), k=3)[0].score == pytest.approx(1, abs=2e-3)  # half precision on disk


def test_an_index_in_int8_opens_by_its_manifest_and_by_no_other_precision(
    checkpoints: dict[str, Path], smears: Corpus, tmp_path: Path
) -> None:
    folder = checkpoints["clip"]
    Index.build(smears, tmp_path / "index", encoder=load(folder, precision="int8"), hash_subject=False, calibrate=False)
    index = Index.open(tmp_path / "index")
    assert index.encoder.options["precision"] == "int8"
    assert index.search(str(smears.image_path(smears.records[2])), k=1)[0].record.id == smears.records[2].id
    with pytest.raises(EncoderMismatchError):
        Index.open(tmp_path / "index", encoder=load(folder))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit of a weight": lambda folder: flip(folder / "image.onnx.data"),
    "one bit of a graph": lambda folder: flip(folder / "text.onnx"),
    "one bit of the tokenizer": lambda folder: flip(folder / "tokenizer.json"),
    "one bit of the facts": lambda folder: flip(folder / "export.json"),
    "no weights": lambda folder: (folder / "text.onnx.data").unlink(),
    "no facts": lambda folder: (folder / "export.json").unlink(),
    "half the weights": lambda folder: os.truncate(folder / "image.onnx.data", 1000),
}


@pytest.fixture
def made(checkpoints: dict[str, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CLIP's export in a copy of the cache, to be damaged."""
    load(checkpoints["clip"], runtime="onnx")
    shutil.copytree(cache, tmp_path / "cache")
    monkeypatch.setenv("RAGVLM_CACHE", str(tmp_path / "cache"))
    (found,) = (tmp_path / "cache" / "onnx").glob("clip-fp32-*.*[0-9a-f]")
    return found


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_export_is_not_used(damage: str, checkpoints: dict[str, Path], made: Path) -> None:
    assert load(checkpoints["clip"]).runtime == "onnx"
    DAMAGES[damage](made)
    assert load(checkpoints["clip"]).runtime == "torch"


def test_a_damaged_export_is_made_again(checkpoints: dict[str, Path], made: Path) -> None:
    folder = checkpoints["clip"]
    wanted = load(folder).encode_texts(TEXTS)
    flip(made / "text.onnx.data")
    again = load(folder, runtime="onnx")
    assert again.runtime == load(folder).runtime == "onnx"
    np.testing.assert_allclose(again.encode_texts(TEXTS), wanted, atol=1e-6)
    assert len(list(made.parent.glob("clip-fp32-*.*[0-9a-f]"))) == 1


def test_changed_weights_never_meet_an_old_export(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(checkpoints["clip"], tmp_path / "clip"))
    before = load(folder, runtime="onnx")
    assert load(folder).runtime == "onnx"
    tensors = load_file(folder / "model.safetensors")
    tensors["visual_projection.weight"] *= -1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    after = load(folder)
    assert after.runtime == "torch"
    assert after.fingerprint != before.fingerprint
    np.testing.assert_allclose(after.encode_images(PICTURES), -before.encode_images(PICTURES), atol=1e-5)


def test_pictures_of_native_shape_are_refused_and_torch_stays(checkpoints: dict[str, Path], own_cache: Path) -> None:
    folder = checkpoints["siglip2"]
    with pytest.raises(
        RagvlmError, match=r"can't run on ONNX Runtime: its image tower takes .+runtime 'torch'"
    ) as error:
        load(folder, runtime="onnx")
    assert "\n" not in str(error.value)
    assert load(folder).runtime == "torch"
    assert not [path for path in own_cache.rglob("*") if path.suffix != ".lock" and path.is_file()]


UNFAITHFUL = {
    "pixels": ("light.PixelRule.pixels", lambda self, images: np.zeros((len(images), 3, 32, 32), np.float32), "rules"),
    "tokens": ("light.TokenRule.tokens", lambda *_: {"input_ids": np.zeros((1, 3), np.int64)}, "disagree on the text"),
    "towers": ("onnx_towers.OnnxTowers.image_batch", lambda self, images: PROBE[: len(images)], r"torch \(cosine"),
}
PROBE = np.eye(24, dtype=np.float32)


@pytest.mark.parametrize("part", list(UNFAITHFUL))
def test_an_unfaithful_copy_is_refused(
    part: str, checkpoints: dict[str, Path], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, replacement, message = UNFAITHFUL[part]
    monkeypatch.setattr(f"ragvlm.encoders.{target}", replacement)
    with pytest.raises(RagvlmError, match=message):
        load(checkpoints["clip"], runtime="onnx")
    assert not list(own_cache.rglob("*.onnx"))


@pytest.mark.parametrize(("precision", "step"), [("fp32", "the export"), ("int8", "quantising")])
def test_too_little_memory_is_one_line(
    precision: str, step: str, checkpoints: dict[str, Path], made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in made.parent.glob(f"clip-{precision}-*.*[0-9a-f]"):
        shutil.rmtree(folder)
    monkeypatch.setattr(export_dual, "check_memory", _nothing_free)
    with pytest.raises(RagvlmError, match=f"{step} needs 0.0 GB on cpu, which has 0.0 GB free") as error:
        load(checkpoints["clip"], runtime="onnx", precision=precision)
    assert "\n" not in str(error.value)
    assert not list(made.parent.glob(f"clip-{precision}-*/*"))


def _nothing_free(what: str, needed: int, device: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_tools, "free_memory", lambda device: 1000)
        torch_tools.check_memory(what, needed, device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tensorrt"}, "runtime 'tensorrt': give one of auto, torch, onnx"),
        ({"precision": "int4"}, "precision 'int4': give one of fp32, int8"),
        ({"precision": "int8", "runtime": "torch"}, "'int8' runs on ONNX Runtime only"),
        ({"runtime": "onnx", "dtype": "bfloat16"}, "float32 on the CPU here, not in bfloat16 on auto"),
        ({"precision": "int8", "device": "cuda"}, "float32 on the CPU here, not in auto on cuda"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, str], message: str, checkpoints: dict[str, Path]
) -> None:
    with pytest.raises(InputError, match=message):
        load(checkpoints["clip"], **options)


def test_only_dual_encoders_are_exported(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="encoder 'embedded' has no export: choose a dual encoder"):
        export_towers("embedded")
    with pytest.raises(InputError, match="export_towers takes no device"):
        export_towers(f"transformers:{checkpoints['clip']}", device="cpu")


def test_without_onnx_runtime_auto_is_torch_and_onnx_names_the_extra(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("importlib.util.find_spec", _without("onnxruntime"))
    assert load(checkpoints["clip"]).runtime == "torch"
    with pytest.raises(MissingExtraError, match=r"'onnxruntime' is not installed: pip install \"ragvlm\[onnx\]\""):
        load(checkpoints["clip"], runtime="onnx")


def _without(absent: str) -> Callable[..., Any]:
    import importlib.util

    true = importlib.util.find_spec
    return lambda name, *rest: None if name == absent else true(name, *rest)


def test_the_probes_are_the_same_everywhere() -> None:
    first, second = probe_pictures(3), probe_pictures(3)
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, second, strict=True))
    assert [picture.size for picture in first] == [(640, 480), (224, 224), (91, 133)]
