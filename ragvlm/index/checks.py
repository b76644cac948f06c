"""Whether the files of an index are those of its manifest, and its encoder the one that built it."""

from __future__ import annotations

from pathlib import Path

from ragvlm.errors import EncoderMismatchError, StoreError
from ragvlm.index.manifest import Derived, Manifest, Segment, read_manifest
from ragvlm.paths import sha256_file
from ragvlm.types import Encoder

RETRIES = 3


def settled(path: Path) -> Manifest:
    """The manifest of ``path``, its segments being there, also while a writer replaces both. Raises StoreError."""
    manifest = read_manifest(path)
    for _ in range(RETRIES):
        try:
            check_segments(path, manifest)
        except StoreError:
            latest = read_manifest(path)
            if latest.generation == manifest.generation:
                raise
            manifest = latest
    return manifest


def damaged(path: Path, manifest: Manifest, *, checksums: bool = False) -> list[tuple[Segment, str]]:
    """The segments that are missing or not of their size, or with ``checksums`` not of theirs, and what is wrong."""
    found = [(segment, damage(path, segment, checksums=checksums)) for segment in manifest.segments]
    return [(segment, reason) for segment, reason in found if reason]


def damage(path: Path, item: Segment | Derived, *, checksums: bool) -> str | None:
    """What is wrong with a file of the index ``path``, None where nothing is; its bytes are read for ``checksums``."""
    try:
        size = (path / item.file).stat().st_size
        if size != item.bytes:
            return f"has {size} bytes instead of {item.bytes}"
        same = not checksums or sha256_file(path / item.file) == item.sha256
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    return None if same else "differs from its checksum"


def check_segments(path: Path, manifest: Manifest) -> None:
    """Raise StoreError naming the first segment that is missing or not of its size."""
    for segment, reason in damaged(path, manifest):
        raise StoreError(
            f"index {path}: {segment.file} {reason}; copy the index again or restore it with: "
            f"ragvlm index {manifest.corpus_root} --out {path}"
        )


def check_digest(path: Path, segment: Segment) -> None:
    """Raise StoreError where ``segment`` isn't what was written."""
    if reason := damage(path, segment, checksums=True):
        raise StoreError(f"index {path}: {segment.file} {reason}; see what can be mended: ragvlm verify {path}")


def check_encoder(path: Path, manifest: Manifest, encoder: Encoder) -> None:
    """Raise EncoderMismatchError naming both unless ``encoder`` is the one that built the index."""
    if encoder.fingerprint != manifest.encoder_fingerprint:
        raise EncoderMismatchError(
            f"index {path} was built with encoder {manifest.encoder!r} ({manifest.encoder_fingerprint[:12]}), not "
            f"with {encoder.name!r} ({encoder.fingerprint[:12]}): use that one, or index again into another --out"
        )
