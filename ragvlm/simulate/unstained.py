"""Single unstained cells in suspension: quantitative phase, or bright field slightly off focus."""

from __future__ import annotations

import numpy as np

from ragvlm.simulate.camera import fluorescence_camera
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, fractal_noise, illumination, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, Shape, chance, field_shape, log_uniform
from ragvlm.simulate.shapes import outline, patch, scatter, within
from ragvlm.simulate.words import count, pick, place_word, sentence, size_word


def _fringes(rng: Rng, shape: Shape) -> Float:
    """Weak interference fringes from dust on the optics: rings and straight bands, about unit height."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    total = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        cy, cx = rng.uniform(-0.2, 1.2) * shape[0], rng.uniform(-0.2, 1.2) * shape[1]
        r = np.hypot(y - cy, x - cx)
        total += np.cos(r / rng.uniform(4, 16) + rng.uniform(0, 6)) * np.exp(-r / rng.uniform(60, 260))
    return total


def _bodies(
    rng: Rng, shape: Shape, radius: float, n: int, grain: float
) -> tuple[Float, Labels, list[tuple[float, float]]]:
    """Optical thickness 0-1 (h, w) of round cells with inner structure, labels, and centres that count."""
    height, mask = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    texture = fractal_noise(rng, shape, max(3.0, radius / 3), 3)
    centres = []
    for number, place in enumerate(scatter(rng, shape, n, 2.3 * radius), 1):
        spot = patch(shape, place, outline(rng, radius * rng.uniform(0.75, 1.2), 1 + abs(rng.normal(0, 0.1)), 0.015))
        if spot is None or not within(shape, place):
            continue
        dome = np.clip(1 - spot.d**2, 0, 1) ** 0.35 * (1 + grain * texture[spot.window])
        for _ in range(int(rng.integers(1, 7))):
            far, angle = rng.uniform(0, 0.7) * radius, rng.uniform(0, 2 * np.pi)
            away = np.hypot(spot.y - far * np.sin(angle), spot.x - far * np.cos(angle))
            dome = dome + rng.uniform(-0.1, 0.25) * np.exp(-((away / (0.09 * radius)) ** 2)) * (spot.d < 1)
        height[spot.window] = np.maximum(height[spot.window], np.asarray(np.clip(dome, 0, None), np.float32))
        mask[spot.window][spot.inside] = number
        centres.append(place)
    return height, mask, centres


def draw_unstained(slide: Rng, rng: Rng) -> Picture:
    """One to a dozen round unstained cells on an even grey field."""
    shape, camera = field_shape(slide), fluorescence_camera(slide)
    quantitative = chance(slide, 0.65)
    radius = log_uniform(slide, 18, 75)
    level, gain, halo = slide.uniform(0.12, 0.4), slide.uniform(0.25, 0.62), slide.uniform(0.3, 1.1)
    ripple, grain = log_uniform(slide, 0.002, 0.014), slide.uniform(0.03, 0.12)
    fall = slide.uniform(0, 0.3)
    most = int(np.clip(0.2 * shape[0] * shape[1] / (np.pi * radius**2), 1, 14))
    wanted = 1 if chance(slide, 0.5) else int(rng.integers(1, most + 1))
    height, mask, centres = _bodies(rng, shape, radius, wanted, grain)
    if quantitative:
        relief = height - halo * blur(height, 0.25 * radius) * (1 - np.clip(height, 0, 1))
        light = level + gain * relief
    else:
        level += 0.2
        edge = blur(height, 1.0) - blur(height, 0.09 * radius)
        ring = np.clip(blur(height, 0.03 * radius) - blur(height, 0.13 * radius), None, 0)
        light = level * (1 + gain * (6 * ring - 4 * edge) + 0.7 * gain * (height - blur(height, 0.3 * radius)))
    light = light + ripple * (
        _fringes(rng, shape) + smooth_noise(rng, shape, 40) + 0.7 * fractal_noise(rng, shape, 6, 2)
    )
    seen = blur(np.asarray(light, np.float32), slide.uniform(0.6, 1.5)) * illumination(rng, shape, fall)
    modality = "quantitative phase microscopy" if quantitative else "bright-field microscopy"
    caption, labels = _describe(rng, shape, mask, centres, modality, radius)
    pixels = camera.expose(rng, np.asarray(np.clip(seen, 0, None), np.float32))
    return Picture(pixels, caption, modality, labels, {"cells": mask}, camera.jpeg_quality)


def _describe(
    rng: Rng, shape: Shape, mask: Labels, centres: list[tuple[float, float]], modality: str, radius: float
) -> tuple[str, dict[str, Scalar]]:
    n, size = distinct(mask), size_word(2 * radius, shape)
    phase = modality.startswith("quantitative")
    look = (
        "bright with a dark surround on a grey field"
        if phase
        else "outlined by a dark and a bright ring on a grey field"
    )
    cells, image = (
        count(n, f"{size} unstained round cell"),
        "quantitative phase image" if phase else "bright-field micrograph",
    )
    first = pick(
        rng,
        (
            f"{image} of {cells} in suspension",
            f"{cells} seen by {modality}",
        ),
    )
    where = (
        f"the cell lies {place_word(centres[0], shape)} of the field and is {look}"
        if n == 1
        else f"the cells are {look}"
    )
    labels: dict[str, Scalar] = {
        "kind": "unstained_cells",
        "stain": "none",
        "specimen": "cells in suspension",
        "cells": n,
        "density": "sparse" if n < 5 else "moderately dense",
        "size": size,
        "morphology": "round",
    }
    return f"{sentence(first)} {sentence(where)}", labels
