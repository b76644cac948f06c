"""Keyed hashes of subject and study names, so that an index can tell subjects apart without naming them.

The key lies outside every index: ``$RAGVLM_SUBJECT_KEY``, else a file that is made on first use in the user's
configuration folder. Whoever holds an index but not the key can't test guesses against it (BLAKE2b, RFC 7693).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ragvlm.errors import InputError


@dataclass(frozen=True, slots=True)
class Pseudonymizer:
    """Hashes names with one key; ``fingerprint`` tells keys apart without showing them."""

    key: bytes

    @property
    def fingerprint(self) -> str:
        """16 hex digits that every name hashed with this key shares by provenance."""
        return hashlib.blake2b(b"ragvlm subject key", key=self.key, digest_size=8).hexdigest()

    def __call__(self, name: str) -> str:
        """The pseudonym of ``name``: 32 hex digits, the same for the same key and name."""
        return hashlib.blake2b(name.encode(), key=self.key, digest_size=16).hexdigest()


def pseudonymizer() -> Pseudonymizer:
    """The user's own: from ``$RAGVLM_SUBJECT_KEY`` (16 characters or more) or the key file."""
    chosen = os.environ.get("RAGVLM_SUBJECT_KEY")
    if chosen is None:
        return _from_file(_key_path())
    if len(chosen) < 16:
        raise InputError("RAGVLM_SUBJECT_KEY is shorter than 16 characters; choose a longer key")
    return Pseudonymizer(hashlib.blake2b(chosen.encode(), digest_size=32).digest())


def _key_path() -> Path:
    from platformdirs import user_config_path

    return user_config_path("ragvlm") / "subject.key"


@cache
def _from_file(path: Path) -> Pseudonymizer:
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; set RAGVLM_SUBJECT_KEY to a key of your own") from error
    return Pseudonymizer(_parsed(path))


def _make(path: Path) -> None:
    """Write a new key, whole and readable by its owner alone; of processes that do so together the first wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _parsed(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != 32:
        raise InputError(f"{path} is not a subject key; restore it, or remove it and index again")
    return key
