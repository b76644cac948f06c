"""Files that are no pictures any more: truncated, lying, looping, bombs. Each kind has any number of variants."""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from pictures import COLOUR, GREY, encoded, png, tiff_bytes

Maker = Callable[[Path, random.Random], None]


def _cut(form: str) -> Maker:
    whole = encoded(COLOUR, form)

    def make(path: Path, chance: random.Random) -> None:
        # what is cut off ends before the last row of pixels begins
        path.write_bytes(whole[: chance.randrange(1, len(whole) // 2)])

    return make


def _content(data: Callable[[random.Random], bytes]) -> Maker:
    return lambda path, chance: (path.write_bytes(data(chance)), None)[1]


def _swapped(chance: random.Random) -> bytes:
    """A JPEG's magic before noise."""
    return b"\xff\xd8\xff\xe0" + chance.randbytes(chance.randrange(20, 2000))


def _broken_rows(chance: random.Random) -> bytes:
    return png(32, 24, 8, 2, chance.randbytes(40))


def _cyclic(chance: random.Random) -> bytes:
    """A TIFF whose directory has a tag or two, no pixels, and is its own successor."""
    entries = chance.randrange(1, 4)
    tags = b"".join(struct.pack("<HHII", 256 + i, 3, 1, chance.randrange(1, 99)) for i in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + tags + struct.pack("<I", 8)


def _far_strips(chance: random.Random) -> bytes:
    data = tiff_bytes(GREY.astype(np.uint16))
    return data[: 8 + chance.randrange(100)] if chance.random() < 0.5 else data[: len(data) // 2]


@cache
def _inflating() -> bytes:
    """A deep TIFF of 8 x 8 pixels whose strip inflates to 256 MB."""
    head = bytearray(tiff_bytes(np.zeros((8, 8, 3), np.uint16), compression="zlib"))
    strip = zlib.compress(bytes(1 << 28), 1)
    for tag, value in ((273, len(head)), (279, len(strip))):  # StripOffsets, StripByteCounts
        at = next(
            head.find(struct.pack("<HHI", tag, kind, 1)) for kind in (3, 4) if struct.pack("<HHI", tag, kind, 1) in head
        )
        struct.pack_into("<HII", head, at + 2, 4, 1, value)
    return bytes(head) + strip


def _deflate_bomb(chance: random.Random) -> bytes:
    return _inflating() + chance.randbytes(3)


def _wrong_dicom(chance: random.Random) -> bytes:
    """DICOM whose first element claims 4 GB."""
    length = chance.randrange(1 << 24, 1 << 32)
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 2, b"OB", 0, length) + chance.randbytes(30)


def _link(to: Callable[[Path], str]) -> Maker:
    return lambda path, chance: path.symlink_to(to(path))


KINDS: dict[str, Maker] = {
    **{f"cut-{form.lower()}": _cut(form) for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")},
    "empty": _content(lambda chance: b""),
    "noise": _content(lambda chance: chance.randbytes(chance.randrange(1, 3000))),
    "words": _content(lambda chance: b"not a picture " * chance.randrange(1, 50)),
    "jpeg-noise": _content(_swapped),
    "png-bomb": _content(lambda chance: png(chance.randrange(20_000, 65_000), 60_000, 8, 2)),
    "png-16-bomb": _content(lambda chance: png(chance.randrange(20_000, 65_000), 60_000, 16, 2)),
    "png-rows": _content(_broken_rows),
    "tiff-cyclic": _content(_cyclic),
    "tiff-strips": _content(_far_strips),
    "tiff-bomb": _content(_deflate_bomb),
    "dicom-length": _content(_wrong_dicom),
    "link-loop": _link(lambda path: path.name),
    "link-nowhere": _link(lambda path: "nowhere/at/all.png"),
    "pipe": lambda path, chance: os.mkfifo(path),
}


def scatter(folder: Path, n: int, seed: int = 0) -> list[str]:
    """Write ``n`` broken files into ``folder``, all kinds in turn, all called like pictures; their names."""
    chance = random.Random(seed)
    kinds = list(KINDS)
    names = []
    for number in range(n):
        kind = kinds[number % len(kinds)]
        name = f"{kind}-{number:05d}.{('png', 'jpg', 'tif', 'webp', 'bmp', 'gif')[number // len(kinds) % 6]}"
        KINDS[kind](folder / name, chance)
        names.append(name)
    return names
