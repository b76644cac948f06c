"""Regions on a picture (a mask, or boxes) as a few numbers, and how alike two pictures are by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import ImageError, InputError, RagvlmError, require
from ragvlm.types import Float32, Record

if TYPE_CHECKING:
    from ragvlm.corpus import Corpus

SIDE = 256  # of the raster on which shapes are measured
GRID = 12  # cells a side of the map of where regions lie
SHAPES = ("area", "count", "region_area", "region_spread", "eccentricity", "solidity", *(f"hu{i}" for i in range(1, 8)))
DIM = len(SHAPES) + GRID * GRID
_MAX_REGIONS = 10_000


def describe_mask(mask: NDArray[Any]) -> list[float]:
    """A mask as DIM numbers: SHAPES, then the covered share of each cell of the GRID, row by row.

    ``mask`` is (H, W), 0 is background. Where it has one other value, regions are what touches (8 neighbours); where it
    has several, each is a region.

    area: covered share of the picture. count: log(1 + regions). region_area and region_spread: mean and standard
    deviation of the regions' share of the picture, each as its root. eccentricity and solidity: means over the regions
    (scikit-image's regionprops). hu1 to hu7: -sign(h) log10 |h| / 20 of the moments of what is covered
    (Hu, IRE Trans Inf Theory 1962, doi 10.1109/TIT.1962.1057692).
    Raises InputError for another shape, MissingExtraError without scikit-image (``ragvlm[slides]``).
    """
    if mask.ndim != 2 or 0 in mask.shape:
        raise InputError(f"a mask of shape {mask.shape} is not (height, width)")
    measure = require("skimage.measure", "slides")
    small = _shrunk(mask)
    labelled = measure.label(small > 0, connectivity=2) if len(np.unique(small)) <= 2 else small
    props = measure.regionprops(labelled)[:_MAX_REGIONS]
    covered = (labelled > 0).astype(np.float64)
    areas = np.array([prop.area / covered.size for prop in props]) if props else np.zeros(1)
    shapes = [
        float(covered.mean()),
        float(np.log1p(len(props))),
        float(np.sqrt(areas.mean())),
        float(np.sqrt(areas.std())),
        float(np.mean([prop.eccentricity for prop in props])) if props else 0.0,
        float(np.mean([prop.solidity for prop in props])) if props else 0.0,
        *_hu(covered, measure),
    ]
    return [round(value, 4) for value in [*shapes, *_grid(covered)]]


def describe_boxes(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> list[float]:
    """``boxes`` [xmin, ymin, xmax, ymax] in pixels of a picture of ``size`` (width, height), as ``describe_mask``."""
    width, height = size
    scale = min(1.0, SIDE / max(width, height, 1))
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    raster = np.zeros(shape, np.int32)
    for number, (left, top, right, bottom) in enumerate(boxes[:_MAX_REGIONS], start=1):
        rows = slice(max(0, int(top * scale)), max(int(top * scale) + 1, round(bottom * scale)))
        raster[rows, max(0, int(left * scale)) : max(int(left * scale) + 1, round(right * scale))] = number
    # one box would look like a mask of two values, which it also is
    return describe_mask(raster)


def similarity(own: Float32, others: Float32) -> Float32:
    """How alike the regions are: ``own`` (DIM,), ``others`` (n, DIM), NaN where unknown -> float32 (n,) in [0, 1].

    The mean of two: where they lie, the shared over the joint cover of the grid's cells (sum of minima / sum of maxima,
    which for whole cells is the intersection over union); and their shapes, 1 - the mean distance of SHAPES, each over
    its spread among ``others``. NaN where a record has no regions.
    """
    shapes = len(SHAPES)
    low, high = np.minimum(own[shapes:], others[:, shapes:]), np.maximum(own[shapes:], others[:, shapes:])
    joint = high.sum(axis=1)
    place = np.divide(low.sum(axis=1), joint, out=np.ones_like(joint), where=joint != 0)
    known = others[~np.isnan(others[:, 0]), :shapes]
    spread = np.ptp(known, axis=0) if len(known) else np.ones(shapes, np.float32)
    distance = np.abs(others[:, :shapes] - own[:shapes]) / np.where(spread > 0, spread, 1)
    shape = 1 - np.clip(distance, 0, 1).mean(axis=1)
    return np.asarray((place + shape) / 2, np.float32)


def with_regions(corpus: Corpus) -> Corpus:
    """``corpus`` with ``extra["regions"]`` on every record that has a mask or boxes.

    ``extra["mask"]`` is a picture's path, relative to the corpus; ``extra["boxes"]`` is a list of [xmin, ymin, xmax,
    ymax], or of objects that have such as "bbox", in pixels of the record's picture (``extra``'s width and height,
    else the picture's own). Raises CorpusError where one can't be read, InputError where no record has any.
    """
    from ragvlm.errors import CorpusError

    records = []
    for record in corpus.records:
        try:
            found = _regions_of(record, Path(corpus.root))
        except (RagvlmError, ValueError, TypeError, KeyError) as error:
            raise CorpusError(f"record {record.id!r}: its regions can't be read ({error})") from error
        records.append(record if found is None else replace(record, extra={**record.extra, "regions": found}))
    if all("regions" not in record.extra for record in records):
        raise InputError(f"{corpus.root}: no record has a column 'mask' or 'boxes': leave regions out")
    return replace(corpus, records=tuple(records))


def read_mask(path: Path) -> NDArray[Any]:
    """The mask in a picture of one channel: (H, W), values as they are stored. Raises ImageError."""
    from PIL import Image

    from ragvlm.images import image_info

    image_info(path)  # bounded, and one clear line for what is no picture
    try:
        with Image.open(path, formats=("PNG", "TIFF", "BMP", "GIF")) as picture:
            values = np.asarray(picture if picture.mode in ("1", "L", "P", "I", "I;16") else picture.convert("L"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{path}: broken mask ({error})") from error
    return values.astype(np.int64)


def _regions_of(record: Record, root: Path) -> list[float] | None:
    mask, boxes = record.extra.get("mask"), record.extra.get("boxes")
    if isinstance(mask, str) and mask:
        return describe_mask(read_mask(root / mask))
    if not isinstance(boxes, list):
        return None
    plain = [box["bbox"] if isinstance(box, Mapping) else box for box in boxes]
    size = (record.extra.get("width"), record.extra.get("height"))
    if not all(isinstance(side, int) and side > 0 for side in size):
        from ragvlm.images import image_info

        info = image_info(root / str(record.image))
        size = (info.width, info.height)
    return describe_boxes([[float(value) for value in box] for box in plain], (int(size[0] or 1), int(size[1] or 1)))


def _shrunk(mask: NDArray[Any]) -> NDArray[np.int64]:
    """The nearest pixels of a raster of at most SIDE a side."""
    height, width = mask.shape
    scale = max(1.0, max(height, width) / SIDE)
    rows = np.minimum((np.arange(max(1, round(height / scale))) + 0.5) * scale, height - 1).astype(int)
    columns = np.minimum((np.arange(max(1, round(width / scale))) + 0.5) * scale, width - 1).astype(int)
    small = mask[np.ix_(rows, columns)].astype(np.int64)
    return np.maximum(small, 0)


def _hu(covered: NDArray[np.float64], measure: Any) -> list[float]:
    if not covered.any():
        return [0.0] * 7
    central = measure.moments_central(covered)
    moments = measure.moments_hu(measure.moments_normalized(central))
    logs = [-np.sign(h) * np.log10(abs(h)) if abs(h) > 1e-20 else 20.0 for h in moments]
    return [float(value) / 20 for value in logs]


def _grid(covered: NDArray[np.float64]) -> list[float]:
    """The covered share of each cell."""
    rows = np.array_split(covered, GRID, axis=0) if covered.shape[0] >= GRID else [covered] * GRID
    cells = []
    for row in rows:
        parts = np.array_split(row, GRID, axis=1) if row.shape[1] >= GRID else [row] * GRID
        cells += [float(part.mean()) for part in parts]
    return cells
