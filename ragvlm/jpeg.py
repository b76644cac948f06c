"""JPEGs at a fraction of their size, for those who will shrink them anyway."""

from __future__ import annotations

from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile

MARGIN = 2  # times what is wanted: the last step stays a proper resampling (benchmarks/indexing.py has its cosines)
SCALES = (2, 4, 8)


def shrink(image: Image, side: int | None) -> int:
    """Have a JPEG that is not yet decoded come out at 1/2, 1/4 or 1/8; the divisor, or 1 where it stays as it is.

    Both sides keep at least ``MARGIN * side`` pixels. libjpeg leaves out the high frequencies of each block, which is
    several times faster than to decode and then to shrink.
    """
    if side is None or not isinstance(image, JpegImageFile) or min(image.size) < SCALES[0] * MARGIN * side:
        return 1
    longer = max(image.size)
    image.draft(None, (MARGIN * side, MARGIN * side))
    return round(longer / max(image.size))
