"""Shards as img2dataset writes them, made of plain colours."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250), (120, 120, 120))


def picture(number: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), tuple(max(c - number, 0) for c in COLOURS[number % 4])).save(buffer, kind)
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            tar.addfile(item, io.BytesIO(data))
    return path


def sample(number: int) -> dict[str, bytes]:
    """KEY.png, KEY.txt and KEY.json."""
    key = f"{number:09d}"
    facts = {"key": key, "status": "success", "url": f"https://example.org/{key}", "width": 16, "exif": '{"Make": "x"}'}
    facts |= {"caption": "the JSON's", "modality": "paint" if number % 2 else "photo", "PatientName": "Doe"}
    return {
        f"{key}.json": json.dumps(facts).encode(),
        f"{key}.png": picture(number),
        f"{key}.txt": f"a square, number {number}".encode(),
    }


def write_shards(root: Path, shards: int = 3, each: int = 4) -> Path:
    for shard in range(shards):
        numbers = range(shard * each, (shard + 1) * each)
        write_tar(root / f"{shard:05d}.tar", {k: v for number in numbers for k, v in sample(number).items()})
    return root
