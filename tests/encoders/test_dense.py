"""A vector a patch: checked against the model's own attention, masked so that each place sees itself alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from openclips import noise

from ragvlm.encoders.openclip import OpenClipEncoder
from ragvlm.errors import InputError
from ragvlm.types import Encoder


def _mask(places: int) -> Any:
    import torch

    return torch.full((places, places), float("-inf")).fill_diagonal_(0.0)


def _reference_openclip(encoder: Any, image: Any) -> Any:
    import torch

    visual = encoder._net.visual
    with torch.inference_mode():
        x = visual._embeds(torch.stack([encoder.image_input(image)]))
        *first, last = visual.transformer.resblocks
        for block in first:
            x = block(x)
        x = visual.ln_post(last(x, attn_mask=_mask(x.shape[1])))[:, 1:]
        return (x @ visual.proj).numpy()


def test_open_clip_sees_each_patch_alone(tiny_openclip: Encoder) -> None:
    image = noise((32, 32))
    found = tiny_openclip.patch_batch([image])  # type: ignore[attr-defined]
    assert found.shape == (1, 4, 4, 24)
    np.testing.assert_allclose(found.reshape(1, 16, 24), _reference_openclip(tiny_openclip, image), atol=1e-5)


def test_transformers_clip_sees_each_patch_alone(tiny_clip: Encoder) -> None:
    import torch

    image = noise((32, 32))
    found = tiny_clip.patch_batch([image])  # type: ignore[attr-defined]
    towers = tiny_clip._dense_towers  # type: ignore[attr-defined]
    tower = towers.net.vision_model
    with torch.inference_mode():
        x = tower.pre_layrnorm(tower.embeddings(towers.pixels([image])["pixel_values"]))
        *first, last = tower.encoder.layers
        for layer in first:
            x = layer(x, None)
        x = last(x, _mask(x.shape[1])[None, None])
        wanted = towers.net.visual_projection(tower.post_layernorm(x[:, 1:])).numpy()
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-4)


def test_siglip_pools_each_patch_alone(tiny_siglip: Encoder) -> None:
    import torch

    image = noise((32, 32))
    found = tiny_siglip.patch_batch([image])  # type: ignore[attr-defined]
    towers = tiny_siglip._dense_towers  # type: ignore[attr-defined]
    with torch.inference_mode():
        tokens = towers.net.vision_model(**towers.pixels([image])).last_hidden_state
        wanted = [towers.net.vision_model.head(tokens[:, i : i + 1]).numpy() for i in range(tokens.shape[1])]
    np.testing.assert_allclose(found.reshape(len(wanted), -1), np.concatenate(wanted), atol=1e-5)
    # the same weights make the picture's own vector: it lies among those of its patches
    whole = tiny_siglip.encode_images([image])[0]
    unit = found.reshape(len(wanted), -1)
    assert (unit @ whole / np.linalg.norm(unit, axis=1)).max() > 0


@pytest.mark.parametrize("name", ["biomedclip", "siglip"])
def test_towers_of_timm_have_patches(openclip_encoders: dict[str, OpenClipEncoder], name: str) -> None:
    encoder = openclip_encoders[name]
    side = encoder.input_size or 0
    plain = noise((side, side))
    changed = plain.copy()
    changed.paste((255, 255, 255), (0, 0, side // 8, side // 8))
    before, after = encoder.patch_batch([plain])[0], encoder.patch_batch([changed])[0]
    assert before.shape[-1] == encoder.text_dim
    assert before.shape[0] == before.shape[1] > 1
    moved = np.linalg.norm(after - before, axis=-1)
    assert moved[0, 0] > np.median(moved)  # what changed in the corner shows in the corner


def test_a_timm_vit_answers_as_with_a_mask(openclip_encoders: dict[str, OpenClipEncoder]) -> None:
    import torch

    encoder = openclip_encoders["biomedclip"]
    image = noise((encoder.input_size or 0,) * 2)
    visual = encoder._net.visual
    trunk = visual.trunk
    with torch.inference_mode():
        kept: list[Any] = []
        hook = trunk.blocks[-1].register_forward_pre_hook(lambda _, args: kept.append(args[0]))
        trunk.forward_features(torch.stack([encoder.image_input(image)]))
        hook.remove()
        x = trunk.norm(trunk.blocks[-1](kept[0], attn_mask=_mask(kept[0].shape[1])))
        wanted = visual.head(x[:, trunk.num_prefix_tokens :]).numpy()
    np.testing.assert_allclose(encoder.patch_batch([image]).reshape(wanted.shape), wanted, atol=1e-4)


def test_a_tower_without_patches_says_so(openclip_encoders: dict[str, OpenClipEncoder]) -> None:
    encoder = openclip_encoders["mobileclip"]
    with pytest.raises(InputError, match="choose CLIP or SigLIP with a ViT tower"):
        encoder.patch_batch([noise((64, 64))])


def test_the_hook_is_gone_afterwards(tiny_openclip: Encoder) -> None:
    image = noise((32, 32))
    before = tiny_openclip.encode_images([image])
    tiny_openclip.patch_batch([image])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(before, tiny_openclip.encode_images([image]))
