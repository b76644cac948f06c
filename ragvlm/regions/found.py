"""What was found where: regions of a picture, as values that print, turn into JSON and COCO, and show themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Bools: TypeAlias = NDArray[np.bool_]
Edges: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FoundRegion:
    """A region: ``box`` [xmin, ymin, xmax, ymax] in pixels from edge to edge, ``label``, ``score`` in [0, 1].

    ``mask`` is bool, over the whole pixels that the box touches (``window``), None where only the box is known.
    ``record_ids`` are the records whose regions are most like it, nearest first, where it was found by them. ``part``
    names the slice of a volume that it lies on.
    """

    box: Edges
    label: str
    score: float
    mask: Bools | None = field(default=None, repr=False, compare=False)
    record_ids: tuple[str, ...] = ()
    part: str | None = None

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that ``mask`` covers."""
        return window(self.box)

    @property
    def area(self) -> float:
        """Square pixels: of the mask, else of the box."""
        if self.mask is not None:
            return float(self.mask.sum())
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    def to_dict(self, pixel_um: tuple[float, float] | None = None) -> dict[str, Any]:
        """JSON types; ``pixel_um`` (x, y), where it is known, adds µm."""
        out: dict[str, Any] = {
            "label": self.label,
            "score": round(self.score, 4),
            "bbox": [round(edge, 2) for edge in self.box],
            "area": round(self.area, 1),
        }
        if pixel_um:
            x, y = pixel_um
            left, top, right, bottom = self.box
            out["um"] = [round(v, 3) for v in (left * x, top * y, right * x, bottom * y)]
            out["area_um2"] = round(self.area * x * y, 3)
        out |= {"record_ids": list(self.record_ids)} if self.record_ids else {}
        return out | ({"slice": self.part} if self.part is not None else {})


@dataclass(frozen=True, slots=True)
class Grounding:
    """Where the words ``phrase`` are on a picture of ``size`` (width, height), surest region first.

    ``label`` is the index's label that the words were taken for. ``count`` is the number of regions (of a volume that
    of all slices), ``expected`` how many the annotators of the index's corpus would count, where an index is asked.
    ``abstained`` says that the question can't be
    answered, and ``reason`` why; no region and no abstention means that there is none. ``pixel_um`` is the size of a
    pixel (x, y), where it is known. ``picture`` is shown in reports and notebooks.
    """

    query_id: str
    phrase: str
    size: tuple[int, int]
    regions: tuple[FoundRegion, ...]
    method: str
    label: str | None = None
    count: int = 0
    expected: float | None = None
    abstained: bool = False
    reason: str | None = None
    pixel_um: tuple[float, float] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    picture: Image | None = field(default=None, repr=False, compare=False)

    def mask(self, part: str | None = None) -> NDArray[np.int32]:
        """The regions drawn: int32 (height, width), 0 is background, n the n-th region; the surer lies above.

        A region without a mask is drawn as its box. ``part`` takes those of one slice of a volume.
        """
        width, height = self.size
        out = np.zeros((height, width), np.int32)
        for number, region in reversed(list(enumerate(self.regions, 1))):
            if part is None or region.part == part:
                inside = out[region.window]
                inside[np.ones(inside.shape, bool) if region.mask is None else region.mask] = number
        return out

    def __str__(self) -> str:
        if self.abstained:
            return f"Abstained: {self.reason}"
        beside = "" if self.expected is None else f" (the corpus's annotators would count {self.expected:.1f})"
        head = f"{self.phrase}: {self.count}{beside}"
        return "\n".join([head, *(_line(region, self.pixel_um) for region in self.regions)])

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm ground --json`` prints, made of JSON types alone."""
        return {
            "image": self.query_id,
            "phrase": self.phrase,
            "label": self.label,
            "abstained": self.abstained,
            "reason": self.reason,
            "count": self.count,
            "expected": None if self.expected is None else round(self.expected, 2),
            "regions": [region.to_dict(self.pixel_um) for region in self.regions],
            "width": self.size[0],
            "height": self.size[1],
            "method": self.method,
            "provenance": dict(self.provenance),
        }

    def to_json(self) -> str:
        """``to_dict`` as a line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def drawn(self) -> Image | None:
        """The picture with the regions on it, None where there is no picture."""
        from ragvlm.regions.drawing import draw

        return None if self.picture is None else draw(self.picture, self.regions)

    def _repr_html_(self) -> str:
        from ragvlm.notebook import card, lines

        drawn = self.drawn()
        return card(self.query_id, lines(*str(self).splitlines()), pictures=[] if drawn is None else [drawn])


def window(box: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns of the whole pixels that ``box`` touches; it must lie inside of the picture."""
    left, top, right, bottom = box
    return slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))


def boxed(mask: NDArray[Any]) -> tuple[Edges, Bools] | None:
    """The box of what a whole picture's ``mask`` (H, W) covers, and the mask inside of it; None where it is empty."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(rows):
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    box = (float(left), float(top), float(right), float(bottom))
    return box, np.asarray(mask[top:bottom, left:right] != 0)


def _line(region: FoundRegion, pixel_um: tuple[float, float] | None) -> str:
    left, top, right, bottom = region.box
    where = f"x {left:.0f}-{right:.0f}, y {top:.0f}-{bottom:.0f}"
    if pixel_um:
        where += f" ({(right - left) * pixel_um[0]:.1f} x {(bottom - top) * pixel_um[1]:.1f} µm)"
    part = f"  {region.part}" if region.part is not None else ""
    return f"  {region.score:.2f}  {region.label}  {where}{part}"
