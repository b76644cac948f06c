"""Where on a slide there is tissue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ragvlm.errors import require

SIDE = 2048  # of the overview that is looked at
_LEAST = 8  # of 255: below, a threshold would cut noise in two
_DARK = 64  # a slide whose median is darker is fluorescence


def tissue_mask(overview: Image.Image) -> NDArray[np.bool_]:
    """Tissue on the RGB ``overview`` of a slide: bool (height, width).

    As in CLAM (Lu et al., Nature Biomedical Engineering 2021, doi 10.1038/s41551-020-00682-w): saturation (HSV), a
    median filter, and a threshold by Otsu (IEEE Trans SMC 1979, doi 10.1109/TSMC.1979.4310076), here at least 8 of
    255, CLAM's fixed one: on an empty slide Otsu's would cut the noise in two. Where the background is dark the value
    takes the place of the saturation, and where nothing has colour the darkness.
    Raises MissingExtraError without scikit-image (``ragvlm[slides]``).
    """
    filters = require("skimage.filters", "slides")
    _, saturation, value = overview.convert("HSV").split()
    feature = saturation
    if float(np.median(np.asarray(value))) < _DARK:
        feature = value
    elif np.percentile(np.asarray(saturation), 99.9) < _LEAST:
        feature = value.point(lambda v: 255 - v)
    pixels = np.asarray(feature.filter(ImageFilter.MedianFilter(5)))
    threshold = filters.threshold_otsu(pixels) if pixels.min() < pixels.max() else 255
    found: NDArray[np.bool_] = pixels > max(threshold, _LEAST)
    return found
