"""Any dual encoder of transformers that was trained by contrast: CLIP, SigLIP, SigLIP 2 and their relatives."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ragvlm.encoders import hub
from ragvlm.encoders.base import fingerprint
from ragvlm.encoders.contrast import ContrastiveEncoder
from ragvlm.encoders.onnx_cache import find_folder, read_facts
from ragvlm.encoders.onnx_towers import INT8, PRECISIONS, OnnxTowers, export_key
from ragvlm.encoders.torch_tools import DTYPES, choose_device, choose_dtype, import_package, sees_gpu
from ragvlm.errors import InputError
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.encoders.export_dual import ExportReport
    from ragvlm.encoders.torch_towers import TorchTowers

RUNTIMES = ("auto", "torch", "onnx")


class TransformersEncoder(ContrastiveEncoder):
    """A CLIP, SigLIP or SigLIP 2 checkpoint with its own preprocessing and tokenizer; one space for both towers.

    ``model`` is "ORG/NAME" or "ORG/NAME@REVISION" (from the hub's cache, else downloaded) or a folder. ``revision``
    is a branch, a tag or a commit. ``device`` is "auto" (CUDA, else MPS, else the CPU) or a torch device; ``dtype``
    is "auto" (bfloat16 on a CUDA device that computes with it, else float32), "float32", "bfloat16" or "float16".
    Weights are read from safetensors, else from a state dict of plain tensors.
    ``trust_remote_code`` runs the Python code that a checkpoint brings.

    ``runtime`` is "torch"; "onnx", which computes on the CPU and loads neither torch nor transformers once both towers
    are exported (at the first use, or by ``export_towers``); or "auto": "onnx" where intact exports of exactly these
    files are in the cache and torch would compute float32 on the CPU, else "torch". Both give the same vectors (cosine
    above 0.9999, checked at the export) and the same fingerprint. ``precision`` "int8" is another encoder: quantised
    weights, ONNX Runtime only. What was chosen is in ``runtime``.

    Pictures are prepared by transformers' Pillow processor, whether torchvision is there or not, so that the vectors
    are the same. A text beyond the model's context length is cut. Radford et al., ICML 2021, arXiv:2103.00020; Zhai et
    al., ICCV 2023, arXiv:2303.15343; Tschannen et al., 2025, arXiv:2502.14786.

    Raises MissingExtraError without ``ragvlm[transformers]`` (``ragvlm[onnx]`` for exports), InputError for a name,
    device, dtype, runtime or precision that can't be and for a model that isn't a dual encoder, and RagvlmError for a
    model that is neither cached nor within reach, gated, incomplete, too large for the memory, in want of remote code
    that isn't trusted, or beyond what ONNX Runtime can be given.
    """

    fetch = staticmethod(hub.fetcher())

    def __init__(
        self,
        model: str = "",
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
        trust_remote_code: bool = False,
        runtime: str = "auto",
        precision: str = "fp32",
    ) -> None:
        super().__init__(batch_size=batch_size)
        _check(runtime, precision, device, dtype)
        self.model, self.revision = hub.split_revision(model, revision)
        self._trust = trust_remote_code
        self._folder = hub.checkpoint(self.model, self.revision, code=trust_remote_code)
        if hub.brings_code(self._folder) and not trust_remote_code:
            raise hub.untrusted(self.model)
        # the files hold weights, architecture with its pooling, preprocessing and tokenizer
        self._digests = hub.file_digests(self._folder, code=trust_remote_code)
        self.name = f"transformers:{hub.pinned(self.model, self.revision, self._folder)}"
        self.precision, self.shared_space = precision, True
        self.device: Any
        self.dtype: Any
        self._towers: TorchTowers | OnnxTowers
        export = self._find_export(runtime, device, dtype)
        if export:
            self._use_onnx(export)
        else:
            self._use_torch(device, dtype)
        self.input_size = self._towers.input_size
        quantised = {"precision": precision, "quantisation": INT8} if precision == "int8" else {}
        self.fingerprint = fingerprint({"files": self._digests, "dtype": str(self.dtype)} | quantised)

    @property
    def options(self) -> dict[str, str]:
        """The number type, which another machine would choose for itself, and the precision."""
        quantised = {} if self.precision == "fp32" else {"precision": self.precision}
        return {"dtype": str(self.dtype).removeprefix("torch.")} | quantised

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim)."""
        return self._towers.image_batch(images)

    def image_input(self, image: Image) -> Any:
        """What the image tower takes of a picture."""
        return self._towers.image_input(image)

    def input_batch(self, inputs: Sequence[Any]) -> Float32:
        """float32 (n, image_dim)."""
        return self._towers.input_batch(inputs)

    def patch_batch(self, images: Sequence[Image]) -> Float32:
        """A vector a patch of square pictures, by torch: float32 (n, rows, columns, dim). Raises InputError: no ViT."""
        return self._dense_towers.patch_batch(images, self.name)

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, text_dim)."""
        return self._towers.text_batch(texts)

    def export(
        self, precision: str = "fp32", *, pictures: Sequence[Image] = (), texts: Sequence[str] = ()
    ) -> ExportReport:
        """Both towers as ONNX in the cache, with their cosines to torch: see ``ragvlm.encoders.export_towers``."""
        from ragvlm.encoders.export_dual import exported, report

        _check("auto", precision, "cpu", "float32")
        exact = self.runtime == "torch" and (str(self.device), str(self.dtype)) == ("cpu", "torch.float32")
        towers: Any = self._towers if exact else self._torch_towers("cpu", "float32")
        folder = exported(self.model, self._digests, precision, lambda: towers)
        return report(self.name, folder, towers, pictures, texts)

    def _find_export(self, runtime: str, device: str, dtype: str) -> Path | None:
        """The folder with the exported towers, made first where they are asked for; None where torch shall run."""
        if runtime == "onnx" or self.precision == "int8":
            found = find_folder(*export_key(self.model, self._digests, self.precision))
            return found or self._make_export()
        fits = device in {"auto", "cpu"} and dtype in {"auto", "float32"} and not (device == "auto" and sees_gpu())
        installed = all(importlib.util.find_spec(package) for package in ("onnxruntime", "tokenizers"))
        if runtime == "torch" or not fits or not installed:
            return None
        return find_folder(*export_key(self.model, self._digests, "fp32"))

    def _make_export(self) -> Path:
        from ragvlm.encoders.export_dual import exported

        load = cache(lambda: self._torch_towers("cpu", "float32"))
        return exported(self.model, self._digests, self.precision, load)

    def _use_onnx(self, folder: Path) -> None:
        self._towers = towers = OnnxTowers(folder, read_facts(folder))
        self.runtime, self.device, self.dtype = "onnx", "cpu", "torch.float32"
        self._set_scale(towers.logit_scale, towers.logit_bias)
        self.image_dim = self.text_dim = towers.dim
        logging.getLogger(__name__).info("%s runs on ONNX Runtime (%s)", self.name, folder)

    def _use_torch(self, device: str, dtype: str) -> None:
        self._towers = towers = self._torch_towers(device, dtype)
        self.runtime, self.device, self.dtype = "torch", towers.device, towers.dtype
        self._set_scale(towers.logit_scale, towers.logit_bias)
        self.image_dim = self.text_dim = self.text_batch(["a"]).shape[1]

    @cached_property
    def _dense_towers(self) -> TorchTowers:
        # an export has no patches to give
        towers: Any = self._towers if self.runtime == "torch" else self._torch_towers("cpu", "float32")
        return cast("TorchTowers", towers)

    def _torch_towers(self, device: str, dtype: str) -> TorchTowers:
        from ragvlm.encoders.torch_towers import TorchTowers

        import_package("transformers", "transformers", "AutoModel")
        chosen = choose_device(device)
        return TorchTowers(self.model, self._folder, chosen, choose_dtype(dtype, chosen), trust=self._trust)


def _check(runtime: str, precision: str, device: str, dtype: str) -> None:
    if runtime not in RUNTIMES:
        raise InputError(f"runtime {runtime!r}: give one of {', '.join(RUNTIMES)}")
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}: give one of {', '.join(PRECISIONS)}")
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: give one of {', '.join(DTYPES)}")
    if precision == "int8" and runtime == "torch":
        raise InputError("precision 'int8' runs on ONNX Runtime only: leave runtime out, or give precision fp32")
    onnx = runtime == "onnx" or precision == "int8"
    if onnx and (device not in {"auto", "cpu"} or dtype not in {"auto", "float32"}):
        raise InputError(
            f"ONNX Runtime computes in float32 on the CPU here, not in {dtype} on {device}: "
            "leave device and dtype out, or give runtime torch and precision fp32"
        )
