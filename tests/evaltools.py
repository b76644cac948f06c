"""A corpus on disk, a suite about it, and what a run of it leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny import COLOURS

APART = ("index/", "timings.jsonl", "machine.json", ".lock")  # what two runs of the same need not have alike


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def squares(folder: Path, n: int = 16, **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """``n`` squares of the four colours in turn, each a shade darker than the one before; two a subject."""
    rows = []
    for i in range(n):
        name = list(COLOURS)[i % 4]
        chequered(folder / f"p{i:02d}.png", tuple(max(c - 3 * i, 0) for c in COLOURS[name]), seed=i)
        row = {"file_name": f"p{i:02d}.png", "id": f"a{i:02d}", "caption": f"a {name} square, shade {i // 8}"}
        row |= {"subject_id": f"s{i // 2}", "label": name}
        rows.append(row | {column: values[i] for column, values in columns.items() if values[i] is not None})
    write_rows(folder, rows)
    return rows


def chequered(path: Path, colour: Sequence[int], seed: int) -> None:
    """Half of the fields in ``colour``, half darker, in an order of its own: alike to the encoder, no duplicates."""
    fields = np.repeat([0.3, 1.0], 32)
    np.random.default_rng(seed).shuffle(fields)
    pixels = np.kron(fields.reshape(8, 8), np.ones((4, 4)))[..., None] * np.array(colour, float)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def write_rows(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def suite_file(folder: Path, task: str, more: str = "", split: str = 'by = "leave-one-out"', top: str = "") -> Path:
    """A suite about the corpus beside it, in ``corpus``."""
    path = folder / f"{task}.toml"
    head = f'name = "{task}-squares"\ntask = "{task}"\ntitle = "Squares"\nsource = "a brush"\nlicence = "CC0-1.0"\n'
    path.write_text(
        f'{head}k = 3\n{top}\n[corpus]\npath = "corpus"\nget = "paint it"\n[split]\n{split}\n{more}\n', encoding="utf-8"
    )
    return path


def kept(folder: Path) -> dict[str, bytes]:
    """The files of a run that must be the same whenever it is run."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(APART)}
