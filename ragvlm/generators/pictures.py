"""Pictures as generators take them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

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


def neighbour_pictures(prompt: Prompt, most: int) -> list[tuple[int, Image]]:
    """(number in the prompt, RGB picture) of the nearest ``most`` references of ``prompt`` that have a picture.

    Raises ImageError where one can't be read.
    """
    records = {hit.record.id: hit.record for hit in prompt.context.hits}
    paths = [(n, records[i].image) for n, i in enumerate(prompt.cited_ids, 1) if i in records]
    return [(n, open_image(path)) for n, path in [(n, path) for n, path in paths if path][:most]]
