"""The two towers of a dual encoder of transformers, run by torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.encoders import hub
from ragvlm.encoders.contrast import learnt_numbers
from ragvlm.encoders.light import input_side
from ragvlm.encoders.loading import one_error
from ragvlm.encoders.torch_tools import check_memory, memory_errors
from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

_NEEDED = ("get_image_features", "get_text_features")


class TorchTowers:
    """``net``, ``processor`` and ``tokenizer`` of the checkpoint in ``folder``; ``model`` names it in messages.

    ``context`` is the longest text in tokens; ``pads_to_full`` says that every text is padded to it. Raises InputError
    for a model that isn't a dual encoder, RagvlmError for one that is incomplete or too large for the memory.
    """

    def __init__(self, model: str, folder: Path, device: Any, dtype: Any, *, trust: bool) -> None:
        self.device, self.dtype = device, dtype
        check_memory(f"{model} (weights alone)", hub.weight_bytes(folder), device)
        with one_error(model), memory_errors(model, device):
            self.net, self.processor, self.tokenizer = _parts(folder, dtype, trust)
            self.net.to(device).eval()
        self.input_size = input_side(self.processor.to_dict())
        text = getattr(self.net.config, "text_config", self.net.config)
        self.context = int(getattr(text, "max_position_embeddings", self.tokenizer.model_max_length))
        self.logit_scale, self.logit_bias = learnt_numbers(self.net.logit_scale, getattr(self.net, "logit_bias", None))
        # SigLIP was trained on texts padded to the full length, and reads its vector from the last place
        self.pads_to_full = self.logit_bias is not None

    def pixels(self, images: Sequence[Image]) -> Any:
        """The image tower's inputs by name: tensors."""
        return self.processor(images=list(images), return_tensors="pt")

    def tokens(self, texts: Sequence[str]) -> Any:
        """The text tower's inputs by name: tensors (n, tokens)."""
        padding = "max_length" if self.pads_to_full else "longest"
        return self.tokenizer(
            list(texts), padding=padding, truncation=True, max_length=self.context, return_tensors="pt"
        )

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, dim)."""
        return self.input_batch([self.image_input(image) for image in images])

    def image_input(self, image: Image) -> dict[str, Any]:
        """The image tower's inputs by name: tensors (1, ...)."""
        return dict(self.pixels([image]))

    def input_batch(self, inputs: Sequence[Mapping[str, Any]]) -> Float32:
        """float32 (n, dim)."""
        import torch

        joined = {name: torch.cat([one[name] for one in inputs]).to(self.device) for name in inputs[0]}
        floats = {name: value.to(self.dtype) for name, value in joined.items() if value.is_floating_point()}
        return self._run("get_image_features", joined | floats, f"{len(inputs)} pictures")

    def patch_batch(self, images: Sequence[Image], name: str) -> Float32:
        """A vector a patch of square pictures: float32 (n, rows, columns, dim). Raises InputError: no ViT."""
        import torch

        from ragvlm.encoders.dense import of_transformers

        pixels = self.pixels(images)["pixel_values"].to(self.device, self.dtype)
        with memory_errors(f"{len(images)} pictures", self.device), torch.inference_mode():
            vectors: Float32 = of_transformers(self.net, pixels, name).float().cpu().numpy()
        return vectors

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, dim)."""
        return self._run("get_text_features", self.tokens(texts).to(self.device), f"{len(texts)} texts")

    def _run(self, method: str, inputs: Any, what: str) -> Float32:
        import torch

        with memory_errors(what, self.device), torch.inference_mode():
            vectors: Float32 = vector(getattr(self.net, method)(**inputs)).float().cpu().numpy()
        return vectors


def vector(found: Any) -> Any:
    """The tensor: in an output object in transformers 5, by itself in older code that a checkpoint may bring."""
    return getattr(found, "pooler_output", found)


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
        folder, config=config, dtype=dtype, **hub.reading(folder), output_loading_info=True, **options
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
