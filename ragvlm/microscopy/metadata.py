"""What OME-XML and ImageJ's own header say of a stack: channels, their colours, the size of a pixel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from ragvlm.errors import ImageError

Colour = tuple[int, int, int]

_MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0,
                "\\u00b5m": 1.0, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4}  # fmt: skip
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Channel:
    """``name`` as the file has it, "" where it has none; ``colour`` (RGB) and emission in nm where it states them."""

    name: str = ""
    colour: Colour | None = None
    emission_nm: float | None = None


@dataclass(frozen=True, slots=True)
class StackInfo:
    """``pixel_um``: width, height (and depth) of a pixel in µm, None where unknown. ``magnification`` of the objective,
    where the file tells it."""

    channels: tuple[Channel, ...] = ()
    pixel_um: tuple[float | None, float | None, float | None] = (None, None, None)
    magnification: float | None = None

    def to_extra(self) -> dict[str, Any]:
        """What a record keeps of it, as JSON types: nothing that could name a person."""
        x, y, z = self.pixel_um
        found: dict[str, Any] = {}
        if any(channel.name for channel in self.channels):
            found["channels"] = [channel.name for channel in self.channels]
        if x and y:
            found["pixel_size_um"] = [round(x, 6), round(y, 6)]
        if z:
            found["slice_spacing_um"] = round(z, 6)
        if self.magnification:
            found["magnification"] = self.magnification
        return found


def parse_ome(xml: str) -> tuple[StackInfo, int]:
    """The first image of an OME-XML text and its number of planes (SizeC x SizeZ x SizeT).

    OME data model: Goldberg et al., Genome Biology 2005, doi 10.1186/gb-2005-6-5-r47. Of the text only channels,
    pixel sizes and the objective are taken: names of experimenters, dates and file names stay behind.
    Raises ImageError for XML with a document type or entities, which OME-XML never has, and for what is no OME-XML.
    """
    # a document type could define entities that grow without bound, or name other files
    if re.search(r"<!(DOCTYPE|ENTITY)", xml, re.IGNORECASE):
        raise ImageError("broken OME-XML: it defines a document type")
    try:
        root = ElementTree.fromstring(xml.strip())  # noqa: S314 - without a document type there are no entities
    except ElementTree.ParseError as error:
        raise ImageError(f"broken OME-XML: {error}") from error
    pixels = next((item for item in root.iter() if _tag(item) == "Pixels"), None)
    if pixels is None:
        raise ImageError("broken OME-XML: it describes no pixels")
    channels = tuple(_channel(item.attrib) for item in pixels if _tag(item) == "Channel")
    sizes = [_length(pixels.attrib, f"PhysicalSize{axis}") for axis in "XYZ"]
    powers = (_number(item.get("NominalMagnification")) for item in root.iter() if _tag(item) == "Objective")
    info = StackInfo(channels, (sizes[0], sizes[1], sizes[2]), next(powers, None))
    counts = [_number(pixels.get(f"Size{axis}")) or 1 for axis in "CZT"]
    return info, int(counts[0] * counts[1] * counts[2])


def _tag(item: ElementTree.Element) -> str:
    return str(item.tag).rpartition("}")[2]


def _channel(attributes: Mapping[str, str]) -> Channel:
    name = attributes.get("Name") or attributes.get("Fluor") or ""
    return Channel(name.strip(), _ome_colour(attributes.get("Color")), _number(attributes.get("EmissionWavelength")))


def _ome_colour(text: str | None) -> Colour | None:
    # a signed 32-bit RGBA; white is what writers put where nobody chose a colour
    try:
        value = int(text or "") & 0xFFFFFFFF
    except ValueError:
        return None
    colour = (value >> 24, value >> 16 & 255, value >> 8 & 255)
    return colour if colour not in (_WHITE, (0, 0, 0)) else None


def _length(attributes: Mapping[str, str], name: str) -> float | None:
    value = _number(attributes.get(name))
    factor = _MICROMETRES.get(attributes.get(f"{name}Unit", "µm"))
    return value * factor if value and factor else None


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if 0 < value < 1e12 else None


def parse_imagej(header: Mapping[str, Any], resolution: Sequence[float | None]) -> StackInfo:
    """``header`` is tifffile's ``imagej_metadata``; ``resolution`` the pixels a unit in x and y, None where unknown."""
    count = int(header.get("channels", 1))
    labels = [str(label).strip() for label in header.get("Labels", [])[:count]]
    names = labels if len(set(labels)) == count else [""] * count
    tables = list(header.get("LUTs", []))[:count]
    colours = [_lut_colour(table) for table in tables] + [None] * (count - len(tables))
    factor = _MICROMETRES.get(str(header.get("unit", "")).strip().lower())
    x, y = (factor / value if factor and value else None for value in resolution)
    depth = _number(header.get("spacing"))
    channels = tuple(Channel(name, colour) for name, colour in zip(names, colours, strict=True))
    return StackInfo(channels, (x, y, depth * factor if depth and factor else None))


def _lut_colour(table: Any) -> Colour | None:
    # (3, 256): the colour of the brightest value
    red, green, blue = (int(values[-1]) for values in table)
    return (red, green, blue) if (red, green, blue) not in (_WHITE, (0, 0, 0)) else None
