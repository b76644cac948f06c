"""Reading and writing of FAISS's files, with errors of one line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ragvlm.errors import StoreError, require


def write(index: Any, path: Path) -> None:
    """Write ``index`` to ``path`` in FAISS's format. Raises StoreError where that fails."""
    try:
        require("faiss", "faiss").write_index(index, str(path))
    except RuntimeError as error:
        raise StoreError(f"{path} can't be written by FAISS: {_reason(error)}") from error


def mapped(path: Path, kind: str) -> Any:
    """The index in ``path``, of FAISS's class ``kind``, memory-mapped. Raises StoreError where it isn't that."""
    faiss = require("faiss", "faiss")
    try:
        # the plain IO_FLAG_MMAP copies all but inverted lists into memory; this variant maps
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:
        raise StoreError(f"{path} can't be read as a FAISS index: {_reason(error)}") from error
    if type(index).__name__ != kind:
        raise StoreError(f"{path} holds a {type(index).__name__}, not an {kind}; build the index again")
    return index


def owned(index: Any) -> Any:
    """A copy of a mapped ``index`` in memory: FAISS ends the process where a mapped one grows."""
    faiss = require("faiss", "faiss")
    # not by serialize_index: SWIG takes its vector of bytes for another library's where one that it wraps too
    # (SimpleITK, which BioViL-T's package brings) was imported since
    copy = io.BytesIO()
    writer = faiss.PyCallbackIOWriter(copy.write)
    faiss.write_index(index, writer)
    del writer  # which flushes it
    copy.seek(0)
    return faiss.read_index(faiss.PyCallbackIOReader(copy.read))


def _reason(error: BaseException) -> str:
    """The last part of FAISS's message, which begins with a C++ signature."""
    return str(error).splitlines()[0].rpartition("Error: ")[2][:120] or type(error).__name__
