"""Corpora and pictures that lie elsewhere: s3://, gs://, az://, http:// and whatever else fsspec reaches.

What is needed is copied once into ``<cache>/remote``, bounded in size, and read from there, so that everything after
(checksums, resumed builds, pictures shown beside a description) works as with files. Credentials come from where
the store's own tools look for them (environment, configuration files); what is shown or kept of a URL has none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ragvlm.braces import expand_braces, has_braces
from ragvlm.errors import CorpusError, MissingExtraError, StoreError, reason, require
from ragvlm.paths import atomic_path, cache_dir
from ragvlm.types import Record, Skipped

T = TypeVar("T")
# of fsspec's many protocols those that name a place elsewhere: none that reads local files or starts a program
SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "memory")
THREADS = 8
MOST_PICTURE = 1 << 28  # bytes of a picture that a table names
MOST_FILE = 1 << 36  # bytes of a shard, or another file of a corpus
_BLOCK = 1 << 20
_SEEN = ".seen.json"
_SECRET = re.compile(
    r"x-(amz|goog|ms)-.*|signature|sig|expires|awsaccesskeyid|googleaccessid|s[eprtv]|spr|skoid|.*token|.*key",
    re.IGNORECASE,
)


def is_url(text: str) -> bool:
    """Whether ``text`` is a URL that is read by fsspec."""
    scheme, colon, _ = text.partition("://")
    return bool(colon) and scheme.lower() in SCHEMES and "::" not in text


def public(url: str) -> str:
    """``url`` without user, password, signature and fragment: what may be shown, and what names the copy."""
    parts = urlsplit(url)
    pairs = [(name, value) for name, value in parse_qsl(parts.query) if not _SECRET.fullmatch(name)]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, urlencode(pairs), ""))


def fetch(url: str, most: int = MOST_PICTURE) -> Path:
    """The local copy of the file at ``url``, made where there is none. Raises CorpusError in one line."""
    place = _place(url)
    if not place.is_file():
        with _telling(url):
            system, path = _open(url)
            _copy(system, path, place, most)
    return place


def mirror(url: str) -> tuple[Path, list[Skipped]]:
    """The local copy of a corpus: of a file, of a folder and all below it, of the files that a pattern names.

    What changed there (by its size, ETag or time) is copied again, what vanished is removed. Raises CorpusError.
    """
    if has_braces(PurePosixPath(urlsplit(url).path).name):
        folder, _, pattern = url.rpartition("/")
        return _mirrored(url, {name: f"{folder}/{name}" for name in expand_braces(pattern)})
    with _telling(url):
        system, path = _open(url)
        if url.lower().startswith("http") or not system.isdir(path):  # a web server lists no folders
            place, skipped = _mirrored(url, {PurePosixPath(path).name: url})
            if skipped:
                raise CorpusError(f"{public(url)}: {skipped[0].reason}")
            return place / PurePosixPath(path).name, []
        base = path.rstrip("/") + "/"
        names = [name.removeprefix(base) for name in system.find(path)]
        return _mirrored(url, {name: f"{url.rstrip('/')}/{name}" for name in names})


def local_pictures(found: Iterable[Record | Skipped]) -> Iterator[Record | Skipped]:
    """The same with the pictures that are URLs fetched, some ahead; what can't be fetched is skipped.

    A record whose id is its picture's URL keeps it, without credentials.
    """
    yield from ahead(_local, found)


def _local(item: Record | Skipped) -> Record | Skipped:
    if isinstance(item, Skipped) or item.image is None or not is_url(item.image):
        return item
    shown = public(item.image)
    try:
        path = fetch(item.image)
    except CorpusError as error:
        return Skipped(shown, str(error).removeprefix(f"{shown}: "))
    return replace(item, image=str(path), id=shown if item.id == item.image else item.id)


def ahead(function: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
    """``function`` of each of ``items``, in order, in a few threads that run a little ahead."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")
    pending: deque[Future[T]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 4 * THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _mirrored(url: str, files: dict[str, str]) -> tuple[Path, list[Skipped]]:
    """A folder with copies of ``files`` (URLs by relative name) and what could not be copied."""
    place = _place(url)
    notes = place.parent / _SEEN
    seen: dict[str, str] = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}

    def copied(name: str) -> tuple[str, str, Skipped | None]:
        if not _safe(name):
            return name, "", Skipped(name, "its name leaves the folder: rename it")
        try:
            with _telling(files[name]):
                system, path = _open(files[name])
                version = _version(system.info(path))
                if seen.get(name) != version or not (place / name).is_file():
                    _copy(system, path, place / name, MOST_FILE)
        except CorpusError as error:
            return name, "", Skipped(name, str(error).removeprefix(f"{public(files[name])}: "))
        return name, version, None

    visible = sorted(name for name in files if not _hidden(name))
    done = list(ahead(copied, visible))
    now = {name: version for name, version, missed in done if missed is None}
    for name in seen.keys() - now.keys():
        (place / name).unlink(missing_ok=True)
    if not now:
        missed = next((missed for _, _, missed in done if missed), None)
        raise CorpusError(f"{public(url)}: {missed.reason if missed else 'holds no files'}")
    with atomic_path(notes) as temporary:
        temporary.write_text(json.dumps(now), encoding="utf-8")
    return place, [missed for _, _, missed in done if missed is not None]


def _place(url: str) -> Path:
    """Where the copy of ``url`` lies: under a hash of it, with its own name, which tells the format."""
    shown = public(url)
    name = re.sub(r"[^\w.{}-]", "_", PurePosixPath(urlsplit(shown).path).name)[-100:] or "corpus"
    return cache_dir() / "remote" / hashlib.sha256(shown.encode()).hexdigest()[:32] / name


def _open(url: str) -> tuple[Any, str]:
    """The file system of ``url`` and the path there."""
    system, path = require("fsspec", "remote").core.url_to_fs(url)
    return system, path


def _version(info: dict[str, Any]) -> str:
    times = (info.get(key) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created"))
    return f"{info.get('size')} {next((str(time) for time in times if time), '')}"


def _copy(system: Any, path: str, to: Path, most: int) -> None:
    done = 0
    with system.open(path, "rb") as source, atomic_path(to, sync=False) as temporary, temporary.open("wb") as target:
        while block := source.read(_BLOCK):
            done += len(block)
            if done > most:
                raise CorpusError(f"has more than {most:,} bytes")
            target.write(block)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in name.split("/"))


def _safe(name: str) -> bool:
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not set(name) & {"\\", "\0", ":"}


@contextmanager
def _telling(url: str) -> Iterator[None]:
    try:
        yield
    except (MissingExtraError, StoreError):
        raise
    except CorpusError as error:
        raise CorpusError(f"{public(url)}: {error}") from error
    except FileNotFoundError as error:
        raise CorpusError(f"{public(url)}: is not there") from error
    except ImportError as error:
        raise CorpusError(f'{public(url)}: {reason(error)}; pip install "ragvlm[remote]"') from error
    except Exception as error:  # each store has errors of its own, and some tell the whole request
        raise CorpusError(f"{public(url)}: {_cleaned(reason(error))}") from error


def _cleaned(text: str) -> str:
    return re.sub(r"\?\S*", "?...", re.sub(r"//[^/@\s]*@", "//", text))
