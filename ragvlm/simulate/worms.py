"""C. elegans-like worms: in a well (bright field or fluorescence), or stained red on a white field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.camera import bayer, colour_camera, fluorescence_camera, white_balance
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, fractal_noise, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, Shape, chance, field_shape, log_uniform
from ragvlm.simulate.shapes import scatter, within
from ragvlm.simulate.stains import stain_vector, transmit
from ragvlm.simulate.words import count, pick, sentence

Place = tuple[float, float]


@dataclass(frozen=True)
class Worms:
    """A strain in a field: length and half width in pixels, bending in radians, number, and gut grain."""

    length: float
    width: float
    bend: float
    curl: float
    number: int
    clusters: int


@dataclass(frozen=True)
class Body:
    """One worm: ``d`` distance from the midline in local half widths, ``s`` position from tail 0 to head 1."""

    window: tuple[slice, slice]
    d: Float
    s: Float


def strain(slide: Rng, shape: Shape, most: int) -> Worms:
    """Draw a strain: stiff to curly, a few to ``most`` worms."""
    length = min(shape) * slide.uniform(0.13, 0.36)
    return Worms(
        length=length,
        width=length * slide.uniform(0.028, 0.05),
        bend=log_uniform(slide, 0.08, 2.2),
        curl=log_uniform(slide, 0.05, 1.5),
        number=int(slide.integers(4, most)),
        clusters=int(slide.choice([0, 0, 3])),
    )


def midline(rng: Rng, how: Worms, centre: Place) -> NDArray[np.float64]:
    """Points (m, 2) along a worm's axis, rows and columns; the middle one lies at ``centre``."""
    m = max(12, int(2.5 * how.length / how.width))
    s = np.linspace(0, 1, m)
    wave = how.bend * rng.uniform(0.3, 1.2) * np.sin(2 * np.pi * (rng.uniform(0.5, 1.3) * s + rng.random()))
    heading = rng.uniform(0, 2 * np.pi) + wave + rng.normal(0, how.curl) * (s - 0.5) * 2
    step = how.length * rng.uniform(0.8, 1.15) / m
    path = np.cumsum(np.stack([np.sin(heading), np.cos(heading)], axis=1) * step, axis=0)
    return np.asarray(path - path[m // 2] + np.asarray(centre))


def body(shape: Shape, path: NDArray[np.float64], width: float) -> Body | None:
    """Rasterise a worm that tapers to both ends; None where it lies outside the field."""
    low = np.floor(path.min(axis=0) - width - 3).astype(int)
    high = np.ceil(path.max(axis=0) + width + 3).astype(int)
    top, left = max(0, low[0]), max(0, low[1])
    bottom, right = min(shape[0], high[0] + 1), min(shape[1], high[1] + 1)
    if top >= bottom or left >= right:
        return None
    d = np.full((bottom - top, right - left), 9, np.float32)
    s = np.zeros_like(d)
    for k, (y, x) in enumerate(path):
        at = (k + 0.5) / len(path)
        local = width * (1 - np.abs(2 * at - 1) ** 3) ** 0.8 + 0.3
        reach = width + 2
        rows = slice(max(0, int(y - reach) - top), max(0, int(y + reach) + 2 - top))
        cols = slice(max(0, int(x - reach) - left), max(0, int(x + reach) + 2 - left))
        part = d[rows, cols]
        if not part.size:
            continue
        yy = np.arange(rows.start, rows.start + part.shape[0])[:, None] + top - y
        xx = np.arange(cols.start, cols.start + part.shape[1])[None, :] + left - x
        new = np.asarray(np.hypot(yy, xx) / local, np.float32)
        s[rows, cols] = np.where(new < part, np.float32(at), s[rows, cols])
        d[rows, cols] = np.minimum(part, new)
    return Body((slice(top, bottom), slice(left, right)), d, s)


def well(rng: Rng, shape: Shape, size: float) -> Float:
    """Coverage 0-1 (h, w) of a rounded square well."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    half = size * min(shape) / 2
    cy, cx = (side / 2 + rng.normal(0, 0.02) * side for side in shape)
    power = rng.uniform(5, 9)
    r = (np.abs((y - cy) / half) ** power + np.abs((x - cx) / half) ** power) ** (1 / power)
    return np.asarray(np.clip((1 - r) * half / 3 + 0.5, 0, 1), dtype=np.float32)


def crawl(rng: Rng, shape: Shape, how: Worms, room: Float) -> tuple[list[Body], Labels]:
    """Worms whose middle lies where ``room`` (h, w) > 0.5, and the label image of those that count."""
    bodies: list[Body] = []
    mask = np.zeros(shape, np.int32)
    wanted = max(2, round(how.number * rng.uniform(0.8, 1.2)))
    for place in scatter(rng, shape, 6 * wanted, 5 * how.width, clusters=how.clusters, tight=0.2):
        path = midline(rng, how, place)
        rows, cols = path.round().astype(int).T
        inside = (rows >= 0) & (cols >= 0) & (rows < shape[0]) & (cols < shape[1])
        if len(bodies) == wanted or np.mean(room[rows[inside], cols[inside]] > 0.9) < 0.999:
            continue
        worm = body(shape, path, how.width * rng.uniform(0.85, 1.15))
        if worm is None or not within(shape, place):
            continue
        bodies.append(worm)
        mask[worm.window][worm.d <= 1] = len(bodies)
    return bodies, mask


def _absorption(rng: Rng, shape: Shape, bodies: list[Body], texture: Float) -> Float:
    """Relative density (h, w) of worms: darker edge and gut, clear head."""
    density = np.zeros(shape, np.float32)
    for worm in bodies:
        edge = np.exp(-(((worm.d - 0.9) / 0.2) ** 2))
        gut = np.exp(-((worm.d / 0.5) ** 2)) * np.clip(worm.s * 6, 0, 1) * np.clip((1 - worm.s) * 5, 0, 1)
        solid = np.clip((1.05 - worm.d) * 4, 0, 1)
        tone = solid * (0.55 + 0.35 * edge + 0.45 * gut * np.clip(1 + 0.6 * texture[worm.window], 0, 2))
        density[worm.window] += np.asarray(tone * rng.uniform(0.8, 1.2), np.float32)
    return density


def _caption(rng: Rng, first: tuple[str, str], n: int, how: Worms) -> tuple[str, dict[str, Scalar]]:
    shape = (
        "nearly straight"
        if how.bend + how.curl < 0.9
        else "gently curved"
        if how.bend + how.curl < 2
        else "strongly bent"
    )
    crowd = "sparse" if n < 8 else "moderately dense" if n < 20 else "dense"
    labels: dict[str, Scalar] = {
        "specimen": "nematodes (C. elegans-like)",
        "worms": n,
        "density": crowd,
        "size": "long" if how.length > 130 else "short",
        "morphology": shape,
    }
    second = pick(rng, (f"the worms are {shape} and {crowd}", f"they are {crowd} and {shape}"))
    return f"{sentence(pick(rng, first))} {sentence(second)}", labels


def draw_worms_well(slide: Rng, rng: Rng) -> Picture:
    """Dark worms in a bright rounded-square well, bright field."""
    shape, camera = field_shape(slide), fluorescence_camera(slide)
    how, size = strain(slide, shape, 22), slide.uniform(0.78, 1.0)
    lamp, fall, dark = slide.uniform(0.7, 1.2), slide.uniform(0.3, 0.75), slide.uniform(0.5, 0.9)
    room = well(rng, shape, size)
    bodies, mask = crawl(rng, shape, how, room)
    density = _absorption(rng, shape, bodies, fractal_noise(rng, shape, how.width, 2))
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    r2 = ((y - shape[0] / 2) ** 2 + (x - shape[1] / 2) ** 2) / (0.5 * size * min(shape)) ** 2
    glow = lamp * np.exp(-fall * r2 * 1.2)
    light = glow * (room * np.power(10, -dark * density) * (1 + 0.02 * smooth_noise(rng, shape, 30)) + 0.004)
    light = blur(np.asarray(light, np.float32), slide.uniform(0.6, 1.6))
    n = distinct(mask)
    worms = count(n, "dark worm")
    first = (
        f"bright-field micrograph of a well with {worms} (C. elegans-like nematodes) on a bright ground",
        f"{worms} (C. elegans-like) in a rounded square well, bright field, the surround black",
    )
    caption, labels = _caption(rng, first, n, how)
    labels |= {"kind": "worms_bright_field", "stain": "none"}
    pixels = camera.expose(rng, light)
    return Picture(pixels, caption, "bright-field microscopy", labels, {"worms": mask}, camera.jpeg_quality)


def draw_worms_fluorescence(slide: Rng, rng: Rng) -> Picture:
    """Worms that glow, all along the body or only in the head, in a dim well."""
    shape, camera = field_shape(slide), fluorescence_camera(slide)
    how, size = strain(slide, shape, 20), slide.uniform(0.8, 1.05)
    pharynx, haze = chance(slide, 0.3), log_uniform(slide, 0.002, 0.2)
    tint = slide.choice(["grey", "grey", "grey", "green"])
    room = well(rng, shape, size)
    bodies, mask = crawl(rng, shape, how, room)
    texture = fractal_noise(rng, shape, 2 * how.width, 3)
    dim = haze * np.clip(0.25 + room * (1 + 0.15 * smooth_noise(rng, shape, 120)), 0, None)
    light = np.asarray(dim, np.float32)
    for worm in bodies:
        solid = np.clip((1.05 - worm.d) * 3, 0, 1) * np.clip(1 + 0.5 * texture[worm.window], 0.1, 3)
        along = (
            np.exp(-(((worm.s - 0.88) / 0.05) ** 2)) + np.exp(-(((worm.s - 0.72) / 0.04) ** 2))
            if pharynx
            else 0.6 + 0.6 * np.sin(9 * worm.s) ** 2
        )
        light[worm.window] += np.asarray(rng.uniform(0.3, 1.3) * solid * (along + 0.05), np.float32)
    light = blur(light, slide.uniform(0.7, 2.0))
    for y, x in scatter(rng, shape, int(rng.poisson(5)), 3):
        light[int(y), int(x)] += rng.uniform(0.3, 2)
    pixels = camera.expose(rng, np.asarray(light * slide.uniform(0.5, 1.6), np.float32))
    if tint == "green":
        pixels = np.asarray(pixels[..., None] * np.asarray([0.1, 1.0, 0.15]), np.uint8)
    n = distinct(mask)
    part = "with the signal confined to the head" if pharynx else "with a granular signal along the body"
    worms = count(n, "fluorescent worm")
    first = (
        f"fluorescence micrograph of {worms} (C. elegans-like nematodes), {part}",
        f"{worms} (C. elegans-like) on a dark field, {part}, fluorescence microscopy",
    )
    caption, labels = _caption(rng, first, n, how)
    labels |= {"kind": "worms_fluorescence", "stain": "GFP reporter", "pattern": "head" if pharynx else "body"}
    return Picture(pixels, caption, "fluorescence microscopy", labels, {"worms": mask}, camera.jpeg_quality)


def draw_worms_stained(slide: Rng, rng: Rng) -> Picture:
    """Red-brown worms after a fat stain, on a white field."""
    shape, camera = field_shape(slide), colour_camera(slide)
    how = strain(slide, shape, 90)
    how = Worms(0.8 * how.length, 0.75 * how.width, how.bend, how.curl, how.number, how.clusters)
    dye, strength = stain_vector(slide, "oil red", 0.1), slide.uniform(0.3, 0.7)
    lamp = np.asarray(slide.uniform(0.88, 1.05) * white_balance(slide, 0.012), np.float32)
    corner = slide.uniform(1.0, 1.6)
    bodies, mask = crawl(rng, shape, how, np.ones(shape, np.float32))
    texture = fractal_noise(rng, shape, how.width, 2)
    density = _absorption(rng, shape, bodies, texture)
    drops = np.clip(texture - 1.2, 0, 2) * np.clip(density, 0, 1)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    r = np.hypot((y / shape[0] - 0.5) * 2, (x / shape[1] - 0.5) * 2)
    edge = np.clip((corner - r) * 40, 0.02, 1)
    tissue = np.asarray([0.5, 0.6, 0.65], np.float32)
    layers = [
        (np.asarray(strength * (density + drops), np.float32), dye),
        (np.asarray(0.15 * density, np.float32), tissue),
    ]
    light = blur(bayer(transmit(layers, lamp * edge[..., None])), slide.uniform(0.5, 1.2))
    n = distinct(mask)
    worms = count(n, "red-brown worm")
    first = (
        f"bright-field micrograph of {worms} (C. elegans-like nematodes) stained for fat (oil red O) on a white ground",
        f"{worms} (C. elegans-like), oil red O fat stain, bright field on white",
    )
    caption, labels = _caption(rng, first, n, how)
    labels |= {"kind": "worms_stained", "stain": "oil red O"}
    pixels = camera.expose(rng, light)
    return Picture(pixels, caption, "bright-field microscopy", labels, {"worms": mask}, camera.jpeg_quality)
