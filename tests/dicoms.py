"""DICOM files that the tests make, and those that pydicom ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
"""The test files in pydicom's own wheel: nothing is downloaded."""


def make(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """Write a DICOM file: ``pixels`` (H, W), (F, H, W) with NumberOfFrames, or (H, W, 3); ``tags`` by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = tags.get("SOPInstanceUID") or generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    standard = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if colour:
        standard["PlanarConfiguration"] = 0
    for keyword, value in (standard | tags).items():
        setattr(file, keyword, value)
    file.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def phantom(depth: int = 12, size: int = 32) -> np.ndarray:
    """A made CT in Hounsfield units, int16 (depth, size, size): air, a body of water, two lungs, a bone that moves."""
    z, y, x = np.mgrid[:depth, :size, :size]
    centre = size / 2
    values = np.full((depth, size, size), -1000, np.int16)
    values[(y - centre) ** 2 + (x - centre) ** 2 < (0.45 * size) ** 2] = 40
    for side in (-1, 1):
        values[(y - centre) ** 2 + (x - centre - side * size / 5) ** 2 < (size / 8) ** 2] = -800
    bone = (abs(y - size * (0.3 + 0.4 * z / depth)) < 2) & (abs(x - centre) < 2)
    values[bone] = 900
    return values


def series(
    folder: Path, values: np.ndarray, *, names: list[str] | None = None, spacing: float = 5.0, **tags: Any
) -> list[Path]:
    """Write ``values`` (Z, H, W) in HU as an axial CT series, the lowest slice first, under ``names``."""
    common = {
        "SeriesInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "PatientID": "PAT-1",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelSpacing": [1.0, 1.0],
        "SliceThickness": spacing,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    } | tags
    stored = (values.astype(np.int32) + 1024).astype(np.uint16)
    return [
        make(
            folder / (names[n] if names else f"{n:03d}.dcm"),
            slice_,
            **{"ImagePositionPatient": [0, 0, n * spacing], "InstanceNumber": n + 1} | common,
        )
        for n, slice_ in enumerate(stored)
    ]
