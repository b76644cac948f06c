"""The models behind the names: find them, fetch their weights, try one out."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragvlm.errors import InputError
from ragvlm.registry import Entry, create, entries
from ragvlm.types import Context, Hit, Query, Record

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = ("encoders", "generators", "classifiers")
SENTENCE = "A blood smear shows many red cells and one white cell."


def catalogue() -> list[Entry]:
    """All encoders, generators and classifiers, in this order."""
    return [entry for kind in KINDS for entry in entries(kind).values()]


def named(name: str, kind: str | None = None) -> list[Entry]:
    """What bears ``name`` (a plug-in's name, or name and model joined by a colon), of all kinds or of one.

    Raises InputError where nothing does, with the names that there are.
    """
    if kind is not None and f"{kind}s" not in KINDS:
        raise InputError(f"unknown kind {kind!r}: choose one of {', '.join(k.removesuffix('s') for k in KINDS)}")
    found = [e for e in catalogue() if e.name == name.partition(":")[0] and kind in {None, e.kind.removesuffix("s")}]
    if not found:
        known = dict.fromkeys(e.name for e in catalogue() if kind in {None, e.kind.removesuffix("s")})
        raise InputError(f"unknown {kind or 'model'} {name!r}: choose one of {', '.join(known)}")
    return found


@dataclass(frozen=True, slots=True)
class Fetched:
    """The folder that holds a model's files now, how many there are, and their bytes."""

    name: str
    model: str
    folder: str
    files: int
    bytes: int


def pull(name: str, kind: str | None = None, *, trust_remote_code: bool = False) -> list[Fetched]:
    """Fetch the weights of ``name`` into the hub's cache; what is there already is not fetched again.

    Raises InputError where the name stands for no checkpoint of a hub, and what the hub's loading raises (no network,
    gated, no such revision): one line with the next step. An interrupted download goes on where it stopped.
    """
    entry = next(iter(named(name, kind)))
    model = name.partition(":")[2] or entry.model
    plug_in = entry.load()
    if not model or not hasattr(plug_in, "fetch"):
        home = f"its weights come with the package {entry.package}" if entry.package else "it has no weights to fetch"
        hint = f"; name a model, as in {entry.name}:ORG/NAME" if hasattr(plug_in, "fetch") else ""
        raise InputError(f"{entry.kind.removesuffix('s')} {name!r}: {home}{hint}")
    takes = inspect.signature(plug_in.fetch).parameters
    options = {option: value for option, value in entry.options.items() if option in takes}
    folders = plug_in.fetch(model, trust_remote_code=trust_remote_code, **options)
    return [_fetched(name, model, Path(folder)) for folder in folders]


def _fetched(name: str, model: str, folder: Path) -> Fetched:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Fetched(name, model, str(folder), len(sizes), sum(sizes))


def check(
    name: str, kind: str | None = None, *, image: Image | None = None, options: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Load every plug-in of ``name`` and run one picture through it: what came out, and how long it took.

    ``image`` is an RGB picture; default: a drawn one. Raises what loading and running raise, each one line.
    """
    picture = image if image is not None else _drawn()
    run: dict[str, Callable[[Any, Image], dict[str, Any]]] = {
        "encoders": _encode,
        "generators": _write,
        "classifiers": _classify,
    }
    found = []
    for entry in named(name, kind):
        start = time.perf_counter()
        plug_in = create(entry.kind, name, options or {})
        loaded = time.perf_counter()
        result = run[entry.kind](plug_in, picture)
        seconds = {"load": round(loaded - start, 2), "run": round(time.perf_counter() - loaded, 2)}
        facts = {
            name: str(value).removeprefix("torch.")
            for name in ("device", "dtype")
            if (value := getattr(plug_in, name, None))
        }
        found.append(
            {"kind": entry.kind.removesuffix("s"), "name": plug_in.name, **facts, **result}
            | {"seconds": seconds, "peak_memory_bytes": _peak_memory()}
        )
    return found


def _encode(encoder: Any, picture: Image) -> dict[str, Any]:
    pictures, texts = encoder.encode_images([picture]), encoder.encode_texts([SENTENCE])
    shared = {"cosine": round(float(pictures[0] @ texts[0]), 4)} if encoder.shared_space else {}
    return {
        "image_dim": pictures.shape[1],
        "text_dim": texts.shape[1],
        "shared_space": encoder.shared_space,
        **shared,
        "fingerprint": encoder.fingerprint,
    }


def _write(generator: Any, picture: Image) -> dict[str, Any]:
    from ragvlm.prompt import build_prompt

    query = Query("the picture", image=picture, text="What does the picture show?")
    hits = tuple(Hit(Record(str(n), caption=SENTENCE), 0.9, n) for n in (1, 2))
    return {"text": generator.generate([build_prompt(Context(query, hits))])[0]}


def _classify(classifier: Any, picture: Image) -> dict[str, Any]:
    row = classifier.classify([picture])[0]
    best = int(row.argmax())
    return {"label": classifier.labels[best], "probability": round(float(row[best]), 4), "labels": len(row)}


def _drawn() -> Image:
    """Red discs and a purple one: enough to run a model on."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (320, 240), "#f3e6e8")
    pen = ImageDraw.Draw(picture)
    for n in range(24):
        x, y = 10 + n % 6 * 52, 8 + n // 6 * 58
        pen.ellipse((x, y, x + 40, y + 40), fill="#7d4f9e" if n == 8 else "#d9868f")
    return picture


def _peak_memory() -> int | None:
    """Bytes that the process held at most; None where the system doesn't say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
