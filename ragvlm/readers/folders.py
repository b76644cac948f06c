"""Pictures in folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ragvlm.errors import CorpusError
from ragvlm.images import SUPPORTED_SUFFIXES
from ragvlm.types import Skipped


def pictures(root: Path, unread: list[Skipped] | None = None) -> Iterator[str]:
    """Pictures anywhere below ``root``, as sorted relative paths with "/"; hidden files and folders are left out.

    What is called like a picture counts as one, if it is no folder. Links to folders are not followed. Folders that
    can't be read are added to ``unread``; without it they raise CorpusError.
    """

    def fail(error: OSError) -> None:
        if unread is None or Path(error.filename) == root:
            raise CorpusError(f"{error.filename}: {error.strerror}") from error
        unread.append(Skipped(str(error.filename), f"can't be read: {error.strerror}"))

    for folder, subfolders, files in os.walk(root, onerror=fail):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith((".", "__MACOSX")))
        place = Path(folder).relative_to(root)
        for name in sorted(files):
            if not name.startswith(".") and _is_picture(name):
                yield (place / name).as_posix()


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUPPORTED_SUFFIXES or name.lower().endswith((".nii", ".nii.gz"))


def has_pictures(root: Path) -> bool:
    """Whether a picture lies anywhere below ``root``; False for what can't be read."""
    try:
        return next(pictures(root), None) is not None
    except (CorpusError, ValueError):
        return False


def has_own_pictures(root: Path) -> bool:
    """Whether a picture lies in ``root`` itself; False for what can't be read."""
    try:
        # a folder's own files come before those below it
        return "/" not in next(pictures(root), "/")
    except (CorpusError, ValueError):
        return False


def subfolders(root: Path) -> list[str]:
    """Names of the folders in ``root``, sorted, without hidden ones; none where it can't be read."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith((".", "__MACOSX")))
    except (OSError, ValueError):
        return []
