"""MedMNIST: small standardised pictures with labels, as .npz files.

Yang et al., Scientific Data 2023, doi 10.1038/s41597-022-01721-8. The layout was seen in medmnist/dataset.py of
github.com/MedMNIST/MedMNIST: arrays ``train_images``, ``val_images``, ``test_images`` of uint8 (n, H, W) or
(n, H, W, 3) and ``train_labels``, ... of integers (n, L) in a zip of .npy files, called ``retinamnist.npz`` or
``retinamnist_64.npz``.
"""

from __future__ import annotations

import io
import math
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ragvlm.errors import CorpusError, reason
from ragvlm.readers import embedded
from ragvlm.readers.questions import own_columns
from ragvlm.types import Label, Record, Skipped

_SPLITS = ("train", "val", "test")
_MAX_SIDE = 2048
_MAX_LABELS = 1_000
_MAX_ROWS = 10_000_000


class MedMnistReader:
    """One record a picture, ``extra["split"]`` of train, val and test; the label by its name.

    The name of the file says which set it is, and so what the labels are called (``data/medmnist.toml``); in a file of
    another name they are numbers. ChestMNIST has {name: truth value} for each of its labels. Pictures are copied once,
    as BMP, into the cache folder. Nothing is unpickled, and an array is never held as a whole.
    """

    name = "medmnist"
    layout = "a MedMNIST .npz file"

    def matches(self, path: Path) -> bool:
        """Whether the suffix is .npz."""
        return path.suffix.lower() == ".npz"

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records of all splits in the file. Raises CorpusError naming the file and the array."""
        own_columns(path, columns, "MedMNIST")
        known = _known(path)
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
                splits = [split for split in _SPLITS if f"{split}_images.npy" in names]
                if not splits:
                    raise CorpusError(f"{path}: holds no train_images, val_images or test_images: is it of MedMNIST?")
                for split in splits:
                    yield from _records(path, archive, split, known)
        except CorpusError:
            raise
        except Exception as error:  # decoders and header parsers fail in every way there is
            raise CorpusError(f"{path}: is not an .npz file that can be read ({reason(error)})") from error


@dataclass(frozen=True, slots=True)
class _Array:
    """An array in the file, read a row at a time."""

    where: str
    stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        for row in range(self.shape[0]):
            data = self.stream.read(size)
            if len(data) < size:
                raise CorpusError(f"{self.where}: ends after row {row} of {self.shape[0]}: get the file again")
            yield np.frombuffer(data, self.dtype).reshape(self.shape[1:])


def _known(path: Path) -> Mapping[str, Any]:
    table = tomllib.loads(files("ragvlm").joinpath("data", "medmnist.toml").read_text(encoding="utf-8"))
    found: Mapping[str, Any] = table.get(path.stem.lower().partition("_")[0], {})
    return found


def _records(path: Path, archive: zipfile.ZipFile, split: str, known: Mapping[str, Any]) -> Iterator[Record | Skipped]:
    where = f"{path}, {split}"
    with archive.open(f"{split}_images.npy") as pixels, archive.open(f"{split}_labels.npy") as labels:
        images, rows = _open(f"{where}_images", pixels), _open(f"{where}_labels", labels)
        _check(images, rows)
        for number, (image, row) in enumerate(zip(images, rows, strict=True)):
            try:
                named = _labels(row.reshape(-1).tolist(), known)
            except ValueError as error:
                yield Skipped(f"{where}_labels, row {number + 1}", str(error))
                continue
            yield Record(
                id=f"{split}/{number:06d}",
                image=str(embedded.keep(_bmp(image), "x.bmp")),
                modality=known.get("modality"),
                labels=named,
                source=f"MedMNIST, {path.stem}",
                licence=known.get("licence"),
                extra={"split": split},
            )


def _open(where: str, stream: IO[bytes]) -> _Array:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise CorpusError(f"{where}: is written in an unknown version of the .npy format: save it again with numpy")
    shape, fortran, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in "uib" or fortran:
        raise CorpusError(f"{where}: is {dtype}, {'column' if fortran else 'row'} by {'column' if fortran else 'row'}; "
                          "it must hold whole numbers, row by row")  # fmt: skip
    return _Array(where, stream, tuple(shape), dtype)


def _check(images: _Array, labels: _Array) -> None:
    shape = images.shape
    if len(shape) == 4 and shape[3] != 3:
        raise CorpusError(f"{images.where}: has the shape {shape}, of volumes: only the 2D sets hold pictures")
    if len(shape) not in (3, 4) or min(shape[1:]) < 1 or max(shape[1:3]) > _MAX_SIDE or images.dtype != np.uint8:
        raise CorpusError(
            f"{images.where}: is {images.dtype} of shape {shape}; it must be uint8 (n, height, width) or "
            f"(n, height, width, 3), with sides up to {_MAX_SIDE}"
        )
    width = math.prod(labels.shape[1:])
    if not labels.shape or labels.shape[0] != shape[0] or not 1 <= width <= _MAX_LABELS or shape[0] > _MAX_ROWS:
        raise CorpusError(f"{labels.where}: has the shape {labels.shape}, but there are {shape[0]} pictures")


def _labels(numbers: list[int], known: Mapping[str, Any]) -> dict[str, Label]:
    names = known.get("labels")
    if known.get("multilabel"):
        if len(numbers) != len(known["labels"]):
            raise ValueError(f"has {len(numbers)} labels, not {len(known['labels'])}")
        return {name: bool(number) for name, number in zip(known["labels"], numbers, strict=True)}
    if len(numbers) > 1:
        return {f"label {place}": int(number) for place, number in enumerate(numbers)}
    number = int(numbers[0])
    if names is None:
        return {"label": number}
    if not 0 <= number < len(names):
        raise ValueError(f"is {number}; the set has the labels 0 to {len(names) - 1}")
    return {"label": names[number]}


def _bmp(pixels: NDArray[Any]) -> bytes:
    # not compressed: the same bytes, and so the same fingerprint of the corpus, with every version of zlib
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return buffer.getvalue()
