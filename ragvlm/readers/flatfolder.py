"""A folder of pictures and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ragvlm.errors import InputError
from ragvlm.readers.folders import has_pictures, pictures
from ragvlm.types import Record, Skipped


class FlatFolderReader:
    """Every picture in the folder and below is a record without a caption."""

    name = "picture-folder"
    layout = "a folder of pictures"

    def matches(self, path: Path) -> bool:
        """Whether a picture lies in the folder or below."""
        return has_pictures(path)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records with an id and a picture. Raises CorpusError, and InputError where columns are asked for."""
        no_columns(path, columns)
        unread: list[Skipped] = []
        for image in pictures(path, unread):
            yield Record(id=image, image=image)
        yield from unread


def no_columns(path: Path, columns: Mapping[str, str]) -> None:
    """Raise InputError where ``columns`` are asked for, since a folder without a table has none."""
    if columns:
        raise InputError(f"{path}: has no table, so there are no columns: leave out {', '.join(columns)}")
