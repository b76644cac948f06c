"""A folder of simulated pictures in the Hugging Face ImageFolder convention, resumable and reproducible."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragvlm import __version__
from ragvlm.errors import InputError, require
from ragvlm.paths import atomic_path
from ragvlm.simulate import KINDS
from ragvlm.simulate.card import corpus_card
from ragvlm.simulate.picture import Picture
from ragvlm.simulate.plan import Plan, plan

SOURCE = "ragvlm simulator"
LICENCE = "CC0-1.0"
_RECIPE = "simulation.json"
_ROWS = ".rows"

Row = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Simulation:
    """A finished corpus: its folder, its number of pictures, and how many of them this call drew."""

    path: Path
    n: int
    seed: int
    kinds: tuple[str, ...]
    drawn: int


def simulate_corpus(
    out: str | Path,
    n: int = 400,
    seed: int = 0,
    *,
    kinds: Sequence[str] | None = None,
    regions: bool = False,
    progress: Progress | None = None,
    workers: int = 2,
) -> Simulation:
    """Draw ``n`` simulated micrographs with captions into the folder ``out``.

    Writes ``images/``, ``README.md``, ``simulation.json`` and last ``metadata.jsonl``, one object a line: file_name,
    id, caption, subject_id, modality, labels, source, licence. Picture ``i`` depends on ``seed``, ``kinds`` and ``i``
    alone. Called again on a folder that was left half-finished, or with a larger ``n``, it goes on where it stopped.

    Args:
        out: folder, made where it is missing.
        n: number of pictures, >= 1.
        seed: >= 0.
        kinds: some of ``ragvlm.simulate.KINDS``, all by default.
        regions: write the truth of every object too: ``boxes`` in each row, and masks in ``masks/`` (see ``truth``).
        progress: called with (pictures done, n) after each picture.
        workers: processes; 1 draws in the calling process.

    Raises InputError (n < 1, seed < 0, an unknown kind, a folder that holds something else), MissingExtraError
    (``ragvlm[simulate]``) or StoreError (the folder can't be written).
    """
    chosen = _check(n, seed, kinds)
    require("scipy", "simulate")
    folder = Path(out)
    recipe: Row = {"generator": SOURCE, "version": __version__, "seed": seed, "kinds": list(chosen), "n": n}
    recipe = _claim(folder, recipe | ({"regions": True} if regions else {}))
    plans = [plan(seed, chosen, index) for index in range(n)]
    rows = _known_rows(folder)
    missing = [p for p in plans if p.id not in rows]
    for row in _draw_all(folder, missing, workers, regions):
        rows[row["id"]] = row
        if progress is not None:
            progress(len(rows), n)
    if missing or not (folder / "metadata.jsonl").is_file():
        _finish(folder, recipe, [rows[p.id] for p in plans])
    return Simulation(folder, n, seed, chosen, len(missing))


def _check(n: int, seed: int, kinds: Sequence[str] | None) -> tuple[str, ...]:
    chosen = KINDS if kinds is None else tuple(dict.fromkeys(kinds))
    unknown = [kind for kind in chosen if kind not in KINDS]
    if n < 1:
        raise InputError(f"number of pictures n={n}: give 1 or more")
    if seed < 0:
        raise InputError(f"seed={seed}: give 0 or more")
    if unknown or not chosen:
        raise InputError(f"unknown kinds {unknown}: choose from {', '.join(KINDS)}")
    return chosen


def _claim(folder: Path, recipe: Row) -> Row:
    """Make the folder ours, or find that it already is; anything else in it is an error. Gives the recipe."""
    file = folder / _RECIPE
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder for the simulated corpus")
    if not file.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds other files: give a new or empty folder for the simulated corpus")
        _write_text(file, json.dumps(recipe, indent=2) + "\n")
        return recipe
    try:
        old = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}): remove the folder or give another one") from error
    for key in ("generator", "version", "seed", "kinds", "regions"):
        theirs = old.get(key) if isinstance(old, dict) else None
        if theirs != recipe.get(key):
            raise InputError(
                f"{folder} holds a simulation with {key}={theirs!r}, not {recipe.get(key)!r}: give another folder"
            )
    if isinstance(old.get("n"), int) and old["n"] > recipe["n"]:
        raise InputError(f"{folder} holds n={old['n']} pictures, more than {recipe['n']}: give another folder")
    if old.get("n") != recipe["n"]:
        _write_text(file, json.dumps(recipe, indent=2) + "\n")
    return recipe


def _known_rows(folder: Path) -> dict[str, Row]:
    """Rows of finished pictures: of a finished corpus, and of the run that was cut off."""
    lines: list[str] = []
    if (folder / "metadata.jsonl").is_file():
        lines += (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    lines += [file.read_text(encoding="utf-8") for file in sorted((folder / _ROWS).glob("*.json"))]
    try:
        rows = {str(row["id"]): row for row in map(json.loads, lines)}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/metadata.jsonl is damaged: remove it to draw its pictures anew") from error
    return {key: row for key, row in rows.items() if (folder / row["file_name"]).is_file()}


def _draw_all(folder: Path, plans: list[Plan], workers: int, regions: bool) -> Iterator[Row]:
    """Draw pictures, in processes where it pays, and yield their rows as they are done."""
    left = {p.id: p for p in plans}
    if workers > 1 and len(plans) >= 12:
        # spawn: forking a process in which torch or onnxruntime run threads can hang
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, os.cpu_count() or 1), context, initializer=_ignore_interrupt)
        try:
            for done in as_completed([pool.submit(_draw_one, folder, p, regions) for p in plans]):
                row = done.result()
                left.pop(row["id"])
                yield row
        except BrokenProcessPool:
            # a script without a __main__ guard can't spawn processes: go on in this one
            pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    for p in left.values():
        yield _draw_one(folder, p, regions)


def _ignore_interrupt() -> None:
    # Ctrl-C reaches the parent, which cancels what is left; a worker finishes its picture and ends quietly
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw_one(folder: Path, p: Plan, regions: bool = False) -> Row:
    """Draw one picture; the file first, then its row, each by rename, so a row vouches for its file."""
    from PIL import Image

    picture = p.draw()
    suffix = "png" if picture.jpeg_quality is None else "jpg"
    name = f"images/{p.id}.{suffix}"
    with atomic_path(folder / name) as temporary:
        image = Image.fromarray(picture.pixels)
        if picture.jpeg_quality is None:
            image.save(temporary, format="PNG", compress_level=4)
        else:
            image.save(temporary, format="JPEG", quality=picture.jpeg_quality)
    row: Row = {
        "file_name": name,
        "id": p.id,
        "caption": picture.caption,
        "subject_id": p.subject_id,
        "modality": picture.modality,
        "labels": dict(picture.labels),
        "source": SOURCE,
        "licence": LICENCE,
    }
    row |= truth(picture, folder, p.id) if regions else {}
    _write_text(folder / _ROWS / f"{p.id}.json", json.dumps(row))
    return row


def truth(picture: Picture, folder: Path, name: str) -> Row:
    """``boxes``, [{"label", "bbox": [xmin, ymin, xmax, ymax]}] of every object that shows, and ``masks``, label -> the
    PNG written for it: 0 is background, n the n-th object, 16 bits."""
    import numpy as np
    from PIL import Image
    from scipy import ndimage

    boxes: list[Row] = []
    masks: dict[str, str] = {}
    for label, mask in picture.masks.items():
        for place in ndimage.find_objects(mask):
            if place is not None:
                rows, columns = place
                edges = [int(columns.start), int(rows.start), int(columns.stop), int(rows.stop)]
                boxes.append({"label": label, "bbox": edges})
        masks[label] = f"masks/{name}-{label}.png"
        with atomic_path(folder / masks[label]) as temporary:
            Image.fromarray(mask.astype(np.uint16)).save(temporary, format="PNG")
    return {"boxes": boxes, "masks": masks}


def _finish(folder: Path, recipe: Mapping[str, Any], rows: list[Row]) -> None:
    """Card and metadata; the rows of the run go only when the metadata stands."""
    _write_text(folder / "README.md", corpus_card(recipe, [row["labels"]["kind"] for row in rows]))
    _write_text(folder / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    shutil.rmtree(folder / _ROWS, ignore_errors=True)
    for left in (folder / "images").glob(".*.tmp"):  # of a run that was killed while it wrote
        left.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
