"""Dual encoders of transformers -> ONNX towers in the cache, with the proof that both say the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders.export import AGREEMENT, trace
from ragvlm.encoders.light import PixelRule, TokenRule
from ragvlm.encoders.onnx_cache import cached_folder, read_facts
from ragvlm.encoders.onnx_towers import INT8, TOWERS, OnnxTowers, export_key
from ragvlm.encoders.probes import piece_texts, probe_pictures, probe_texts
from ragvlm.encoders.quantise import quietly
from ragvlm.encoders.tokenizer_json import tokenizer_json
from ragvlm.encoders.torch_tools import check_memory, choose_device
from ragvlm.encoders.torch_towers import TorchTowers, vector
from ragvlm.errors import RagvlmError, require
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

_PIXELS_WITHIN = 1e-5
_MEMORY = {"fp32": 1.3, "int8": 2.2}  # bytes beyond the loaded weights per byte of them, measured at 4.5 GB
_KNOWN_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_METHODS = {"image": "get_image_features", "text": "get_text_features"}


@dataclass(frozen=True, slots=True)
class TowerReport:
    """One exported tower: ``bytes`` on disk, and cosines of its vectors to those of torch in float32, by probe."""

    tower: str
    file: Path
    bytes: int
    probes: int
    least_cosine: float
    mean_cosine: float


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What ``export_towers`` made or found; ``str`` of it is a table."""

    encoder: str
    precision: str
    folder: Path
    towers: tuple[TowerReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        towers = [asdict(tower) | {"file": str(tower.file)} for tower in self.towers]
        return {"encoder": self.encoder, "precision": self.precision, "folder": str(self.folder), "towers": towers}

    def __str__(self) -> str:
        lines = [f"{self.encoder} in {self.precision}: {self.folder}"]
        lines += [
            f"  {t.tower:5}  {t.file.name}  {t.bytes / 1e6:.1f} MB  cosine to torch float32 on {t.probes} probes: "
            f"least {t.least_cosine:.6f}, mean {t.mean_cosine:.6f}"
            for t in self.towers
        ]
        return "\n".join(lines)


def exported(model: str, digests: Mapping[str, str], precision: str, load: Callable[[], TorchTowers]) -> Path:
    """The folder in the cache with both towers, made where it is absent or damaged; int8 is made from fp32.

    ``load`` gives the torch towers (float32, CPU). Raises RagvlmError for a checkpoint that ONNX Runtime or the light
    preprocessing can't follow, MissingExtraError without ``ragvlm[onnx]``, StoreError for a cache it can't write to.
    """

    def export(folder: Path) -> Mapping[str, Any]:
        try:
            return _export(folder, load())
        except RagvlmError as error:
            raise type(error)(f"{model} can't run on ONNX Runtime: {error}; runtime 'torch' runs it") from error

    for package in ("onnx", "onnxruntime", "tokenizers"):
        require(package, "onnx")
    exact = cached_folder(*export_key(model, digests, "fp32"), export)
    if precision == "fp32":
        return exact
    return cached_folder(*export_key(model, digests, precision), lambda folder: _quantise(exact, folder, load))


def report(
    encoder: str, folder: Path, towers: TorchTowers, pictures: Sequence[Image], texts: Sequence[str]
) -> ExportReport:
    """What ``folder`` holds, with the cosines on the own probes and on ``pictures`` and ``texts``."""
    facts = read_facts(folder)
    given = cosines(towers, OnnxTowers(folder, facts), pictures, texts)
    rows = []
    for tower in TOWERS:
        all_of_them = [*facts["cosines"][tower], *given[tower]]
        size = sum(path.stat().st_size for path in folder.glob(f"{tower}.onnx*"))
        least, mean = float(min(all_of_them)), float(np.mean(all_of_them))
        rows.append(TowerReport(tower, folder / f"{tower}.onnx", size, len(all_of_them), least, mean))
    return ExportReport(encoder, facts["precision"], folder, tuple(rows))


def cosines(
    wanted: TorchTowers, found: OnnxTowers, pictures: Sequence[Image], texts: Sequence[str]
) -> dict[str, list[float]]:
    """Tower -> cosine of ONNX Runtime's vector to torch's for every probe, in batches of four."""
    return {
        "image": _cosines(wanted.image_batch, found.image_batch, pictures),
        "text": _cosines(wanted.text_batch, found.text_batch, texts),
    }


def _cosines(wanted: Callable[[Any], Float32], found: Callable[[Any], Float32], probes: Sequence[Any]) -> list[float]:
    rows: list[float] = []
    for start in range(0, len(probes), 4):
        a, b = (batch(probes[start : start + 4]).astype(np.float64) for batch in (wanted, found))
        rows += ((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).tolist()
    return rows


def _export(folder: Path, towers: TorchTowers) -> Mapping[str, Any]:
    size = sum(weights.nbytes for weights in towers.net.parameters())
    check_memory("the export", int(_MEMORY["fp32"] * size), towers.device)
    pixels, tokens = _light(towers, folder / "tokenizer.json")
    inputs = {"image": {"pixel_values": {0: "n"}}, "text": {key: {0: "n", 1: "tokens"} for key in tokens.inputs}}
    samples = {"image": towers.pixels(probe_pictures(2)), "text": towers.tokens(probe_texts()[:3])}
    for tower in TOWERS:
        _write(towers.net, tower, samples[tower], inputs[tower], folder)
    facts = {
        "precision": "fp32",
        "dim": int(towers.text_batch(["a"]).shape[1]),
        "logit_scale": towers.logit_scale,
        "logit_bias": towers.logit_bias,
        "pixels": asdict(pixels),
        "tokens": asdict(tokens),
    }
    agreement = cosines(towers, OnnxTowers(folder, facts), probe_pictures(6), probe_texts())
    for tower, values in agreement.items():
        if not min(values) > AGREEMENT:
            raise RagvlmError(f"the exported {tower} tower disagrees with torch (cosine {min(values):.6f})")
    return {**facts, "cosines": agreement}


def _write(net: Any, tower: str, sample: Mapping[str, Any], axes: dict[str, dict[int, str]], folder: Path) -> None:
    """The weights go into a file of their own: protobuf ends at 2 GB, and ONNX Runtime maps such a file into memory."""
    import onnx
    import torch

    class Tower(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *inputs: Any) -> Any:
            return vector(getattr(self.net, _METHODS[tower])(**dict(zip(axes, inputs, strict=True))))

    raw, name = folder / "raw", f"{tower}.onnx"
    raw.mkdir()
    trace(Tower(), {key: sample[key] for key in axes}, axes, str(raw / name))
    whole = onnx.load(raw / name)
    shutil.rmtree(raw)
    onnx.save_model(
        whole, folder / name, save_as_external_data=True, all_tensors_to_one_file=True, location=f"{name}.data"
    )


def _light(towers: TorchTowers, path: Path) -> tuple[PixelRule, TokenRule]:
    """The rules that stand for processor and tokenizer; the tokenizer is written to ``path``.

    Raises RagvlmError unless both say on the probes what transformers says.
    """
    pictures = probe_pictures()
    wanted = towers.pixels(pictures)
    if set(wanted) != {"pixel_values"}:
        raise RagvlmError(f"its image tower takes {', '.join(sorted(wanted))}, not one array of pixels")
    pixels = PixelRule.of_processor(towers.processor.to_dict())
    found, expected = pixels.pixels(pictures), wanted["pixel_values"].numpy()
    if found.shape != expected.shape or np.abs(found - expected).max() > _PIXELS_WITHIN:
        raise RagvlmError(f"{type(towers.processor).__name__} prepares pictures by rules of its own")
    path.write_text(tokenizer_json(towers.tokenizer), encoding="utf-8")
    tokens = _token_rule(towers)
    tokenizer = tokens.open(path)
    special = set(towers.tokenizer.all_special_tokens)
    vocabulary = [piece for piece in towers.tokenizer.get_vocab() if piece not in special]
    for text in [*probe_texts(), *piece_texts(vocabulary)]:
        same = {name: ids.numpy() for name, ids in towers.tokens([text]).items()}
        if any(not np.array_equal(ids, same[name]) for name, ids in tokens.tokens(tokenizer, [text]).items()):
            raise RagvlmError(f"its tokenizer and the copy of it disagree on the text {text[:40]!r}")
    return pixels, tokens


def _token_rule(towers: TorchTowers) -> TokenRule:
    tokenizer = towers.tokenizer
    inputs = tuple(towers.tokens(["a"]))
    if not set(inputs) <= _KNOWN_INPUTS or tokenizer.pad_token_id is None:
        raise RagvlmError(f"its text tower takes {', '.join(inputs)} with padding {tokenizer.pad_token!r}")
    return TokenRule(
        length=towers.context,
        pad_to_full=towers.pads_to_full,
        pad_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        pad_side=tokenizer.padding_side,
        cut_side=tokenizer.truncation_side,
        inputs=inputs,
    )


def _quantise(exact: Path, folder: Path, load: Callable[[], TorchTowers]) -> Mapping[str, Any]:
    """int8 copies of the towers in ``exact``. The convolution that cuts the patches stays: its int8 form is slow."""
    size = sum(path.stat().st_size for path in exact.iterdir())
    check_memory("quantising", int(_MEMORY["int8"] * size), choose_device("cpu"))
    shutil.copy(exact / "tokenizer.json", folder)
    with quietly():
        from onnxruntime.quantization import QuantType, quantize_dynamic

        for tower in TOWERS:
            quantize_dynamic(
                exact / f"{tower}.onnx",
                folder / f"{tower}.onnx",
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=True,
            )
    facts = {key: value for key, value in read_facts(exact).items() if key not in {"files", "cosines"}}
    facts |= {"precision": "int8", "quantisation": INT8}
    return {**facts, "cosines": cosines(load(), OnnxTowers(folder, facts), probe_pictures(6), probe_texts())}
