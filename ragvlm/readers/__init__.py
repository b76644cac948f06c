"""Corpus formats: one file each, chosen by what lies at the path."""

from __future__ import annotations

from pathlib import Path

from ragvlm.errors import CorpusError, InputError
from ragvlm.readers.chexpert import CheXpertReader
from ragvlm.readers.delimited import DelimitedReader
from ragvlm.readers.dicomfolder import DicomFolderReader
from ragvlm.readers.flatfolder import FlatFolderReader
from ragvlm.readers.hfdataset import HfDatasetReader
from ragvlm.readers.hfparquet import HfParquetReader
from ragvlm.readers.imagefolder import ImageFolderReader
from ragvlm.readers.iuxray import IuXrayReader, R2GenReader
from ragvlm.readers.jsonl import JsonlReader
from ragvlm.readers.labelfolder import LabelFolderReader
from ragvlm.readers.medmnist import MedMnistReader
from ragvlm.readers.parquet import ParquetReader
from ragvlm.readers.pmcvqa import PmcVqaReader
from ragvlm.readers.rocov2 import RocoV2Reader
from ragvlm.readers.rsna import RsnaReader
from ragvlm.readers.slake import SlakeReader
from ragvlm.readers.vqarad import VqaRadReader
from ragvlm.readers.vqatable import VqaTableReader
from ragvlm.readers.webdataset import WebDatasetReader
from ragvlm.types import Reader

READERS = (
    HfDatasetReader(),
    HfParquetReader(),
    VqaRadReader(),
    SlakeReader(),
    PmcVqaReader(),
    RocoV2Reader(),
    CheXpertReader(),
    RsnaReader(),
    IuXrayReader(),
    R2GenReader(),
    MedMnistReader(),
    ImageFolderReader(),
    WebDatasetReader(),
    DicomFolderReader(),
    LabelFolderReader(),
    FlatFolderReader(),
    JsonlReader(),
    DelimitedReader(),
    ParquetReader(),
    VqaTableReader(),
    SlakeReader("slake-zh", "zh", "the questions of SLAKE in Chinese (asked for by name)"),
)
"""All formats; the first that matches reads the path, so the more particular come first."""


def find_reader(path: Path, name: str | None = None) -> Reader:
    """The reader called ``name``, else the first whose format lies at ``path``.

    Raises InputError for an unknown name, CorpusError where nothing lies there or no format matches.
    """
    if name is not None:
        for reader in READERS:
            if reader.name == name:
                return reader
        raise InputError(f"unknown reader {name!r}: choose one of {', '.join(r.name for r in READERS)}")
    try:
        if not path.exists() and not WebDatasetReader().matches(path):  # a pattern is no file
            raise CorpusError(f"{path}: no such file or folder")
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    for reader in READERS:
        if reader.matches(path):
            return reader
    raise CorpusError(f"{path}: holds no corpus; understood are {'; '.join(r.layout for r in READERS)}")
