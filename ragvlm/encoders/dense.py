"""A vector for each patch of a picture, in the space of the words: MaskCLIP (Zhou et al. 2022, arXiv:2112.01071).

In the last attention layer each place keeps its own value: value projection and output projection, no looking around.
The rest of the layer, the last normalisation and the projection into the shared space follow as in the model. A tower
that pools by attention (SigLIP) pools each place by itself, which is the same thought.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ragvlm.errors import InputError


def of_open_clip(visual: Any, pixels: Any, name: str) -> Any:
    """Patch vectors of an image tower of open_clip: tensor (n, rows, columns, dim), not of unit length.

    ``pixels`` is (n, 3, side, side). Raises InputError, naming the encoder ``name``, for a tower without patches.
    """
    if hasattr(visual, "transformer") and getattr(visual, "attn_pool", None) is None:
        return _grid(_open_clip_vit(visual, pixels))
    trunk: Any = getattr(visual, "trunk", None)
    if hasattr(trunk, "blocks") and hasattr(trunk.blocks[-1].attn, "qkv"):
        return _grid(_timm_vit(visual, pixels))
    raise _no_patches(name)


def of_transformers(net: Any, pixels: Any, name: str) -> Any:
    """Patch vectors of a CLIP or SigLIP of transformers: as ``of_open_clip``."""
    tower: Any = getattr(net, "vision_model", None)
    if hasattr(net, "visual_projection") and hasattr(tower, "post_layernorm"):
        attention = tower.encoder.layers[-1].self_attn
        with _own_values(attention, lambda x: attention.out_proj(attention.v_proj(x))):
            tokens = tower(pixel_values=pixels).last_hidden_state[:, 1:]
        return _grid(net.visual_projection(tower.post_layernorm(tokens)))
    if hasattr(tower, "head") and hasattr(tower.head, "probe"):
        try:
            tokens = tower(pixel_values=pixels).last_hidden_state
        except TypeError as error:  # SigLIP 2 with pictures of any shape wants their shapes too
            raise _no_patches(name) from error
        return _grid(_one_by_one(tower.head, tokens))
    raise _no_patches(name)


def _open_clip_vit(visual: Any, pixels: Any) -> Any:
    from torch.nn import functional

    attention = visual.transformer.resblocks[-1].attn
    width = attention.embed_dim

    def value(x: Any) -> Any:
        bias = None if attention.in_proj_bias is None else attention.in_proj_bias[2 * width :]
        return attention.out_proj(functional.linear(x, attention.in_proj_weight[2 * width :], bias))

    with _own_values(attention, value):
        tokens = visual.transformer(visual._embeds(pixels))[:, 1:]
    tokens = visual.ln_post(tokens)
    return tokens if visual.proj is None else tokens @ visual.proj


def _timm_vit(visual: Any, pixels: Any) -> Any:
    trunk = visual.trunk
    if getattr(trunk, "attn_pool", None) is not None:
        tokens = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :]
        return visual.head(_one_by_one(trunk.attn_pool, tokens))
    attention = trunk.blocks[-1].attn
    norm = getattr(attention, "norm", None)

    def value(x: Any) -> Any:
        own = attention.qkv(x)[..., -attention.proj.in_features :]
        return attention.proj(own if norm is None else norm(own))

    with _own_values(attention, value):
        tokens = trunk.forward_features(pixels)[:, trunk.num_prefix_tokens :]
    return visual.head(trunk.fc_norm(tokens))


def _one_by_one(head: Any, tokens: Any) -> Any:
    """What a pooling by attention makes of each token alone: (n, tokens, dim)."""
    count, places, width = tokens.shape
    return head(tokens.reshape(count * places, 1, width)).reshape(count, places, -1)


@contextmanager
def _own_values(attention: Any, value: Any) -> Iterator[None]:
    """Let ``attention`` answer each place with ``value`` of itself; transformers and torch answer with a pair."""

    def answer(_: Any, args: Any, kwargs: Any, output: Any) -> Any:
        own = value(args[0] if args else kwargs["hidden_states"])
        return (own, *output[1:]) if isinstance(output, tuple) else own

    hook = attention.register_forward_hook(answer, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _grid(tokens: Any) -> Any:
    count, places, width = tokens.shape
    side = round(places**0.5)
    return tokens.reshape(count, side, places // side, width)


def _no_patches(name: str) -> InputError:
    return InputError(f"encoder {name!r} has no patches in the space of words: choose CLIP or SigLIP with a ViT tower")
