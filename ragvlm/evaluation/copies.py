"""Altered copies of pictures: turned, mirrored, cropped, recompressed, brightened, inverted.

Two pictures are copies where one, turned or mirrored, lies in a window of the other, or where its middle does, as that
of a field of view that was moved a little on the slide. Pictures are compared as small squares of luma, so that what a
crop does to the sides' ratio is part of the window:

1. Coarse: the turned and mirrored forms of one and of its middle against 100 windows of the other, 10 x 10 cells each,
   by normalised cross-correlation. All pairs are compared, in both directions, by products of matrices.
2. Fine: the windows of a likely pair are moved to the highest correlation, from coarse to fine detail, by Gauss-Newton
   steps (Lucas and Kanade 1981, IJCAI 674-679). There the correlation of the locally normalised detail decides.

``benchmarks/leakage.py`` measures what is found, and how often different pictures are taken for copies. Turns by other
angles than 90 degrees, crops that leave less than 60 % of a side, and fields moved by more than 20 % aren't looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ragvlm.evaluation.threads import one_thread
from ragvlm.types import Float32

Square: TypeAlias = NDArray[np.uint8]
Window: TypeAlias = tuple[float, float, float, float]  # top, bottom, left, right: shares of the sides

SIDE = 128  # of the squares that pictures are kept as
SAME = 0.75  # similarity from which two pictures are copies
FORMS = tuple(f"{mirrored}turned {angle}" for mirrored in ("", "mirrored, ") for angle in (0, 90, 180, 270))
"""What is done to the contained picture: mirrored left to right or not, then turned by degrees counterclockwise."""
MIDDLE = (0.2, 0.8)
_CELLS = 10
_SPANS = (
    (0, 1),
    (0, 0.85),
    (0.05, 0.95),
    (0.1, 0.9),
    (0.15, 1),
    (0.15, 0.85),
    (0, 0.7),
    (0.3, 1),
    (0.1, 0.75),
    (0.2, 0.8),
)
_POSSIBLE = 0.5  # coarse similarity below which no window is looked for
_ROUND = 4  # likely pairs that are looked at before a picture without copies is left
_TRIES = 6  # forms of a likely pair: nearly symmetric pictures fit in several
_CHUNK, _BLOCK = 512, 32
_LEAST_SPAN = 0.5
_FARTHEST, _STILL = 0.06, 0.002
_NUDGE = 0.004
_INWARD = _NUDGE * np.array([1, -1, 1, -1])  # small moves of the four edges that stay inside
_WHOLE: Window = (0.0, 1.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Copy:
    """Picture number ``a`` of the first and number ``b`` of the second pictures show the same.

    ``similarity`` in [SAME, 1] is the correlation of their detail. The one that is ``contained`` ("a" or "b") covers,
    in the form ``form``, the ``window`` (top, bottom, left, right: shares of the sides) of the other; where it isn't
    ``whole``, its part within MIDDLE of both sides does.
    """

    a: int
    b: int
    similarity: float
    contained: str
    form: str
    window: Window
    whole: bool = True


@dataclass(frozen=True, slots=True)
class _Stage:
    """Detail as ``cells`` x ``cells`` between two widths of blur, normalised within a third (0: not). A window is moved
    ``steps`` times at most; below the similarity ``least`` no finer detail is looked at."""

    cells: int
    narrow: float
    wide: float
    local: float
    steps: int
    least: float


_STAGES = (_Stage(24, 0.9, 2.6, 0, 4, 0.8), _Stage(40, 0.8, 3.1, 0, 4, 0.8), _Stage(64, 0.7, 2, 3, 3, 0))


def square(image: Image.Image) -> Square:
    """The luma of ``image`` shrunk to SIDE x SIDE, whatever its sides' ratio: uint8."""
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def find_copies(
    first: Sequence[Square],
    second: Sequence[Square],
    *,
    eligible: Callable[[int, int], bool] = lambda a, b: True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Copy]:
    """The pairs of a picture of ``first`` and one of ``second`` that are copies: by ``a``, the most similar first.

    Pictures are given as ``square`` makes them. ``eligible`` says which pairs may be compared. ``progress`` is called
    with the number of pictures of ``first`` that are done, and of all.
    """
    found: list[Copy] = []
    with one_thread():
        for start in range(0, len(first) if len(second) else 0, _CHUNK):
            some = first[start : start + _CHUNK]
            b_in_a, a_in_b = _likely(some, second), _likely(second, some).T
            for row, picture in enumerate(some):
                a = start + row
                likely = (b for b in _pairs(b_in_a[row], a_in_b[row]) if eligible(a, b))
                found += _copies_of(a, picture, second, likely)
                if progress:
                    progress(a + 1, len(first))
    return found


def _pairs(inside: Float32, around: Float32) -> Iterator[int]:
    """The likely pictures of ``second``, the likeliest first."""
    best = np.maximum(inside, around)
    for b in np.argsort(-best, kind="stable").tolist():
        if best[b] < _POSSIBLE:
            return
        yield b


def _copies_of(a: int, picture: Square, second: Sequence[Square], likely: Iterator[int]) -> list[Copy]:
    """Copies of one picture among the likely ones, in rounds: a round without any is the last one."""
    found: list[Copy] = []
    since = 0
    for b in likely:
        copy = _compared(a, b, picture.astype(np.float32), second[b].astype(np.float32))
        since = 0 if copy else since + 1
        found += [copy] if copy else []
        if since == _ROUND:
            break
    return sorted(found, key=lambda copy: -copy.similarity)


def _compared(a: int, b: int, first: Float32, second: Float32) -> Copy | None:
    """The copy, where one of the likeliest forms of one picture shows a window of the other."""
    tries = []
    for contained, outer, inner in (("b", first, second), ("a", second, first)):
        forms = _forms(inner)
        fit = np.abs(_coarse(forms, whole=True)[:, 0] @ _coarse(outer).T)
        tries += [(fit[f, w], contained, outer, forms, f, w) for f, w in enumerate(fit.argmax(axis=1).tolist())]
    tries.sort(key=lambda one: -one[0])
    for _, contained, outer, forms, form, number in tries[:_TRIES]:
        rows, columns = divmod(number, len(_SPANS))
        similarity, window = _align(outer, forms[form], (*_SPANS[rows], *_SPANS[columns]))
        if similarity >= SAME:
            place = form % len(FORMS)
            return Copy(a, b, round(similarity, 4), contained, FORMS[place], window, form == place)
    return None


def _likely(containers: Sequence[Square], contained: Sequence[Square]) -> Float32:
    """Of all pairs the highest coarse similarity of a window with a form: (containers, contained)."""
    forms = [_coarse(_forms(block.astype(np.float32)), whole=True)[:, :, 0] for block in _blocks(contained)]
    rows = np.concatenate(forms, axis=1).reshape(-1, _CELLS**2)  # form by form, of all pictures
    found = []
    for block in _blocks(containers):
        windows = _coarse(block.astype(np.float32))
        best = np.zeros((len(block), len(rows)), np.float32)
        for number in range(windows.shape[1]):
            np.maximum(best, np.abs(windows[:, number] @ rows.T), out=best)
        found.append(best.reshape(len(block), 2 * len(FORMS), -1).max(axis=1))
    return np.concatenate(found)


def _blocks(pictures: Sequence[Square]) -> Iterator[Square]:
    for start in range(0, len(pictures), _BLOCK):
        yield np.stack(pictures[start : start + _BLOCK])


def _forms(pictures: Float32) -> Float32:
    """The FORMS of pictures (..., side, side), then those of their middles: (16, ..., side, side)."""
    middle = _edges(*MIDDLE, SIDE)
    parts = (pictures, middle @ pictures @ middle.T)
    both = [picture for part in parts for picture in (part, part[..., ::-1])]
    return np.stack([np.rot90(picture, turns, axes=(-2, -1)) for picture in both for turns in range(4)])


def _coarse(pictures: Float32, *, whole: bool = False) -> Float32:
    """Cells of windows, or of the whole alone, without what varies slowly, as unit rows: (..., windows, cells ** 2)."""
    sampler = _samplers()[: _CELLS if whole else None]
    n = len(sampler) // _CELLS
    cells = (sampler @ pictures @ sampler.T).reshape(*pictures.shape[:-2], n, _CELLS, n, _CELLS).swapaxes(-3, -2)
    blur = _blur(_CELLS, 2.5)
    rows = (cells - blur @ cells @ blur.T).reshape(*pictures.shape[:-2], n * n, -1)
    rows -= rows.mean(axis=-1, keepdims=True)
    unit: Float32 = rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 0.01 * _CELLS)
    return unit


@cache
def _samplers() -> Float32:
    """The samplers of all spans, one below the other."""
    return np.concatenate([_edges(start, end, _CELLS) for start, end in _SPANS])


def _align(outer: Float32, inner: Float32, window: Window) -> tuple[float, Window]:
    """The highest similarity of ``inner`` with a window of ``outer`` near ``window``, and that window."""
    place, similarity = np.array(window, np.float64), 0.0
    for stage in _STAGES:
        target = _detail(_seen(inner, np.array(_WHOLE), stage.cells), stage)[0]
        there, *moved = _detail(_seen(outer, place, stage.cells), stage)
        similarity = abs(float(there @ target))
        for _ in range(stage.steps):
            sign = 1.0 if there @ target >= 0 else -1.0  # an inverted copy correlates negatively
            slopes = np.stack([move - there for move in moved], axis=1)
            step = np.linalg.lstsq(slopes, sign * target - there, rcond=None)[0] * _INWARD
            now = np.clip(place + np.clip(step, -_FARTHEST, _FARTHEST), 0, 1)
            if min(now[1] - now[0], now[3] - now[2]) < _LEAST_SPAN:
                break
            then, *moved = _detail(_seen(outer, now, stage.cells), stage)
            gain = abs(float(then @ target)) - similarity
            if gain <= 0:
                break
            place, there, similarity = now, then, similarity + gain
            if gain < _STILL:
                break
        if similarity < stage.least:
            return 0.0, window
    top, bottom, left, right = (round(float(edge), 3) for edge in place)
    return similarity, (top, bottom, left, right)


def _seen(picture: Float32, place: NDArray[np.float64], cells: int) -> Float32:
    """The window, and the four windows of which one edge is moved by _INWARD: (5, cells, cells)."""
    top, bottom, left, right = place.tolist()
    rows, columns = _edges(top, bottom, cells), _edges(left, right, cells).T
    across, down = picture @ columns, rows @ picture
    return np.stack([
        rows @ across,
        _edges(top + _NUDGE, bottom, cells) @ across,
        _edges(top, bottom - _NUDGE, cells) @ across,
        down @ _edges(left + _NUDGE, right, cells).T,
        down @ _edges(left, right - _NUDGE, cells).T,
    ])  # fmt: skip


def _detail(cells: Float32, stage: _Stage) -> Float32:
    """The detail of cells (k, cells, cells), as unit rows (k, cells ** 2)."""
    fine, slow = _blur(stage.cells, stage.narrow), _blur(stage.cells, stage.wide)
    band = fine @ cells @ fine.T - slow @ cells @ slow.T
    if stage.local:
        near = _blur(stage.cells, stage.local)
        band /= np.sqrt(near @ (band * band) @ near.T) + 1.5  # less than 1.5 grey values is noise
    rows = band.reshape(len(cells), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    unit: Float32 = rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 0.2)
    return unit


def _edges(start: float, end: float, cells: int) -> Float32:
    """(cells, SIDE): takes the pixels of one axis to their means over ``cells`` equal parts of [start, end]."""
    edges = (start + (end - start) * np.arange(cells + 1, dtype=np.float32) / cells) * SIDE
    covered = np.clip(edges[:, None] - np.arange(SIDE, dtype=np.float32), 0, 1)
    weights = np.diff(covered, axis=0)
    means: Float32 = weights / weights.sum(axis=1, keepdims=True)
    return means


@cache
def _blur(n: int, width: float) -> Float32:
    """(n, n): smooths one axis by a Gaussian of ``width`` cells."""
    places = np.arange(n)
    weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2).astype(np.float32)
    means: Float32 = weights / weights.sum(axis=1, keepdims=True)
    return means
