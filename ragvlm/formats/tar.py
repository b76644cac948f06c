"""Members of tar files: ``shards/0001.tar#member=000000012.jpg``.

By tarfile of the standard library. The package webdataset reads shards as a stream alone, while a record must name a
place that can be opened again; and its decoders include pickle. Nothing is unpacked to disk: a member's name is a
key, never a path, and links, devices and sparse files are not followed.
"""

from __future__ import annotations

import io
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ragvlm.errors import ImageError, reason

if TYPE_CHECKING:
    from ragvlm.formats import Source

KEPT = 16  # tables of contents held at once; one of 10,000 members takes about 2 MB


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar: its name, and where in the tar its bytes are."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """The regular files in the tar at ``path``, in order, by their headers alone.

    Raises ImageError where the tar is damaged, after those before the damage, and OSError where it can't be read.
    """
    whole, last = path.stat().st_size, "its beginning"
    try:
        with tarfile.open(path, "r:") as tar, path.open("rb") as stream:
            while (item := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else it keeps them all
                last = f"member {item.name!r}"
                if item.isreg() and not item.issparse():
                    if item.offset_data + item.size > whole:
                        raise ImageError(f"the tar ends within its {last}: copy it again")
                    yield Member(item.name, item.offset_data, item.size)
            stream.seek(tar.offset)
            if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a broken header for the end
                raise ImageError(f"broken tar: what follows {last} is no header")
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise ImageError(f"broken tar after {last} ({reason(error)})") from error


def read_member(stream: IO[bytes], member: Member, most: int) -> bytes:
    """The bytes of ``member`` from the tar ``stream``. Raises ImageError where they are more than ``most``, or cut."""
    if member.size > most:
        raise ImageError(f"member {member.name!r} has {member.size:,} bytes, more than {most:,}")
    stream.seek(member.offset)
    data = stream.read(member.size)
    if len(data) != member.size:
        raise ImageError(f"the tar ends within its member {member.name!r}: copy it again")
    return data


class Tar:
    """One picture a place: the part ``member`` names it. Uncompressed tars, as shards are: others can't be entered."""

    name = "tar"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int, int], dict[str, Member]] = OrderedDict()

    def matches(self, start: bytes, path: Path | None) -> bool:
        """Whether the first header is a tar's (POSIX or GNU)."""
        return start[257:262] == b"ustar"

    def open(self, source: Source) -> IO[bytes]:
        """The bytes of the member. Raises ImageError where there is none of that name."""
        stream, place = source.stream, source.place
        if stream is None or not place.path:
            raise ImageError("a tar must be a file")
        place.only({"member", "page"}, "a tar")
        wanted = place.parts.get("member")
        if wanted is None:
            raise ImageError("is a tar of many files: name one, as in shard.tar#member=a.jpg")
        member = self._contents(place.file).get(wanted)
        if member is None:
            raise ImageError(f"the tar has no member {wanted!r}")
        return io.BytesIO(read_member(stream, member, source.max_bytes))

    def _contents(self, path: Path) -> dict[str, Member]:
        """The table of contents, read once for the many members that are opened in turn."""
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        with self._lock:
            if key not in self._known:
                self._known[key] = _table(path)
                while len(self._known) > KEPT:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]


def _table(path: Path) -> dict[str, Member]:
    found: dict[str, Member] = {}
    try:
        for member in members(path):
            found.setdefault(member.name, member)
    except ImageError:  # what lies before the damage can be opened still
        if not found:
            raise
    return found
