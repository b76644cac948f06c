"""Any dual encoder of transformers that was trained by contrast: CLIP, SigLIP, SigLIP 2 and their relatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.encoders import hub
from ragvlm.encoders.base import fingerprint
from ragvlm.encoders.contrast import ContrastiveEncoder
from ragvlm.encoders.loading import one_error
from ragvlm.encoders.torch_tools import check_memory, choose_device, choose_dtype, import_package, memory_errors
from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

_NEEDED = ("get_image_features", "get_text_features")


class TransformersEncoder(ContrastiveEncoder):
    """A CLIP, SigLIP or SigLIP 2 checkpoint with its own preprocessing and tokenizer; one space for both towers.

    ``model`` is "ORG/NAME" or "ORG/NAME@REVISION" (from the hub's cache, else downloaded) or a folder. ``revision``
    is a branch, a tag or a commit. ``device`` is "auto" (CUDA, else MPS, else the CPU) or a torch device; ``dtype``
    is "auto" (bfloat16 on a CUDA device that computes with it, else float32), "float32", "bfloat16" or "float16".
    Weights are read from safetensors alone. ``trust_remote_code`` runs the Python code that a checkpoint brings.

    Pictures are prepared by transformers' Pillow processor, whether torchvision is there or not, so that the vectors
    are the same. A text beyond the model's context length is cut. Radford et al., ICML 2021, arXiv:2103.00020; Zhai et
    al., ICCV 2023, arXiv:2303.15343; Tschannen et al., 2025, arXiv:2502.14786.

    Raises MissingExtraError without ``ragvlm[transformers]``, InputError for a name, device or dtype that can't be and
    for a model that isn't a dual encoder, and RagvlmError for a model that is neither cached nor within reach, gated,
    incomplete, too large for the memory, or in want of remote code that isn't trusted.
    """

    def __init__(
        self,
        model: str = "",
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size)
        self.model, self.revision = hub.split_revision(model, revision)
        folder = hub.checkpoint(self.model, self.revision, code=trust_remote_code)
        if hub.brings_code(folder) and not trust_remote_code:
            raise RagvlmError(
                f"{self.model} brings Python code of its own, which would run with your rights: "
                f"read the .py files of the checkpoint, then give trust_remote_code=True"
            )
        import_package("transformers", "transformers", "AutoModel")
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.name = f"transformers:{self.model}" + (f"@{self.revision}" if self.revision else "")
        self.shared_space = True
        self.fingerprint = fingerprint(
            # the files hold weights, architecture with its pooling, preprocessing and tokenizer
            {"files": hub.file_digests(folder, code=trust_remote_code), "dtype": str(self.dtype)}
        )
        self._load(folder, trust_remote_code)
        self.image_dim = self.text_dim = self.text_batch(["a"]).shape[1]

    def _load(self, folder: Path, trust_remote_code: bool) -> None:
        size = hub.weight_bytes(folder)
        check_memory(f"{self.model} (weights alone)", size, self.device)
        with one_error(self.model), memory_errors(self.model, self.device):
            self._net, self._processor, self._tokenizer = _parts(folder, self.dtype, trust_remote_code)
            self._net.to(self.device).eval()
        self._set_contrast(self._net.logit_scale, getattr(self._net, "logit_bias", None))
        text = getattr(self._net.config, "text_config", self._net.config)
        self._context = int(getattr(text, "max_position_embeddings", self._tokenizer.model_max_length))

    @property
    def options(self) -> dict[str, str]:
        """The number type: another machine would choose its own."""
        return {"dtype": str(self.dtype).removeprefix("torch.")}

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim)."""
        inputs = self._processor(images=list(images), return_tensors="pt").to(self.device, self.dtype)
        return self._run("get_image_features", inputs, f"{len(images)} pictures")

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, text_dim)."""
        # SigLIP was trained on texts padded to the full length, and reads its vector from the last place
        padding = "max_length" if self.probability_rule == "sigmoid" else "longest"
        tokens = self._tokenizer(
            list(texts), padding=padding, truncation=True, max_length=self._context, return_tensors="pt"
        )
        return self._run("get_text_features", tokens.to(self.device), f"{len(texts)} texts")

    def _run(self, method: str, inputs: Any, what: str) -> Float32:
        import torch

        with memory_errors(what, self.device), torch.inference_mode():
            found = getattr(self._net, method)(**inputs)
            # an output object in transformers 5, a tensor in older code that a checkpoint may bring
            vectors: Float32 = getattr(found, "pooler_output", found).float().cpu().numpy()
        return vectors


def _parts(folder: Path, dtype: Any, trust: bool) -> tuple[Any, Any, Any]:
    """Model, image processor and tokenizer from a folder, where alone they are looked for."""
    from transformers import MODEL_MAPPING, AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

    options = {"trust_remote_code": trust, "local_files_only": True}
    config = AutoConfig.from_pretrained(folder, **options)
    known = MODEL_MAPPING.get(type(config), None)
    # checked before the weights are read: they may be large
    if not trust and not all(hasattr(known, name) for name in _NEEDED):
        raise _not_dual(config)
    net, found = AutoModel.from_pretrained(
        folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
    )
    if not all(hasattr(net, name) for name in (*_NEEDED, "logit_scale")):
        raise _not_dual(config)
    absent = sorted(found["missing_keys"])
    if absent:  # transformers fills them with random numbers
        raise RagvlmError(f"{len(absent)} weights are missing, the first is {absent[0]!r}")
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **options)
    return net, processor, AutoTokenizer.from_pretrained(folder, **options)


def _not_dual(config: Any) -> InputError:
    return InputError(
        f"it is a {config.model_type!r} model, not a dual encoder such as CLIP or SigLIP: choose another model"
    )
