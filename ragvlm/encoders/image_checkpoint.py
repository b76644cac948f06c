"""Checkpoints of transformers that read pictures alone, with their own preprocessing: backbones and classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragvlm.encoders import hub
from ragvlm.encoders.loading import one_error
from ragvlm.encoders.torch_tools import check_memory, choose_device, choose_dtype, import_package, memory_errors
from ragvlm.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageCheckpoint:
    """Model and image processor of the checkpoint ``model``, as the class ``maker`` of transformers reads it.

    ``model``, ``revision``, ``device``, ``dtype`` and ``trust_remote_code`` are those of TransformersEncoder.
    ``missing`` are the weights that ``net`` has and the checkpoint hasn't: their numbers are random. Pictures are
    prepared by the Pillow processors of transformers, also where torchvision is installed.

    Raises MissingExtraError without ``ragvlm[transformers]``, InputError for a name, device or dtype that can't be and
    for a model that ``maker`` doesn't read, and RagvlmError for one that is neither cached nor within reach, gated,
    incomplete, too large for the memory, or in want of remote code that isn't trusted.
    """

    fetch = staticmethod(hub.fetcher(tokenizer=False))

    def __init__(
        self,
        model: str,
        revision: str | None,
        *,
        maker: Literal["AutoModel", "AutoModelForImageClassification"],
        device: str,
        dtype: str,
        trust_remote_code: bool,
    ) -> None:
        self.model, self.revision = hub.split_revision(model, revision)
        folder = hub.checkpoint(self.model, self.revision, code=trust_remote_code, tokenizer=False)
        self.name = hub.pinned(self.model, self.revision, folder)
        if hub.brings_code(folder) and not trust_remote_code:
            raise hub.untrusted(self.model)
        import_package("transformers", "transformers", maker)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.digests = hub.file_digests(folder, code=trust_remote_code)
        check_memory(f"{self.model} (weights alone)", hub.weight_bytes(folder), self.device)
        with one_error(self.model), memory_errors(self.model, self.device):
            self.net, self.processor, self.missing = _parts(folder, maker, self.dtype, trust_remote_code)
            self.net.to(self.device).eval()

    def run(self, images: Sequence[Image]) -> Any:
        """What the model makes of RGB pictures: an output object of transformers with tensors on ``device``."""
        import torch

        inputs = self.processor(images=list(images), return_tensors="pt").to(self.device, self.dtype)
        with memory_errors(f"{len(images)} pictures", self.device), torch.inference_mode():
            return self.net(**inputs)


def _parts(folder: Path, maker: str, dtype: Any, trust: bool) -> tuple[Any, Any, list[str]]:
    """Model, image processor and the names of the weights that the checkpoint lacks."""
    import transformers

    options = {"trust_remote_code": trust, "local_files_only": True}
    config = transformers.AutoConfig.from_pretrained(folder, **options)
    known = (
        transformers.MODEL_MAPPING if maker == "AutoModel" else transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    ).get(type(config), None)
    # checked before the weights are read: they may be large
    if not trust and not _reads_pictures_alone(known):
        raise InputError(f"it is a {config.model_type!r} model, {_ADVICE[maker]}")
    net, told = getattr(transformers, maker).from_pretrained(
        folder, config=config, dtype=dtype, **hub.reading(folder), output_loading_info=True, **options
    )
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **options)
    return net, processor, sorted(told["missing_keys"])


_ADVICE = {
    "AutoModel": "not one that reads pictures alone: choose another, or give CLIP and its like by transformers:MODEL",
    "AutoModelForImageClassification": "not one that classifies pictures: choose another",
}


def _reads_pictures_alone(kind: Any) -> bool:
    # of several classes transformers takes one by the checkpoint
    kinds = kind if isinstance(kind, (tuple, list)) else [kind]
    return all(k and k.main_input_name == "pixel_values" and not hasattr(k, "get_text_features") for k in kinds)
