"""A folder whose sub-folders are labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ragvlm.readers.flatfolder import no_columns
from ragvlm.readers.folders import has_own_pictures, has_pictures, pictures, subfolders
from ragvlm.types import Record, Skipped


class LabelFolderReader:
    """Two or more sub-folders of pictures, and no picture beside them; the label is the sub-folder's name."""

    name = "label-folder"
    layout = "a folder with a sub-folder of pictures for each label"

    def matches(self, path: Path) -> bool:
        """Whether all pictures lie in sub-folders, two at least."""
        folders = [name for name in subfolders(path) if has_pictures(path / name)]
        return len(folders) >= 2 and not has_own_pictures(path)

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records without captions. Raises CorpusError, and InputError where columns are asked for."""
        no_columns(path, columns)
        unread: list[Skipped] = []
        for image in pictures(path, unread):
            yield Record(id=image, image=image, labels={"label": image.partition("/")[0]})
        yield from unread
