"""Reading a stack plane by plane: a projection over depth, and one colour picture of its channels."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ragvlm.errors import ImageError
from ragvlm.microscopy.colours import PALETTE, channel_colours, is_transmitted
from ragvlm.microscopy.metadata import Channel, StackInfo, parse_imagej, parse_ome
from ragvlm.pixels import array_to_rgb, scale_to_uint8

PROJECTIONS = ("max", "mean", "middle")


@dataclass(frozen=True, slots=True)
class View:
    """Which picture of a stack is meant.

    channel: names or numbers (from 0) of channels, separated by commas; "" means all of them. projection: what becomes
    of the depth: "max" (the brightest value of each pixel), "mean", or "middle" (the middle slice). z: this slice
    instead of a projection. t: which time point. Slices and time points count from 0.
    """

    channel: str = ""
    projection: str = "max"
    z: int | None = None
    t: int = 0

    def __post_init__(self) -> None:
        if self.projection not in PROJECTIONS:
            raise ImageError(f"projection {self.projection!r} is unknown: choose one of {', '.join(PROJECTIONS)}")


@dataclass(frozen=True, slots=True)
class Stack:
    """An open stack: what its header says, and one plane at a time."""

    info: StackInfo
    series: Any
    sizes: dict[str, int]

    @property
    def planes(self) -> int:
        """How many planes there are: channels, slices and time points, and samples that are no colours."""
        return math.prod(size for axis, size in self.sizes.items() if axis not in "YXS")

    def picture(self, view: View, check: Callable[[int, int], None]) -> Image.Image:
        """RGB picture of ``view``; ``check(width, height)`` is called before decoding. Raises ImageError."""
        check(self.sizes["X"], self.sizes["Y"])
        if self.sizes.get("S", 1) > 1:
            return array_to_rgb(self._plane({"Z": self._slice(view), "T": self._time(view)}))
        chosen = choose(self.info.channels, view.channel)
        layers = [scale_to_uint8(self._projected(place, view)) for place in chosen]
        return blend(layers, channel_colours([self.info.channels[place] for place in chosen]))

    def _projected(self, channel: int, view: View) -> NDArray[Any]:
        """One channel, (Y, X): held are one plane and what was made of those before it."""
        at = {"C": channel, "T": self._time(view)}
        if view.z is not None or view.projection == "middle":
            return self._plane(at | {"Z": self._slice(view)})
        depth = self.sizes.get("Z", 1)
        plane = self._plane(at | {"Z": 0})
        if depth == 1:
            return plane
        total = plane.astype(np.float64) if view.projection == "mean" else plane.copy()
        for z in range(1, depth):
            plane = self._plane(at | {"Z": z})
            if view.projection == "mean":
                total += plane
            else:
                np.maximum(total, plane, out=total)
        return (total / depth).astype(np.float32) if view.projection == "mean" else total

    def _slice(self, view: View) -> int:
        depth = self.sizes.get("Z", 1)
        return _within("slice", depth // 2 if view.z is None else view.z, depth)

    def _time(self, view: View) -> int:
        return _within("time point", view.t, self.sizes.get("T", 1))

    def _plane(self, at: dict[str, int]) -> NDArray[Any]:
        """The plane (Y, X) or (Y, X, S) at these indices; axes that ``at`` doesn't name stand at 0."""
        axes, shape = self.series.axes, self.series.shape
        inner = len(self.series.keyframe.shape)
        lead, page_axes = axes[: len(axes) - inner], axes[len(axes) - inner :]
        number = 0
        for axis, size in zip(lead, shape, strict=False):
            number = number * size + min(at.get(axis, 0), size - 1)
        if len(self.series.pages) > number:
            page = self.series.pages[number]
            if page is None:
                raise ImageError(f"broken TIFF: plane {number} is missing")
            array = page.asarray(maxworkers=1)
        else:  # ImageJ keeps large stacks behind one header
            array = _contiguous(self.series, number)
        for place in range(len(page_axes) - 1, -1, -1):
            if page_axes[place] not in "YXS":
                array = np.take(array, min(at.get(page_axes[place], 0), array.shape[place] - 1), axis=place)
        kept = [axis for axis in page_axes if axis in "YXS"]
        return np.transpose(array, [kept.index(axis) for axis in "YXS" if axis in kept])


def open_stack(stream: IO[bytes]) -> Stack | None:
    """The first image of an OME-TIFF or an ImageJ hyperstack; None for any other TIFF and for one plane of a set of
    files. The stream must stay open. Raises ImageError, or whatever tifffile raises, for a broken file.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would log names in the file
    stream.seek(0)
    # other files that a file names are not opened
    file = tifffile.TiffFile(stream, _multifile=False)
    info = _info(file)
    if info is None or not file.series:
        return None
    series = file.series[0].levels[0]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    if not {"X", "Y"} <= sizes.keys() or any(size < 1 for size in sizes.values()):
        return None
    count = sizes.get("C", 1)
    channels = (info.channels + (Channel(),) * count)[:count]
    return Stack(StackInfo(channels, info.pixel_um, info.magnification), series, sizes)


def _info(file: Any) -> StackInfo | None:
    """What the header says; refuses headers that promise more planes than the file has pages for."""
    first = file.pages.first
    if file.is_ome:
        info, planes = parse_ome(first.description)
        # tifffile makes a list of that length before it looks for the planes; samples count as channels
        if planes > len(file.pages) * max(first.samplesperpixel, first.imagedepth):
            return None
        return info
    if file.is_imagej:
        header = file.imagej_metadata or {}
        planes = math.prod(int(header.get(name, 1)) for name in ("channels", "slices", "frames"))
        if not 1 <= planes * first.nbytes <= file.filehandle.size * (1 if first.is_final else 1000):
            return None
        per_unit = [_resolution(first, name) for name in ("XResolution", "YResolution")]
        return parse_imagej(header, per_unit)
    return None


def _resolution(page: Any, name: str) -> float | None:
    value = page.tags.valueof(name)
    return value[0] / value[1] if value and value[0] and value[1] else None


def _contiguous(series: Any, number: int) -> NDArray[Any]:
    page, handle = series.keyframe, series.keyframe.parent.filehandle
    if not page.is_final:
        raise ImageError(f"broken TIFF: plane {number} is missing")
    handle.seek(page.dataoffsets[0] + number * page.nbytes)
    data = handle.read(page.nbytes)
    if len(data) < page.nbytes:
        raise ImageError(f"broken TIFF: plane {number} is missing")
    return np.frombuffer(data, page.parent.byteorder + page.dtype.char).reshape(page.shape)


def _within(what: str, value: int, size: int) -> int:
    if not 0 <= value < size:
        raise ImageError(f"{what} {value} does not exist: the stack has {size} (they count from 0)")
    return value


def choose(channels: Sequence[Channel], asked: str) -> list[int]:
    """Positions of the channels that ``asked`` names; "" means all that can be shown together.

    Together are shown the first seven, without transmitted light where there is fluorescence: it is bright where
    nothing is. Raises ImageError for a name that no channel has.
    """
    if not asked:
        glowing = [place for place, channel in enumerate(channels) if not is_transmitted(channel)]
        return (glowing or list(range(len(channels))))[: len(PALETTE)]
    names = [channel.name.casefold() for channel in channels]
    chosen = []
    for part in (part.strip() for part in asked.split(",")):
        if part.casefold() in names:
            chosen.append(names.index(part.casefold()))
        elif part.isascii() and part.isdigit() and int(part) < len(channels):
            chosen.append(int(part))
        else:
            known = ", ".join(f"{place} ({c.name})" if c.name else str(place) for place, c in enumerate(channels))
            raise ImageError(f"has no channel {part!r}: its channels are {known}")
    return chosen


def blend(layers: Sequence[NDArray[np.uint8]], colours: Sequence[tuple[int, int, int]]) -> Image.Image:
    """uint8 ``layers`` (H, W), each in its colour, added up and clipped: RGB (as ImageJ's composite)."""
    if len(layers) == 1:
        return array_to_rgb(layers[0])
    total = np.zeros((*layers[0].shape, 3), np.uint16)
    for layer, colour in zip(layers, colours, strict=True):
        for sample in (sample for sample in range(3) if colour[sample]):
            total[..., sample] += (layer.astype(np.uint16) * colour[sample] // 255).astype(np.uint16)
    return Image.fromarray(np.minimum(total, 255).astype(np.uint8))


def read_info(path: Path) -> tuple[StackInfo, int] | None:
    """What the header of the file at ``path`` says, and how many planes there are; None for no stack, and a broken one,
    which is told by whoever opens its picture."""
    try:
        with path.open("rb") as stream:
            stack = open_stack(stream)
            return (stack.info, stack.planes) if stack is not None else None
    except Exception:
        return None
