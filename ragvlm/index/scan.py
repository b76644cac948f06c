"""Which pictures are as they were: told by the file system's own record of them, without reading them.

A file's checksum is taken over from an earlier run where its size, its time of modification and its time of change
(ctime) are those of that run. No program sets the ctime: the system moves it on with every write, rename and copy, also
where a tool gives the file its old time of modification back. As in git's index, a file that was touched less than
SETTLED before it was read is not trusted, since a second write within one tick of the clock would leave no trace.
What changes a file beneath the file system (a failing disk) goes unseen; ``rehash`` reads everything.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ragvlm.errors import StoreError
from ragvlm.paths import atomic_path, sha256_file

NAME = "scan.parquet"
SETTLED = 2_000_000_000  # nanoseconds: the coarsest clock of a file system in use, FAT's
TRUSTED = os.name != "nt"  # there st_ctime is the time of creation, which a write doesn't move


class Seen(NamedTuple):
    """A file as it was seen: bytes, times in nanoseconds, the hex SHA-256 of its content."""

    size: int
    mtime: int
    ctime: int
    sha256: str


class Scan:
    """Checksums of files by the checksums of their paths; threads may ask at once.

    It is a cache of this machine, no part of the index: where it is missing, everything is read.
    """

    def __init__(self, known: dict[str, Seen] | None = None) -> None:
        self._known = known or {}
        self._seen: dict[str, Seen] = {}

    @classmethod
    def read(cls, root: Path) -> Scan:
        """What the last run wrote into the index folder; empty where that can't be read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(root / NAME, page_checksum_verification=True) as file:
                columns = file.read().to_pydict()
            rows = zip(*(columns[name] for name in ("path", *Seen._fields)), strict=True)
            return cls({path: Seen(*values) for path, *values in rows})
        except (OSError, KeyError, TypeError, pa.ArrowException):
            return cls()

    def digest(self, path: Path, name: str | None = None) -> str:
        """Hex SHA-256 of the file ``path``, read only where it may have changed; ``name`` stands for it.

        Raises OSError.
        """
        # hashed: a path may name a person, and need not be UTF-8
        name = hashlib.sha256((name or str(path)).encode(errors="surrogatepass")).hexdigest()
        now, status = time.time_ns(), path.stat()
        times = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get(name)
        digest = known.sha256 if known is not None and known[:3] == times else sha256_file(path)
        if TRUSTED and max(times[1:]) < now - SETTLED:
            self._seen[name] = Seen(*times, digest)
        return digest

    def write(self, root: Path) -> None:
        """Keep what this run saw, where it differs from what the last one did."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._seen == self._known:
            return
        paths = sorted(self._seen)
        columns = {name: [getattr(self._seen[path], name) for path in paths] for name in Seen._fields}
        table = pa.table({"path": pa.array(paths, pa.string()), **columns})
        # a cache: where the disk is full, the next run reads everything
        with suppress(StoreError), atomic_path(root / NAME) as temporary:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
