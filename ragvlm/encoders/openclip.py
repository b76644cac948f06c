"""Any CLIP-like model of open_clip: one space for pictures and words. By default BiomedCLIP.

BiomedCLIP was trained on 15 million pictures and captions of biomedical articles: Zhang et al., NEJM AI 2025,
doi 10.1056/AIoa2400640. open_clip: Ilharco et al., doi 10.5281/zenodo.5143773.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.encoders import hub, openclip_files
from ragvlm.encoders.base import fingerprint
from ragvlm.encoders.contrast import ContrastiveEncoder
from ragvlm.encoders.loading import one_error
from ragvlm.encoders.openclip_files import OpenClipFiles
from ragvlm.encoders.torch_tools import check_memory, choose_device, choose_dtype, import_package, memory_errors
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

BIOMEDCLIP = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
# letters of both cases, digits, Greek, a unit and more tokens than any context holds
_PROBE = "T-cells (CD8+), 37 °C, α-tubulin; H&E stain. " * 64


class OpenClipEncoder(ContrastiveEncoder):
    """A model of open_clip with its own preprocessing (which may crop the picture to a square) and tokenizer.

    ``model`` is "hf-hub:ORG/NAME" or "hf-hub:ORG/NAME@REVISION" (from the hub's cache, else downloaded), a folder or
    "local-dir:PATH" (with open_clip_config.json and the weights), or "ARCHITECTURE/TAG" of
    ``open_clip.list_pretrained()``. ``revision`` is a branch, a tag or a commit. ``device`` is "auto" (CUDA, else MPS,
    else the CPU) or a torch device; ``dtype`` is "auto" (bfloat16 on a CUDA device that computes with it, else
    float32), "float32", "bfloat16" or "float16". Weights are read from safetensors, else from a state dict by torch's
    ``weights_only``.

    Some text towers, such as BiomedCLIP's, are of transformers: configuration and tokenizer come from the folder
    itself, else from ``text_tower`` (ORG/NAME[@REVISION] or a folder), else from the repository that the model names.
    ``trust_remote_code`` runs the Python code that such a tokenizer brings. A text beyond the model's context length
    is cut.

    The whole model is read at once, since the fingerprint covers its tensors: a model has one fingerprint however it is
    stored.

    Raises MissingExtraError without ``ragvlm[openclip]``, InputError for a name, device or dtype that can't be, and
    RagvlmError for a model that is neither cached nor within reach, gated, incomplete, too large for the memory, or in
    want of remote code that isn't trusted.
    """

    def __init__(
        self,
        model: str = BIOMEDCLIP,
        *,
        revision: str | None = None,
        text_tower: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 16,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size)
        self.model, self.revision = openclip_files.split(model, revision)
        self.text_tower = text_tower
        # fetched first: the import takes seconds, and without a network there is nothing to import it for
        folder = openclip_files.bring(self.model, self.revision, code=trust_remote_code)
        open_clip = import_package("open_clip", "openclip")
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        files = openclip_files.find(open_clip, self.model, folder, text_tower=text_tower, code=trust_remote_code)
        if files.text.get("tokenizer_kwargs", {}).get("trust_remote_code") and not trust_remote_code:
            raise hub.untrusted(self.model, " beside its tokenizer")
        self.name = f"openclip:{self._pinned(files)}"
        self.image_dim = self.text_dim = int(files.config["embed_dim"])
        self.shared_space = True
        check_memory(f"{self.model} (weights alone)", files.weights.stat().st_size, self.device)
        with one_error(self.model), memory_errors(self.model, self.device):
            self._net, self._preprocess = _model(open_clip, files)
            self._tokenizer = _tokenizer(open_clip, files, trust_remote_code)
            self.input_size = _longer(self._net.visual.preprocess_cfg.get("size"))
            self._set_contrast(self._net.logit_scale, self._net.logit_bias)
            self.fingerprint = self._fingerprint(files, trust_remote_code)
            self._net.to(self.device, self.dtype)

    @staticmethod
    def fetch(model: str, *, text_tower: str | None = None, trust_remote_code: bool = False) -> list[Path]:
        """The folders of the files of ``model``, downloaded unless they are cached; raises what the class raises."""
        name, revision = openclip_files.split(model, None)
        folder = openclip_files.bring(name, revision, code=trust_remote_code)
        open_clip = import_package("open_clip", "openclip")
        files = openclip_files.find(open_clip, name, folder, text_tower=text_tower, code=trust_remote_code)
        found = (files.weights.parent, files.tower, files.tokenizer)
        return list(dict.fromkeys(folder for folder in found if folder))

    def _pinned(self, files: OpenClipFiles) -> str:
        # a tag has no revision to give
        of_hub = self.model.startswith(openclip_files.HUB)
        return hub.pinned(self.model, self.revision, files.weights.parent) if of_hub else self.model

    @property
    def options(self) -> dict[str, str]:
        """The number type, which another machine would choose otherwise, and the text tower where one was given."""
        return {"dtype": str(self.dtype).removeprefix("torch.")} | (
            {"text_tower": self.text_tower} if self.text_tower else {}
        )

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim)."""
        return self.input_batch([self.image_input(image) for image in images])

    def image_input(self, image: Image) -> Any:
        """Tensor float32 (3, height, width)."""
        return self._preprocess(image)

    def input_batch(self, inputs: Sequence[Any]) -> Float32:
        """float32 (n, image_dim)."""
        import torch

        pixels = torch.stack(list(inputs)).to(self.device, self.dtype)
        return self._run("encode_image", pixels, f"{len(inputs)} pictures")

    def patch_batch(self, images: Sequence[Image]) -> Float32:
        """A vector a patch of square pictures: float32 (n, rows, columns, text_dim). Raises InputError: no ViT."""
        import torch

        from ragvlm.encoders.dense import of_open_clip

        pixels = torch.stack([self.image_input(image) for image in images]).to(self.device, self.dtype)
        with memory_errors(f"{len(images)} pictures", self.device), torch.inference_mode():
            vectors: Float32 = of_open_clip(self._net.visual, pixels, self.name).float().cpu().numpy()
        return vectors

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, text_dim)."""
        return self._run("encode_text", self._tokenizer(list(texts)).to(self.device), f"{len(texts)} texts")

    def _run(self, method: str, inputs: Any, what: str) -> Float32:
        import torch

        with memory_errors(what, self.device), torch.inference_mode():
            vectors: Float32 = getattr(self._net, method)(inputs).float().cpu().numpy()
        return vectors

    def _fingerprint(self, files: OpenClipFiles, trust: bool) -> str:
        return fingerprint(
            {
                "weights": weights_digest(self._net.state_dict()),
                "architecture": files.architecture(),  # holds the pooling
                "preprocessing": self._net.visual.preprocess_cfg,
                "tokenizer": tokenizer_digest(self._tokenizer),
                "programs": files.programs() if trust else {},
                "dtype": str(self.dtype),
            }
        )


def _longer(size: int | Sequence[int] | None) -> int | None:
    return max(size) if isinstance(size, Sequence) else size


def weights_digest(tensors: Mapping[str, Any]) -> str:
    """Hex SHA-256 over the names, types, shapes and bytes of tensors on the CPU, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """Hex SHA-256 over a tokenizer's vocabulary and what it makes of a text that tries its rules and length."""
    wrapped = getattr(tokenizer, "tokenizer", None)
    vocabulary = wrapped.get_vocab() if wrapped is not None else tokenizer.encoder
    return fingerprint({"vocabulary": vocabulary, "probe": tokenizer([_PROBE]).tolist()})


def _model(open_clip: Any, files: OpenClipFiles) -> tuple[Any, Any]:
    """The model in evaluation mode and its preprocessing."""
    text = files.text
    if files.tower:
        # without this open_clip would ask the hub for the tower's configuration
        text |= {"hf_model_name": str(files.tower), "hf_model_pretrained": False}
    net, preprocess = open_clip.create_model_from_pretrained(**files.arguments, weights_only=True, text_cfg=text)
    return net.eval(), preprocess


def _tokenizer(open_clip: Any, files: OpenClipFiles, trust: bool) -> Any:
    text = files.text
    options = {name: value for name, value in text.get("tokenizer_kwargs", {}).items() if name != "trust_remote_code"}
    options["context_length"] = text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    if files.tokenizer is None:
        return open_clip.SimpleTokenizer(**options)
    options |= {"tokenizer_mode": text.get("tokenizer_mode"), "local_files_only": True, "trust_remote_code": trust}
    return open_clip.tokenizer.HFTokenizer(str(files.tokenizer), **options)
