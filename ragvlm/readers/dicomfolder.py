"""A folder of DICOM files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ragvlm import hidden
from ragvlm.errors import CorpusError
from ragvlm.formats import series
from ragvlm.readers.flatfolder import no_columns
from ragvlm.readers.folders import pictures
from ragvlm.types import Record, Skipped


class DicomFolderReader:
    """One record a series of slices, by position and orientation, and one for every other picture, DICOM or not.

    Files are known by their content. What their headers may tell is added where all records of DICOM files get it, in
    ``ragvlm.formats.dicom``; reports come from a table beside the files, which then says what the records are.
    """

    name = "dicom-folder"
    layout = "a folder of DICOM files"

    def matches(self, path: Path) -> bool:
        """Whether one of the first few files is DICOM."""
        return path.is_dir() and series.sniff(path)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records without captions, and the files whose header can't be read, by the hashes of their names.

        Raises CorpusError, and InputError where columns are asked for.
        """
        no_columns(path, columns)
        try:
            found = series.scan(path)
        except OSError as error:
            raise CorpusError(f"{path}: {error.strerror or error}") from error
        for one in found.series:
            yield Record(id=one.key, image=f".#series={one.key}")
        for file in found.singles:
            yield Record(id=file, image=file)
        seen = {*found.singles, *(file for one in found.series for file in one.files), *dict(found.broken)}
        for image in pictures(path, []):
            if image not in seen:
                yield Record(id=image, image=image)
        for file, why in found.broken:
            yield Skipped(f".#file={hidden.digest(file)}", why)
