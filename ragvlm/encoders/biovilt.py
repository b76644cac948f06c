"""BioViL-T: chest radiographs and the sentences of their reports, by the package of its authors (hi-ml-multimodal).

Bannur et al., CVPR 2023, arXiv:2301.04558; its predecessor BioViL: Boecking et al., ECCV 2022, arXiv:2204.09817.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.encoders import hub
from ragvlm.encoders.base import fingerprint
from ragvlm.encoders.contrast import ContrastiveEncoder
from ragvlm.encoders.loading import one_error
from ragvlm.encoders.torch_tools import check_memory, choose_device, choose_dtype, import_package, memory_errors
from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

BIOVILT = "microsoft/BiomedVLP-BioViL-T"
IMAGE_WEIGHTS = "biovil_t_image_model_proj_size_128.pt"
# as published, in health_multimodal.image.utils and .image.model.pretrained
_RESIZE, _CROP, _DIM, _TOWER = 512, 448, 128, "resnet50_multi_image"
_PREPARATION = f"stretch to 0-255, gray, short side {_RESIZE}, centre {_CROP}; texts without final .!?"


class BioViLTEncoder(ContrastiveEncoder):
    """A checkpoint of BioViL-T: ResNet-50 with a transformer over patches for pictures, CXR-BERT for texts; one space.

    ``model`` is "ORG/NAME" or "ORG/NAME@REVISION" (from the hub's cache, else downloaded) or a folder; it holds
    config.json, the text tower in safetensors, its tokenizer, and the picture tower as a state dict in
    biovil_t_image_model_proj_size_128.pt, which torch reads with ``weights_only``. The classes are those of the package
    hi-ml-multimodal: Python code that the checkpoint brings is neither needed nor run. ``revision``, ``device`` and
    ``dtype`` are as in ``TransformersEncoder``.

    As published: a picture is stretched to 0-255, made gray, resized to 512 pixels on its short side and cropped to
    the centre 448 x 448; its vector is the mean of the projected patches, without a prior picture. A text's is the
    projection of its first token. Both have 128 numbers. A text beyond the model's 512 tokens is cut.

    The model has learnt no scale for its cosines; its authors compare cosines. ``logit_scale`` (above 0) is the factor
    in ``similarity_to_probabilities``, a softmax: with 1 the order is right, but the probabilities are almost even.

    Raises MissingExtraError without ``ragvlm[biovilt]``, InputError for a name, device, dtype or scale that can't be,
    and RagvlmError for a model that is neither cached nor within reach, incomplete, or too large for the memory.
    """

    fetch = staticmethod(hub.fetcher(processor=False, extra=(IMAGE_WEIGHTS,)))

    def __init__(
        self,
        model: str = BIOVILT,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
        logit_scale: float = 1.0,
    ) -> None:
        super().__init__(batch_size=batch_size)
        if not 0 < logit_scale < float("inf"):
            raise InputError(f"logit_scale is {logit_scale}: give a number above 0")
        self.logit_scale, self.logit_bias, self.probability_rule = logit_scale, None, "softmax"
        self.model, self.revision = hub.split_revision(model, revision)
        _import()
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        folder = hub.checkpoint(self.model, self.revision, processor=False, extra=(IMAGE_WEIGHTS,))
        self.name = f"biovil-t:{hub.pinned(self.model, self.revision, folder)}"
        self.image_dim = self.text_dim = _DIM
        self.shared_space = True
        files = hub.file_digests(folder, code=False, extra=(IMAGE_WEIGHTS,))
        self.fingerprint = fingerprint({"files": files, "preparation": _PREPARATION, "dtype": str(self.dtype)})
        size = hub.weight_bytes(folder) + (folder / IMAGE_WEIGHTS).stat().st_size
        check_memory(f"{self.model} (weights alone)", size, self.device)
        with one_error(self.model), memory_errors(self.model, self.device):
            self._texts, self._tokenizer = _text_tower(folder, self.dtype)
            self._texts.to(self.device)
            self._pictures = _image_tower(folder).to(self.device, self.dtype)
        self._transform = _transform()

    @property
    def options(self) -> dict[str, str]:
        """The number type: another machine would choose its own."""
        return {"dtype": str(self.dtype).removeprefix("torch.")}

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, 128)."""
        import torch

        pixels = torch.stack([self._transform(_gray(image)) for image in images]).to(self.device, self.dtype)
        with memory_errors(f"{len(images)} pictures", self.device), torch.inference_mode():
            vectors: Float32 = self._pictures(pixels).projected_global_embedding.float().cpu().numpy()
        return vectors

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, 128)."""
        import torch

        # as in its authors' package; a text of nothing else keeps what it has
        bare = [text.strip().rstrip(".!?") or text for text in texts]
        limit = self._texts.config.max_position_embeddings
        tokens = self._tokenizer(bare, padding="longest", truncation=True, max_length=limit, return_tensors="pt")
        inputs = {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask")}
        with memory_errors(f"{len(texts)} texts", self.device), torch.inference_mode():
            vectors: Float32 = self._texts.get_projected_text_embeddings(**inputs).float().cpu().numpy()
        return vectors


def _import() -> None:
    import_package("transformers", "biovilt", "AutoModel")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it imports from a place that timm moved
        import_package("health_multimodal.image", "biovilt")
        import_package("health_multimodal.text", "biovilt")


def _image_tower(folder: Path) -> Any:
    import torch
    from health_multimodal.image.model.model import ImageModel

    state = torch.load(folder / IMAGE_WEIGHTS, map_location="cpu", weights_only=True)
    net = ImageModel(img_encoder_type=_TOWER, joint_feature_size=_DIM)
    net.load_state_dict(state)
    return net.eval()


def _text_tower(folder: Path, dtype: Any) -> tuple[Any, Any]:
    from health_multimodal.text.model import CXRBertModel, CXRBertTokenizer

    # these two are the package's own, so what the checkpoint names as its code is not looked at
    net, found = CXRBertModel.from_pretrained(
        folder, dtype=dtype, **hub.reading(folder), local_files_only=True, output_loading_info=True
    )
    if absent := sorted(found["missing_keys"]):  # transformers fills them with random numbers
        raise RagvlmError(f"{len(absent)} weights are missing, the first is {absent[0]!r}")
    if net.config.projection_size != _DIM:
        raise RagvlmError(f"its texts have {net.config.projection_size} numbers, its pictures {_DIM}")
    return net.eval(), CXRBertTokenizer.from_pretrained(folder, local_files_only=True)


def _transform() -> Any:
    from health_multimodal.image.data.transforms import create_chest_xray_transform_for_inference

    return create_chest_xray_transform_for_inference(resize=_RESIZE, center_crop_size=_CROP)


def _gray(image: Image) -> Image:
    """The picture stretched to 0-255 over all channels, in gray; one of a single value has nothing to stretch."""
    from health_multimodal.image.data.io import remap_to_uint8
    from PIL import Image as Pillow

    pixels = np.asarray(image)
    return (Pillow.fromarray(remap_to_uint8(pixels)) if np.ptp(pixels) else image).convert("L")
