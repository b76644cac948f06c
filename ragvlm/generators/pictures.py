"""Pictures as generators take them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from ragvlm.errors import InputError
from ragvlm.images import open_image
from ragvlm.types import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image


def data_uri(image: Image, max_side: int) -> str:
    """``image`` as a data URI: JPEG, RGB, at most ``max_side`` pixels on its longer side, pixels alone.

    Quality 95 without chroma subsampling: thin stained structures survive. Nothing of the file that the picture came
    from (EXIF, ICC profile, comments) goes in.
    """
    import numpy as np
    from PIL import Image as Pil

    small = image.convert("RGB")
    small.thumbnail((max_side, max_side))
    buffer = io.BytesIO()
    Pil.fromarray(np.asarray(small)).save(buffer, "JPEG", quality=95, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def picture(prompt: Prompt, number: int) -> Image:
    """The RGB picture of the reference ``number`` of ``prompt``; 0 is the query's own.

    Only what the prompt cites can be had: a reference that was excluded has no number. Raises ImageError where the
    picture can't be read, InputError where there is none.
    """
    path = _paths(prompt).get(number)
    if number and path:
        return open_image(path)
    if number or not prompt.images:
        what = f"reference [{number}]" if number else f"query {prompt.context.query.id!r}"
        raise InputError(f"{what} has no picture: this generator describes pictures")
    return prompt.images[0].convert("RGB")


def pictured(prompt: Prompt, most: int) -> list[int]:
    """The numbers of the nearest ``most`` references of ``prompt`` that have a picture."""
    return list(_paths(prompt))[:most]


def _paths(prompt: Prompt) -> dict[int, str]:
    records = {hit.record.id: hit.record for hit in prompt.context.hits}
    found = {n: records[i].image for n, i in enumerate(prompt.cited_ids, 1) if i in records}
    return {n: path for n, path in found.items() if path}
