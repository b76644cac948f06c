"""Candidate regions of a picture by classical segmentation: many on purpose, for neighbours to choose from.

Contrast with the background as optical density (Beer-Lambert; of a dark background, logarithmic light), then

- what is stronger than several thresholds (Otsu 1979, doi 10.1109/TSMC.1979.4310076, and parts of it), with gaps closed
  and holes filled: cells that stand alone, nuclei, and cells with pale cytoplasm;
- its parts by watershed on the smoothed distance transform (Vincent and Soille 1991, doi 10.1109/34.87344), from coarse
  to fine: cells that touch;
- circles by Hough's transform of the outlines (Duda and Hart 1972, doi 10.1145/361237.361242): cells that overlap;
- blobs by differences of Gaussians: specks such as platelets and foci.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import require
from ragvlm.regions.found import Bools, Edges
from ragvlm.types import Float32

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 320
"""Pixels of the longer side at which candidates are looked for."""
SOURCES = ("strong", "coloured", "part", "circle", "blob")
LEAST_AREA = 40  # square pixels at that size
MOST = 240  # candidates of a picture
SAME = 0.8  # IoU from which two candidates are one
_RADII = (15, 19, 22, 25, 28, 32)
_Labels: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A box [xmin, ymin, xmax, ymax] at the working size, which of SOURCES proposed it, and its mask within the box's
    whole pixels (None: of a circle or a blob)."""

    box: Edges
    source: int
    mask: Bools | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Planes:
    """``values`` float32 (height, width, 4): contrast of red, green and blue with the background, and red's lead over
    blue. ``scale`` is how many pixels of the picture one of these is wide. ``dark`` says that the background is dark.
    """

    values: Float32
    scale: float
    dark: bool

    @property
    def strength(self) -> Float32:
        """The strongest contrast of the three: (height, width)."""
        return np.asarray(self.values[..., :3].max(axis=2))


def planes_of(image: Image) -> Planes:
    """``image`` (RGB) at the working size as contrast with its background; the background is the commonest grey."""
    from PIL import Image as Pil

    ndimage = require("scipy.ndimage", "regions")
    scale = max(1.0, max(image.size) / SIDE)
    size = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    pixels = np.asarray(image.resize(size, Pil.Resampling.BOX), np.float32)
    smooth = ndimage.gaussian_filter(pixels, (1, 1, 0))
    grey = smooth.mean(axis=2)
    counts, edges = np.histogram(grey, 64, (0, 255))
    mode = float(edges[int(np.convolve(counts, np.ones(3), "same").argmax())]) + 2.0
    background = np.median(smooth[np.abs(grey - mode) <= 6.0], axis=0) if (np.abs(grey - mode) <= 6.0).any() else mode
    dark = bool(np.mean(background) < np.mean(grey))
    logs = np.log((smooth + 4.0) / (background + 4.0))
    contrast = logs if dark else -logs
    lead = contrast[..., 0] - contrast[..., 2]
    return Planes(np.asarray(np.dstack([contrast, lead]), np.float32), scale, dark)


def propose(planes: Planes) -> list[Candidate]:
    """At most MOST candidates, no two of which share SAME of their area.

    Raises MissingExtraError without scikit-image (``ragvlm[regions]``).
    """
    found = [*_blobs(planes), *_circles(planes), *_thresholded(planes)]
    return _distinct(found)[:MOST]


def _thresholded(planes: Planes) -> Iterator[Candidate]:
    for plane in (planes.values[..., 3], planes.values[..., 0]):
        for mask in _levels(plane, (0.25, 0.45, 0.7, 1.0)):
            yield from _pieces(mask, 1)
            yield from _pieces(_closed(mask, 5), 1)
    for mask in _levels(planes.strength, (0.45, 0.7, 1.0)):
        yield from _pieces(mask, 0)
        yield from _parts(mask)


def _levels(plane: Float32, shares: Sequence[float]) -> Iterator[Bools]:
    """Masks of what exceeds ``shares`` of the way from the background to Otsu's threshold, specks and holes gone."""
    ndimage, morphology = require("scipy.ndimage", "regions"), require("skimage.morphology", "regions")
    low = float(np.percentile(plane, 20))
    high = float(require("skimage.filters", "regions").threshold_otsu(plane))
    if high - low < 0.01:  # nothing but noise
        return
    for share in shares:
        mask = ndimage.binary_opening(plane > low + share * (high - low), np.ones((3, 3), bool))
        yield morphology.remove_small_holes(mask, max_size=900)


def _closed(mask: Bools, radius: int) -> Bools:
    """Gaps of less than twice ``radius`` closed and all holes filled."""
    ndimage = require("scipy.ndimage", "regions")
    padded = np.pad(mask, radius + 1)
    near = ndimage.distance_transform_edt(~padded) <= radius
    closed = ndimage.distance_transform_edt(near) > radius
    inner = slice(radius + 1, -radius - 1)
    return np.asarray(ndimage.binary_fill_holes(closed[inner, inner]))


def _parts(mask: Bools) -> Iterator[Candidate]:
    ndimage = require("scipy.ndimage", "regions")
    feature, segmentation = require("skimage.feature", "regions"), require("skimage.segmentation", "regions")
    # what lies beyond the border goes on as at the border: a cell that is cut has its centre there
    depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    for sigma in (1.5, 3.5):
        smooth = ndimage.gaussian_filter(depth, sigma)
        peaks = feature.peak_local_max(smooth, min_distance=6, threshold_abs=4, exclude_border=False)
        markers = np.zeros(mask.shape, np.int32)
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
        yield from _objects(segmentation.watershed(-smooth, markers, mask=mask), 2)


def _pieces(mask: Bools, source: int) -> Iterator[Candidate]:
    labelled, _ = require("scipy.ndimage", "regions").label(mask, np.ones((3, 3)))
    yield from _objects(labelled, source)


def _objects(labelled: _Labels, source: int) -> Iterator[Candidate]:
    ndimage = require("scipy.ndimage", "regions")
    areas = np.bincount(labelled.ravel(), minlength=1)
    for number, place in enumerate(ndimage.find_objects(labelled), 1):
        if place is not None and LEAST_AREA <= areas[number] < 0.6 * labelled.size:
            rows, columns = place
            box = (float(columns.start), float(rows.start), float(columns.stop), float(rows.stop))
            yield Candidate(box, source, labelled[place] == number)


def _circles(planes: Planes) -> Iterator[Candidate]:
    feature, transform = require("skimage.feature", "regions"), require("skimage.transform", "regions")
    strength = planes.strength
    height, width = strength.shape
    pad = min(20, height - 1, width - 1)
    edges = feature.canny(np.pad(strength, pad, mode="reflect"), 1.5, low_threshold=0.03, high_threshold=0.08)
    votes = transform.hough_circle(edges, _RADII)
    found = transform.hough_circle_peaks(
        votes, _RADII, min_xdistance=8, min_ydistance=8, total_num_peaks=60, threshold=0.25
    )
    for x, y, radius in zip(found[1] - pad, found[2] - pad, found[3], strict=True):
        yield from _round(float(x), float(y), float(radius), (width, height), 3)


def _blobs(planes: Planes) -> Iterator[Candidate]:
    ndimage, feature = require("scipy.ndimage", "regions"), require("skimage.feature", "regions")
    height, width = planes.values.shape[:2]
    for plane in (planes.values[..., 3], planes.values[..., 0]):
        blobs = ndimage.gaussian_filter(plane, 4) - ndimage.gaussian_filter(plane, 7)
        peaks = feature.peak_local_max(blobs, min_distance=5, threshold_abs=0.015, num_peaks=10, exclude_border=False)
        for y, x in peaks:
            yield from _round(float(x), float(y), 9.5, (width, height), 4)


def _round(x: float, y: float, radius: float, size: tuple[int, int], source: int) -> Iterator[Candidate]:
    """The box of a disc, cut at the picture's border, where at least a quarter of it is left."""
    box = (max(0.0, x - radius), max(0.0, y - radius), min(size[0], x + radius), min(size[1], y + radius))
    if box[2] - box[0] >= radius / 2 and box[3] - box[1] >= radius / 2:
        yield Candidate(box, source)


def overlaps(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of boxes: float64 (len(a), len(b)) of (n, 4) and (m, 4)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    one, two = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    return np.asarray(both / np.maximum(one[:, None] + two[None] - both, 1e-9), np.float64)


def _distinct(found: Sequence[Candidate]) -> list[Candidate]:
    boxes = np.array([one.box for one in found], np.float64).reshape(-1, 4)
    shared = overlaps(boxes, boxes)
    alive, kept = np.ones(len(found), bool), []
    for i, candidate in enumerate(found):
        if alive[i]:
            kept.append(candidate)
            alive &= shared[i] <= SAME
    return kept
