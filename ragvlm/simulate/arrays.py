"""Colony arrays: patches of yeast pinned in rows and columns on a rectangular agar plate, photographed from above."""

from __future__ import annotations

import numpy as np

from ragvlm.simulate.camera import bayer, colour_camera
from ragvlm.simulate.colonies import MODALITY, Plate, plate
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, fractal_noise, illumination, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, chance
from ragvlm.simulate.shapes import outline, patch
from ragvlm.simulate.words import count, pick, sentence

Box = tuple[float, float, float, float]


def _tray(rng: Rng, how: Plate, box: Box) -> Float:
    """A rectangular plate (h, w, 3) with glassy walls on its bench; ``box`` is top, left, bottom, right in pixels."""
    y, x = np.mgrid[0 : how.shape[0], 0 : how.shape[1]].astype(np.float32)
    top, left, bottom, right = box
    depth = np.minimum(np.minimum(y - top, bottom - y), np.minimum(x - left, right - x))
    corner = np.minimum(np.minimum(x - left, right - x) + np.minimum(y - top, bottom - y) - 14, depth)
    cloth = how.bench * (1 + 0.15 * fractal_noise(rng, how.shape, 6))[..., None]
    agar = (
        how.agar * (1 + 0.06 * smooth_noise(rng, how.shape, 180) + 0.02 * fractal_noise(rng, how.shape, 30))[..., None]
    )
    inside = np.clip(corner / 2 + 0.5, 0, 1)[..., None]
    light = inside * agar + (1 - inside) * cloth
    for at, gain in ((1.0, 0.3), (6.0, -0.1), (13.0, 0.22)):
        light = (
            light + gain * np.exp(-(((corner - at) / 1.7) ** 2))[..., None] * (0.6 + 0.4 * np.sign(x - y))[..., None]
        )
    return np.asarray(np.clip(light, 0, None), np.float32)


def _pin(rng: Rng, how: Plate, light: Float, box: Box, grid: tuple[int, int], grown: float) -> tuple[Labels, Labels]:
    """Paint the patches in place; label images of pale and of pink ones."""
    pale, pink = np.zeros(how.shape, np.int32), np.zeros(how.shape, np.int32)
    top, left, bottom, right = box
    step = min((bottom - top - 50) / grid[0], (right - left - 50) / grid[1])
    texture = fractal_noise(rng, how.shape, 5, 3)
    for number in range(grid[0] * grid[1]):
        if not chance(rng, grown):
            continue
        row, column = divmod(number, grid[1])
        y = (top + bottom) / 2 + (row - (grid[0] - 1) / 2) * step + rng.normal(0, 0.02) * step
        x = (left + right) / 2 + (column - (grid[1] - 1) / 2) * step + rng.normal(0, 0.02) * step
        spot = patch(how.shape, (y, x), outline(rng, 0.33 * step * rng.uniform(0.85, 1.1), 1.05, 0.02), 1.5)
        if spot is None:
            continue
        other = chance(rng, 0.5 * how.share)
        cover = spot.coverage(2) * rng.uniform(0.3, 0.75) * np.clip(1 + 0.12 * texture[spot.window], 0, 1.3)
        cover = cover + 0.2 * np.exp(-(((spot.d - 0.95) / 0.1) ** 2))
        colour = how.second if other else how.colony
        light[spot.window] = light[spot.window] * (1 - cover[..., None]) + cover[..., None] * colour
        (pink if other else pale)[spot.window][spot.inside] = number + 1
    return pale, pink


def draw_array(slide: Rng, rng: Rng) -> Picture:
    """A rectangular plate with patches of growth in rows and columns, some of them missing."""
    how, camera = plate(slide), colour_camera(slide)
    grid = [(8, 12), (8, 12), (4, 6), (6, 8), (16, 24)][int(slide.integers(5))]
    height, width = how.shape
    wide = 0.47 * width * slide.uniform(0.85, 1.0)
    tall = min(0.68 * wide, 0.48 * height)
    centre = (height / 2 + rng.normal(0, 0.01) * height, width / 2 + rng.normal(0, 0.01) * width)
    box = (centre[0] - tall, centre[1] - wide, centre[0] + tall, centre[1] + wide)
    light = _tray(rng, how, box)
    pale, pink = _pin(rng, how, light, box, grid, 1.0 if chance(rng, 0.5) else rng.uniform(0.6, 0.97))
    light = bayer(blur(light, slide.uniform(0.5, 1.2))) * illumination(rng, how.shape, slide.uniform(0, 0.4))[..., None]
    every = np.where(pink > 0, pink, pale)
    n, m, places = distinct(every), distinct(pink), grid[0] * grid[1]
    patches = count(n, "yeast patch", "yeast patches")
    first = pick(
        rng,
        (
            f"photograph of a rectangular agar plate with {patches} in {grid[0]} rows and {grid[1]} columns",
            f"colony array on agar, {grid[0]} by {grid[1]} positions, with growth at {n}",
        ),
    )
    second = "every position has grown" if n == places else f"{count(places - n, 'position is', 'positions are')} empty"
    third = f"{count(m, 'patch is', 'patches are')} pink, the others pale" if m else "all patches are pale"
    labels: dict[str, Scalar] = {
        "kind": "colony_array",
        "stain": "none",
        "specimen": "yeast patches on agar",
        "colonies": n,
        "pale": n - m,
        "pink": m,
        "positions": places,
        "empty": places - n,
        "density": "regular",
        "size": "small" if grid[0] > 8 else "medium-sized" if grid[0] > 4 else "large",
        "morphology": "round",
    }
    caption = " ".join(sentence(t) for t in (first, second, third))
    pixels = camera.expose(rng, np.asarray(np.clip(light, 0, None), np.float32))
    return Picture(pixels, caption, MODALITY, labels, {"colonies": every, "pink": pink}, camera.jpeg_quality)
