"""Two- and three-colour fluorescence composites: nuclei with cell bodies, and epithelia with marked clones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.cells import bodies, paint_bodies
from ragvlm.simulate.fluorescence import MODALITY, Setup, develop, setup, vivid
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import fractal_noise, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, chance, log_uniform
from ragvlm.simulate.shapes import lattice, outline, patch, tiling, within
from ragvlm.simulate.words import count, density_word, pick, sentence, size_word

_COLOURS = {
    "red": (1.0, 0.1, 0.05),
    "green": (0.15, 1.0, 0.1),
    "magenta": (1.0, 0.1, 0.9),
    "yellow": (1.0, 0.9, 0.1),
    "cyan": (0.1, 0.9, 1.0),
    "blue": (0.15, 0.3, 1.0),
}


def _merge(planes: list[tuple[NDArray[np.uint8], str]]) -> NDArray[np.uint8]:
    """Add grey planes (h, w), each in its display colour, and clip to uint8 (h, w, 3)."""
    total = sum((plane[..., None] * np.asarray(_COLOURS[name]) for plane, name in planes), start=np.float64(0))
    return np.asarray(np.clip(total, 0, 255), dtype=np.uint8)


def _nuclei_of(rng: Rng, how: Setup, mask: Labels, radius: float) -> tuple[Float, Labels]:
    """One nucleus in each counted cell, at the middle of its visible part; light and label image."""
    from scipy.ndimage import center_of_mass

    light, found = np.zeros(how.shape, np.float32), np.zeros(how.shape, np.int32)
    texture = fractal_noise(rng, how.shape, radius / 3)
    numbers = [int(v) for v in np.unique(mask) if v]
    centres = center_of_mass(mask > 0, mask, numbers)
    for number, centre in zip(numbers, centres, strict=True):
        contour = outline(rng, radius * rng.uniform(0.32, 0.42), rng.uniform(1, 1.4), 0.04)
        spot = patch(how.shape, (float(centre[0]), float(centre[1])), contour)
        if spot is None:
            continue
        body = np.clip(1 - spot.d**2, 0, 1) ** 0.4 * (1 + 0.2 * texture[spot.window])
        light[spot.window] += np.asarray(rng.uniform(0.6, 1.3) * body, np.float32)
        found[spot.window][spot.inside] = number
    return light, found


def draw_composite(slide: Rng, rng: Rng) -> Picture:
    """Blue nuclei inside green, red, magenta or yellow cell bodies."""
    how, cells = vivid(setup(slide, tinted=0.0)), bodies(slide)
    colour = pick(slide, ("green", "red", "magenta", "yellow", "cyan"))
    stain = pick(slide, ("phalloidin (actin)", "tubulin antibody", "vimentin antibody", "cytoplasmic GFP"))
    strength = slide.uniform(0.7, 1.0)
    light, mask, _ = paint_bodies(rng, how, cells)
    blue, nuclei = _nuclei_of(rng, how, mask, cells.radius)
    body_plane = develop(rng, light, how)
    nuclear_plane = develop(rng, blue, how)
    pixels = _merge([(np.asarray(body_plane * strength, np.uint8), colour), (nuclear_plane, "blue")])
    n, seen = distinct(nuclei), distinct(mask)
    crowd, size = density_word(float(np.mean(mask > 0))), size_word(2 * cells.radius, how.shape)
    blues, many = count(n, "blue nucleus", "blue nuclei"), count(n, "nucleus", "nuclei")
    first = pick(
        rng,
        (
            f"two-colour fluorescence composite of cells: {blues} (DAPI) within {colour} cell bodies ({stain})",
            f"merged fluorescence micrograph with {many} in blue (DAPI) and {stain} in {colour}",
        ),
    )
    second = f"the {count(seen, f'{size} cell is', f'{size} cells are')} {crowd}"
    labels: dict[str, Scalar] = {
        "kind": "composite_cells",
        "stain": f"DAPI, {stain}",
        "specimen": "cultured cells",
        "cells": seen,
        "nuclei": n,
        "density": crowd,
        "size": size,
        "morphology": "spread and irregular" if cells.warp > 0.1 * cells.radius else "rounded",
        "colours": f"blue, {colour}",
    }
    caption = " ".join(sentence(part) for part in (first, second, how.remark()) if part)
    return Picture(pixels, caption, MODALITY, labels, {"nuclei": nuclei, "cells": mask}, how.camera.jpeg_quality)


def draw_epithelium(slide: Rng, rng: Rng) -> Picture:
    """A polygonal epithelium with stained cell borders and clones of cells that carry a marker."""
    how = vivid(setup(slide, tinted=0.0))
    radius, share = log_uniform(slide, 6, 26), slide.uniform(0.04, 0.35)
    border, marker = [("red", "green"), ("red", "green"), ("magenta", "green"), ("green", "red"), ("cyan", "magenta")][
        int(slide.integers(5))
    ]
    whole = chance(slide, 0.5)
    places = lattice(rng, how.shape, 1.75 * radius)
    sheet = tiling(rng, how.shape, places, 0.06 * radius, 2 * radius)
    tissue = np.ones(how.shape, np.float32)
    if not whole:
        blob = outline(rng, 0.42 * min(how.shape), rng.uniform(1.0, 1.4), 0.06)
        spot = patch(how.shape, (how.shape[0] / 2, how.shape[1] / 2), blob)
        tissue[:] = 0
        if spot is not None:
            tissue[spot.window] = spot.coverage(6)
    keep = np.array([within(how.shape, p) and tissue[int(p[0]), int(p[1])] > 0.5 for p in places])
    clone = smooth_noise(rng, how.shape, 3.2 * radius)
    limit = float(np.quantile(clone, 1 - share))
    chosen = np.array([k and clone[int(p[0]), int(p[1])] > limit for p, k in zip(places, keep, strict=True)])
    wall = np.exp(-((sheet.border / (0.7 + 0.07 * radius)) ** 2)) * (1 + 0.3 * smooth_noise(rng, how.shape, 60))
    wall = wall + slide.uniform(0.05, 0.4) * (1 + 0.3 * fractal_noise(rng, how.shape, 6))
    inside = np.clip(sheet.border / 2, 0, 1) * chosen[sheet.owner]
    level = np.exp(rng.normal(0, 0.3, len(places)))[sheet.owner] * inside * (1 + 0.2 * fractal_noise(rng, how.shape, 5))
    planes = [
        (develop(rng, np.asarray(np.clip(wall, 0, None) * tissue, np.float32), how), border),
        (develop(rng, np.asarray(np.clip(level, 0, None), np.float32), how, 1.0), marker),
    ]
    cells = np.where(keep[sheet.owner], sheet.owner + 1, 0).astype(np.int32)
    marked = np.where(chosen[sheet.owner], sheet.owner + 1, 0).astype(np.int32)
    return _epithelium_picture(
        rng, how, _merge(planes), cells, marked, (border, marker, size_word(2 * radius, how.shape))
    )


def _epithelium_picture(
    rng: Rng,
    how: Setup,
    pixels: NDArray[np.uint8],
    cells: Labels,
    marked: Labels,
    names: tuple[str, str, str],
) -> Picture:
    n, m = distinct(cells), distinct(marked)
    border, marker, size = names
    first = pick(
        rng,
        (
            f"two-colour composite of a fluorescent epithelium: {border} borders outline {n} {size} polygonal cells",
            f"merged fluorescence micrograph of a polygonal epithelium of {n} {size} cells with {border} membranes",
        ),
    )
    marked_cells = count(m, "cell carries", "cells carry")
    second = f"{marked_cells} the {marker} clonal marker ({100 * m / max(n, 1):.0f} % of the cells)"
    labels: dict[str, Scalar] = {
        "kind": "epithelium_clones",
        "stain": f"membrane marker ({border}), clonal marker ({marker})",
        "specimen": "epithelium",
        "cells": n,
        "marked": m,
        "density": "crowded",
        "size": size,
        "morphology": "polygonal",
        "colours": f"{border}, {marker}",
    }
    caption = " ".join(sentence(part) for part in (first, second, how.remark()) if part)
    return Picture(pixels, caption, MODALITY, labels, {"cells": cells, "marked": marked}, how.camera.jpeg_quality)
