"""The bytes of a picture, from wherever it lies, bounded before they are read."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import IO

from ragvlm.errors import ImageError, InputError

DEFAULT_MAX_PIXELS = 200_000_000


def open_stream(source: object, max_bytes: int) -> IO[bytes]:
    """What a path, bytes or a binary stream holds, at its start: at least 1 byte, at most ``max_bytes``.

    Raises ImageError for anything else, an empty file, a folder and what is no regular file.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | Path):
        return _open_file(source, max_bytes)
    elif hasattr(source, "read"):
        data = source.read(max_bytes + 1)
    else:
        raise ImageError("not a path, bytes, a binary stream, a PIL picture or an array")
    if not isinstance(data, bytes):
        raise ImageError("the stream gives text: open it in binary mode")
    _check_bytes(len(data), max_bytes)
    return io.BytesIO(data)


def _open_file(source: str | Path, max_bytes: int) -> IO[bytes]:
    path = Path(source)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("is not a regular file")
        _check_bytes(status.st_size, max_bytes)
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise ImageError(f"can't be read: {getattr(error, 'strerror', None) or error}") from error


def _check_bytes(size: int, most: int) -> None:
    if size == 0:
        raise ImageError("is empty (0 bytes)")
    if size > most:
        raise ImageError(f"has more than {most:,} bytes: scale it down, or raise RAGVLM_MAX_PIXELS")


def pixel_bound(max_pixels: int | None) -> int:
    """``max_pixels``, by default ``$RAGVLM_MAX_PIXELS``, else 200,000,000. Raises InputError for what is no bound."""
    given = os.environ.get("RAGVLM_MAX_PIXELS") or DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels
    try:
        bound = int(given)
    except ValueError:
        bound = 0
    if bound <= 0:
        raise InputError(f"max_pixels (or RAGVLM_MAX_PIXELS) is {given!r}: give a whole number above 0")
    return bound
