"""DICOM pixels: one frame -> 8-bit RGB.

Stored values go through the modality transformation (rescale slope and intercept, or its table), then through a
window: the one that is asked for, else the file's own, else the stretch of ``ragvlm.pixels``. MONOCHROME1 is inverted,
padding is black, YBR and palettes become RGB (PS3.3 C.7.6.3 and C.11).
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ragvlm.errors import ImageError
from ragvlm.formats import dicomtags as tags
from ragvlm.formats.windows import Window, named, table
from ragvlm.pixels import array_to_rgb, scale_to_uint8

_PACKAGES = {  # what decodes the rest: pydicom finds them by itself once they are installed
    "1.2.840.10008.1.2.4.51": "python-gdcm or pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "python-gdcm or pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "python-gdcm or pylibjpeg-libjpeg",
}


def n_frames(header: Any) -> int:
    """How many frames the header says, 1 at least."""
    count = tags.number(header, "NumberOfFrames", 1)
    return max(1, int(count or 1))


def size(header: Any) -> tuple[int, int]:
    """Width and height in pixels. Raises ImageError where the file holds no picture."""
    rows, columns = (int(tags.number(header, key, 0) or 0) for key in ("Rows", "Columns"))
    if rows < 1 or columns < 1:
        raise ImageError("is a DICOM file without a picture")
    return columns, rows


def to_rgb(header: Any, stream: BinaryIO, frame: int, window: str | None) -> Image.Image:
    """Frame ``frame`` of the file in ``stream`` as an RGB picture. Raises ImageError."""
    photometric = tags.term(header, "photometric", ("PhotometricInterpretation",))
    if photometric is None:
        raise ImageError("is a DICOM file without a colour space that can be shown")
    array = _decode(header, stream, frame)
    if photometric == "PALETTE COLOR":
        array = _coloured(array, header)
    if array.ndim == 3:
        return array_to_rgb(array)
    if tags.number(header, "BitsStored") == 1:  # a segmentation: yes and no
        array = array.astype(np.bool_)
    grey = _grey(array, _of_frame(header, frame), window)
    padding = _padding(array, header)
    picture = Image.fromarray(grey)
    if photometric == "MONOCHROME1":
        picture = ImageOps.invert(picture)
    if padding is not None and not padding.all():
        picture = Image.fromarray(np.where(padding, np.uint8(0), np.asarray(picture)))
    return picture.convert("RGB")


def _decode(header: Any, stream: BinaryIO, frame: int) -> NDArray[Any]:
    """Stored values (H, W), or (H, W, 3) in RGB."""
    package = tags.pydicom()
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    syntax = header.file_meta.get("TransferSyntaxUID") if hasattr(header, "file_meta") else None
    stream.seek(0)
    try:
        if not syntax or syntax.is_deflated:
            return _whole(package, header, stream, frame)
        if not get_decoder(syntax).is_available:
            more = _PACKAGES.get(str(syntax))
            raise ImageError(
                f"is compressed as {syntax.name}, which isn't decoded here" + (f": pip install {more}" if more else "")
            )
        if syntax.is_encapsulated:
            _check_codestream(header, stream, frame)
            stream.seek(0)
        return pixel_array(stream, index=frame)
    except ImageError:
        raise
    except NotImplementedError:
        raise ImageError("is in a transfer syntax that isn't decoded") from None
    except Exception as error:  # decoders fail in every way there is
        raise ImageError(f"broken DICOM: its pixels can't be decoded ({_safe(error)})") from None


def _whole(package: Any, header: Any, stream: BinaryIO, frame: int) -> NDArray[Any]:
    """A file that can only be read as a whole: deflated, or without the part that names its transfer syntax."""
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset = package.dcmread(stream, force=True, specific_tags=[*tags.READ, "PixelData", "FloatPixelData"])
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return pixel_array(dataset, index=frame)


def _check_codestream(header: Any, stream: BinaryIO, frame: int) -> None:
    """Refuse a compressed frame that says another size than the header, which was checked against the bound."""
    from pydicom.encaps import get_frame
    from pydicom.filereader import dcmread

    dcmread(stream, stop_before_pixels=True, force=True, specific_tags=[])
    # the stream now stands at the pixel data's tag: 4 bytes of tag, 2 of VR, 2 reserved, 4 of length
    if len(stream.read(12)) < 12:
        raise ImageError("is a DICOM file without pixels")
    data = get_frame(stream, frame, number_of_frames=n_frames(header))
    found = codestream_size(data)
    if found is not None and found != size(header):
        raise ImageError(f"broken DICOM: the header says {size(header)} pixels, the compressed frame {found}")


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in a JPEG, JPEG-LS or JPEG 2000 stream's own header, None where it has none (as RLE)."""
    if (at := data.find(b"\xff\x4f\xff\x51")) >= 0 and at < 256:
        x, y, x0, y0 = (int.from_bytes(data[at + i : at + i + 4], "big") for i in (8, 12, 16, 20))
        return x - x0, y - y0
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _safe(error: Exception) -> str:
    """What pydicom says, without the values that it quotes; it saw none but those of the picture's own tags."""
    said = re.sub(r"'[^']*'|\"[^\"]*\"", "...", " ".join(str(error).split()))[:200]
    return said or type(error).__name__


def _coloured(array: NDArray[Any], header: Any) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut

    try:
        colour = apply_color_lut(array, header)
    except Exception as error:
        raise ImageError(f"broken DICOM: its palette can't be applied ({_safe(error)})") from None
    return (colour >> 8).astype(np.uint8) if colour.dtype == np.uint16 else colour


def _of_frame(header: Any, frame: int) -> Any:
    """The tags that hold for one frame: those of the functional groups (PS3.3 C.7.6.16) lie over the file's own."""
    groups = []
    shared, each = (header.get(f"{kind}FunctionalGroupsSequence") for kind in ("Shared", "PerFrame"))
    groups += [shared[0]] if shared else []
    groups += [each[frame]] if each and frame < len(each) else []
    if not groups:
        return header
    merged = tags.pydicom().Dataset()
    merged.update({element.tag: element for element in header if element.VR != "SQ" or "LUT" in element.keyword})
    for group in groups:
        for element in group:
            if element.VR == "SQ" and len(element.value) == 1:
                merged.update({inner.tag: inner for inner in element.value[0]})
    return merged


def _grey(array: NDArray[Any], header: Any, window: str | None) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    try:
        values = apply_modality_lut(array, header)
        if window is not None and (window not in table()["windows"] or tags.modality(header) == "CT"):
            return named(window)(values)
        if luts := header.get("VOILUTSequence"):
            bits = int(luts[0].LUTDescriptor[2])
            return np.rint(np.clip(apply_voi(values, header) / ((1 << bits) - 1), 0, 1) * 255).astype(np.uint8)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"broken DICOM: its look-up table can't be applied ({_safe(error)})") from None
    centre, width = (tags.number(header, key) for key in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width >= 1:
        return Window(centre, width, tags.text(header, "VOILUTFunction").upper() or "LINEAR")(values)
    return _stretched(values, _padding(array, header))


def _stretched(values: NDArray[Any], padding: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    if padding is None or padding.all() or not padding.any():
        return scale_to_uint8(values)
    scaled = np.zeros(values.shape, np.uint8)
    scaled[~padding] = scale_to_uint8(values[~padding])
    return scaled


def _padding(array: NDArray[Any], header: Any) -> NDArray[np.bool_] | None:
    """Which stored values are no picture (PS3.3 C.7.5.1.1.2): uncorrected ones, before any transformation."""
    first = tags.number(header, "PixelPaddingValue")
    if first is None:
        return None
    last = tags.number(header, "PixelPaddingRangeLimit", first)
    low, high = sorted((first, first if last is None else last))
    found: NDArray[np.bool_] = (array >= low) & (array <= high)
    return found
