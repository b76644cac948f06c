"""DICOM headers: what of them may be read, and what of it enters a record.

Nothing but the tags below is parsed at all, by pydicom's ``specific_tags``. Of these an allow-list enters a record,
coded values only where they are terms of the standard (``data/dicom.toml``); PatientID and StudyInstanceUID become its
subject and study, of which an index keeps keyed hashes. Messages of pydicom may quote values, and are never passed on.
"""

from __future__ import annotations

import logging
import math
import warnings
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from ragvlm.errors import ImageError, require
from ragvlm.formats.windows import table

_TERMS = {
    "body_part": ("BodyPartExamined",),
    "laterality": ("ImageLaterality", "Laterality"),
    "view_position": ("ViewPosition",),
    "photometric": ("PhotometricInterpretation",),
    "burned_in": ("BurnedInAnnotation",),
}
_MILLIMETRES = {
    "pixel_spacing_mm": ("PixelSpacing", "ImagerPixelSpacing"),
    "slice_thickness_mm": ("SliceThickness",),
}
_GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber", "SeriesInstanceUID", "SOPInstanceUID")
_PERSON = ("PatientID", "StudyInstanceUID")
_PALETTE = tuple(
    f"{kind}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for kind, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)
_PIXELS = (
    *("SamplesPerPixel", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleIntercept"),
    *("RescaleSlope", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
READ = (
    *("Modality", "SpecificCharacterSet"),
    *(keyword for keywords in (*_TERMS.values(), *_MILLIMETRES.values()) for keyword in keywords),
    *(*_GEOMETRY, *_PERSON, *_PIXELS, *_PALETTE),
)
"""Keywords of all tags that are parsed."""

_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_FIRST = frozenset(
    {0x00, 0x01, 0x05, 0x06, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18}
)  # elements a group 0002 or 0008 begins with
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MOST_INFLATED = 1 << 29


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is DICOM, with or without the preamble of PS3.10."""
    if start[128:132] == b"DICM":
        return True
    for order in ("little", "big"):
        group, element = (int.from_bytes(start[i : i + 2], order) for i in (0, 2))
        if group in (0x0002, 0x0008) and element in _FIRST and len(start) > 16:
            return start[4:6] in _VRS or (order == "little" and int.from_bytes(start[4:8], "little") <= 256)
    return False


@cache
def pydicom() -> ModuleType:
    """The package, silenced: its warnings quote the values that they are about."""
    package = require("pydicom", "medical")
    config = require("pydicom.config", "medical")
    config.settings.reading_validation_mode = config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    return package


def read_header(stream: IO[bytes]) -> Any:
    """The pydicom Dataset of READ, without pixels; the stream's position is lost. Raises ImageError."""
    package = pydicom()
    _check_deflated(stream)
    stream.seek(0)
    try:
        return package.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(READ))
    except Exception as error:  # parsers of broken headers fail in every way there is
        raise ImageError(f"broken DICOM: its header can't be read ({type(error).__name__})") from None


def read_file(path: Path) -> Any:
    """``read_header`` of a file. Raises ImageError, also for what can't be opened."""
    try:
        with path.open("rb") as stream:
            return read_header(stream)
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror or 'no access'}") from None


def _check_deflated(stream: IO[bytes]) -> None:
    """Refuse a deflated data set (PS3.5 A.5) that unpacks to more than 512 MB."""
    stream.seek(0)
    start = stream.read(1024)
    if _DEFLATED not in start or start[128:132] != b"DICM":
        return
    stream.seek(144 + int.from_bytes(start[140:144], "little"))
    unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    block = stream.read(1 << 16)
    while block and not unpacker.eof:
        try:
            size += len(unpacker.decompress(block, 1 << 22))
        except zlib.error:
            raise ImageError("broken DICOM: its deflated part can't be unpacked") from None
        if size > _MOST_INFLATED:
            raise ImageError(f"unpacks to more than {_MOST_INFLATED:,} bytes")
        block = unpacker.unconsumed_tail or stream.read(1 << 16)


def number(header: Any, keyword: str, default: float | None = None) -> float | None:
    """The first value of a numeric tag, ``default`` where it is absent or no finite number."""
    found = numbers(header, keyword)
    return found[0] if found else default


def numbers(header: Any, keyword: str) -> list[float]:
    """All values of a numeric tag; none where one of them is no finite number."""
    try:
        value = header.get(keyword)
        values = (
            []
            if value is None or value == ""
            else value
            if isinstance(value, list | tuple) or _many(value)
            else [value]
        )
        found = [float(item) for item in values]
    except Exception:  # what stands there is not what the tag is for
        return []
    return found if all(math.isfinite(item) for item in found) else []


def _many(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes)


def text(header: Any, keyword: str) -> str:
    """A tag's value as text without padding, "" where it is absent."""
    try:
        value = header.get(keyword)
        return "" if value is None else str(value).strip("\0 ")
    except Exception:
        return ""


def term(header: Any, field: str, keywords: tuple[str, ...]) -> str | None:
    """The first value of ``keywords`` that is a term of ``field`` (see ``data/dicom.toml``)."""
    allowed = table()["terms"][field]
    allowed = allowed.split() if isinstance(allowed, str) else allowed
    return next((found for keyword in keywords if (found := text(header, keyword).upper()) in allowed), None)


def modality(header: Any) -> str | None:
    """The modality's code, as CT."""
    return term(header, "modality", ("Modality",))


def allowed(header: Any) -> Mapping[str, Any]:
    """What of a header enters ``Record.extra``: nothing that isn't listed here."""
    found: dict[str, Any] = {field: term(header, field, keywords) for field, keywords in _TERMS.items()}
    for field, keywords in _MILLIMETRES.items():
        values = next((values for keyword in keywords if (values := numbers(header, keyword))), [])
        found[field] = (
            [round(value, 4) for value in values] if len(values) > 1 else round(values[0], 4) if values else None
        )
    return {field: value for field, value in found.items() if value is not None}


def person(header: Any) -> tuple[str | None, str | None]:
    """The raw subject and study of a record: an index keeps keyed hashes of them."""
    subject, study = (text(header, keyword) or None for keyword in _PERSON)
    return subject, study
