"""Any image backbone of transformers beside the embedded text tower: ViT, ResNet, DINOv2, Swin, ConvNeXt, ..."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ragvlm.encoders.base import BaseEncoder, fingerprint
from ragvlm.encoders.embedded import EXPORT_VERSION, EmbeddedEncoder, TextTower
from ragvlm.encoders.image_checkpoint import ImageCheckpoint
from ragvlm.encoders.loading import one_error
from ragvlm.errors import InputError, RagvlmError
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

POOLINGS = ("auto", "pooler", "cls", "mean")
# what stands before the patches in the sequence of a transformer
_PREFIX = {"cls_token", "distillation_token", "register_tokens"}


class ImageBackboneEncoder(BaseEncoder):
    """Pictures by a checkpoint of transformers that reads pictures alone, words by all-MiniLM-L6-v2; two spaces.

    ``pooling`` says how a picture's vector comes about:

    - "pooler": the model's own pooled output. ResNet, RegNet, EfficientNet: the average over the field; Swin, ConvNeXt:
      that average, normalised; DINOv2: the class token.
    - "cls": the class token of the last hidden state. ViT, DeiT: after the final layer normalisation, which is what
      their classification heads read.
    - "mean": the average of the last hidden state over the patches or the field.
    - "auto": "pooler", but "cls" (or "mean" where there is no class token) for models without one, and for those
      whose pooler is a dense layer, as in ViT: a checkpoint that was trained to classify has no weights for it.

    ``model``, ``revision``, ``device``, ``dtype`` and ``trust_remote_code`` are those of TransformersEncoder.
    ``threads`` is for the words. Dosovitskiy et al., ICLR 2021, arXiv:2010.11929; He et al., CVPR 2016, doi
    10.1109/CVPR.2016.90.

    Raises what ImageCheckpoint raises, and InputError for a pooling that the model hasn't.
    """

    fetch = ImageCheckpoint.fetch

    def __init__(
        self,
        model: str = "",
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        pooling: str = "auto",
        batch_size: int = 16,
        threads: int | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__(batch_size=batch_size)
        if pooling not in POOLINGS:
            raise InputError(f"pooling {pooling!r}: give one of {', '.join(POOLINGS)}")
        self._eyes = ImageCheckpoint(
            model, revision, maker="AutoModel", device=device, dtype=dtype, trust_remote_code=trust_remote_code
        )
        self._words = EmbeddedEncoder(batch_size=batch_size, threads=threads, text_tower=TextTower())
        self.device, self.dtype = self._eyes.device, self._eyes.dtype
        self.name = f"image:{self._eyes.name}"
        self.shared_space = False
        self._prefix = _prefix(self._eyes.net)
        self.text_dim = self._words.text_dim
        self.pooling, self.image_dim = self._choose(pooling)
        self.fingerprint = fingerprint(
            {
                "files": self._eyes.digests,  # weights, architecture and preprocessing
                "pooling": self.pooling,
                "dtype": str(self.dtype),
                "text": asdict(self._words.text_tower),
                "export": EXPORT_VERSION,
            }
        )

    @property
    def options(self) -> dict[str, str]:
        """The pooling, and the number type: another machine would choose its own."""
        return {"pooling": self.pooling, "dtype": str(self.dtype).removeprefix("torch.")}

    def image_batch(self, images: Sequence[Image]) -> Float32:
        """float32 (n, image_dim)."""
        vectors: Float32 = self._pool(self._eyes.run(images), self.pooling).float().cpu().numpy()
        return vectors

    def text_batch(self, texts: Sequence[str]) -> Float32:
        """float32 (n, 384): the mean of the token vectors."""
        return self._words.text_batch(texts)

    def _choose(self, pooling: str) -> tuple[str, int]:
        """The pooling and the width of its vectors, tried on a picture."""
        from PIL.Image import effect_noise

        probe = [effect_noise((64, 64), 80).convert("RGB")]
        with one_error(self._eyes.model):
            found, again = self._eyes.run(probe), self._eyes.run(probe)
            if pooling == "auto":
                pooling = self._own_pooling(found)
            self._check_weights(pooling)
            vectors = self._pool(found, pooling)
            if not vectors.equal(self._pool(again, pooling)):
                raise InputError("a picture has another vector each time, as in masked training: choose another model")
        return pooling, int(vectors.shape[1])

    def _own_pooling(self, found: Any) -> str:
        dense = hasattr(getattr(self._eyes.net, "pooler", None), "dense")
        if getattr(found, "pooler_output", None) is not None and not dense:
            return "pooler"
        return "cls" if self._prefix else "mean"

    def _check_weights(self, pooling: str) -> None:
        missing = [name for name in self._eyes.missing if pooling == "pooler" or not name.startswith("pooler.")]
        if missing:
            raise RagvlmError(
                f"{len(missing)} weights are missing, the first is {missing[0]!r}: give a complete checkpoint"
                + (", or pooling auto" if missing[0].startswith("pooler.") else "")
            )

    def _pool(self, found: Any, pooling: str) -> Any:
        """float (n, image_dim) of an output of the model."""
        if pooling == "pooler":
            if getattr(found, "pooler_output", None) is None:
                raise InputError("it has no pooled output: give pooling auto")
            return found.pooler_output.flatten(1)
        hidden = found.last_hidden_state
        if pooling == "cls":
            if not self._prefix:
                raise InputError("it has no class token: give pooling auto")
            return hidden[:, 0]
        return hidden.mean((2, 3)) if hidden.dim() == 4 else hidden[:, self._prefix :].mean(1)


def _prefix(net: Any) -> int:
    """How many tokens stand before the patches: the class token, and others behind it; 0 without a class token."""
    tokens = {name.rpartition(".")[2]: weights for name, weights in net.named_parameters()}
    found = {name: weights.shape[1] for name, weights in tokens.items() if name in _PREFIX}
    return sum(found.values()) if "cls_token" in found else 0
