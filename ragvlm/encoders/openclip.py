"""Any CLIP-like model of open_clip: one space for pictures and words. By default BiomedCLIP.

BiomedCLIP was trained on 15 million pictures and captions of biomedical articles: Zhang et al., NEJM AI 2025,
doi 10.1056/AIoa2400640. open_clip: Ilharco et al., doi 10.5281/zenodo.5143773.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.encoders.base import BaseEncoder, fingerprint
from ragvlm.encoders.hub import assert_reachable
from ragvlm.encoders.torch_tools import choose_device, import_package
from ragvlm.errors import InputError, RagvlmError, reason
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

BIOMEDCLIP = "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
_HUB, _FOLDER = "hf-hub:", "local-dir:"
# letters of both cases, digits, Greek, a unit and more tokens than any context holds
_PROBE = "T-cells (CD8+), 37 °C, α-tubulin; H&E stain. " * 64


class OpenClipEncoder(BaseEncoder):
    """A model of open_clip with its own preprocessing (which may crop the picture to a square) and tokenizer.

    ``model`` is "hf-hub:ORG/NAME" (downloaded by open_clip on first use), "local-dir:PATH" (a folder with
    open_clip_config.json and the weights) or "ARCHITECTURE/TAG" of ``open_clip.list_pretrained()``. ``device``
    is "auto" (CUDA, else MPS, else the CPU) or a torch device. The whole model is read at once, since
    the fingerprint covers its tensors.

    Raises MissingExtraError without ``ragvlm[openclip]``, InputError for a name or device that can't be, and
    RagvlmError for a model that is neither in the local cache nor within reach.
    """

    def __init__(self, model: str = BIOMEDCLIP, *, device: str = "auto", batch_size: int = 16) -> None:
        super().__init__(batch_size=batch_size)
        self.model = _resolved(model)
        open_clip = import_package("open_clip", "openclip")
        self.device = choose_device(device)
        if self.model.startswith(_HUB):
            assert_reachable(self.model.removeprefix(_HUB), "open_clip_config.json")
        config = _config(open_clip, self.model)
        self._net, self._preprocess, self._tokenizer = _load(open_clip, self.model)
        self.name = f"openclip:{self.model}"
        self.image_dim = self.text_dim = int(config["embed_dim"])
        self.shared_space = True
        self.fingerprint = fingerprint(
            {
                "weights": weights_digest(self._net.state_dict()),
                "architecture": config,  # holds the pooling
                "preprocessing": self._net.visual.preprocess_cfg,
                "tokenizer": tokenizer_digest(self._tokenizer),
            }
        )
        self._net.to(self.device)

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim)."""
        import torch

        pixels = torch.stack([self._preprocess(image) for image in images]).to(self.device)
        with torch.inference_mode():
            vectors: Float32 = self._net.encode_image(pixels).float().cpu().numpy()
        return vectors

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, text_dim); a text beyond the model's context length is cut."""
        import torch

        tokens = self._tokenizer(list(texts)).to(self.device)
        with torch.inference_mode():
            vectors: Float32 = self._net.encode_text(tokens).float().cpu().numpy()
        return vectors


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


def _resolved(model: str) -> str:
    if model.startswith(_FOLDER):
        folder = Path(model.removeprefix(_FOLDER)).expanduser().resolve()
        if not (folder / "open_clip_config.json").is_file():
            raise InputError(f"{folder} holds no open_clip_config.json: give the folder of an open_clip model")
        return f"{_FOLDER}{folder}"
    architecture, _, tag = model.removeprefix(_HUB).rpartition("/")
    if not architecture or not tag:
        raise InputError(f"model {model!r}: give hf-hub:ORG/NAME, local-dir:PATH or ARCHITECTURE/TAG")
    return model


def _config(open_clip: Any, model: str) -> dict[str, Any]:
    has_schema = model.startswith((_HUB, _FOLDER))
    with _one_error(model):
        config = open_clip.get_model_config(model if has_schema else model.rpartition("/")[0])
    if not config or "embed_dim" not in config:
        raise InputError(f"model {model!r}: open_clip knows no such architecture")
    # a checkpoint must not bring code of its own
    if "trust_remote_code" in config.get("text_cfg", {}).get("tokenizer_kwargs", {}):
        raise RagvlmError(f"model {model!r} asks for remote code, which ragvlm never runs: choose another model")
    return dict(config)


def _load(open_clip: Any, model: str) -> tuple[Any, Any, Any]:
    name, tag = model, None
    if not model.startswith((_HUB, _FOLDER)):
        name, _, tag = model.rpartition("/")
    with _one_error(model):
        net, preprocess = open_clip.create_model_from_pretrained(name, pretrained=tag, weights_only=True)
        tokenizer = open_clip.get_tokenizer(name)
    return net.eval(), preprocess, tokenizer


@contextmanager
def _one_error(model: str) -> Iterator[None]:
    """Turn whatever the loading of ``model`` raises and logs into one RagvlmError."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)  # retries of a download, each a line of its own
    try:
        yield
    except Exception as error:  # open_clip, timm, transformers and the hub's client each have errors of their own
        where = "give a complete folder" if model.startswith(_FOLDER) else "check the name and the network"
        raise RagvlmError(f"model {model!r} can't be loaded ({reason(error)}); {where}") from error
    finally:
        logging.disable(before)
