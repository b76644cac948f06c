"""White blood cells of a Romanowsky-stained smear, drawn as optical densities of the dyes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.optics import blur
from ragvlm.simulate.picture import Float, Rng, Shape, chance
from ragvlm.simulate.shapes import Patch, outline, patch

TYPES: dict[str, str] = {
    "neutrophil": "a neutrophil with a segmented nucleus",
    "lymphocyte": "a lymphocyte with a round nucleus and little cytoplasm",
    "monocyte": "a monocyte with a kidney-shaped nucleus",
    "eosinophil": "an eosinophil with a bilobed nucleus and orange-red granules",
}


def _lobes(rng: Rng, kind: str, radius: float) -> list[tuple[float, float, float, float]]:
    """Lobes of the nucleus as (row offset, column offset, radius, aspect)."""
    if kind == "lymphocyte":
        return [(*(rng.normal(0, 0.06 * radius, 2)), radius * rng.uniform(0.72, 0.85), rng.uniform(1, 1.15))]
    start = rng.uniform(0, 2 * np.pi)
    if kind == "monocyte":
        turns, ring, size = np.linspace(-1.1, 1.1, 7), 0.36, 0.36
    else:
        n = 2 if kind == "eosinophil" else int(rng.integers(2, 6))
        turns = np.cumsum(rng.uniform(0.85, 1.6, n)) if n > 2 else np.array([0.0, rng.uniform(1.9, 2.9)])
        ring, size = rng.uniform(0.36, 0.52), 0.48 - 0.035 * n
    return [
        (
            radius * ring * float(np.sin(start + turn)) * rng.uniform(0.8, 1.2),
            radius * ring * float(np.cos(start + turn)) * rng.uniform(0.8, 1.2),
            radius * size * rng.uniform(0.85, 1.2),
            rng.uniform(1.0, 1.5),
        )
        for turn in turns
    ]


def _nucleus(rng: Rng, shape: Shape, centre: tuple[float, float], radius: float, kind: str, cell: Patch) -> Float:
    """Coverage 0-1 of the lobed nucleus in the cell's window."""
    body = np.zeros_like(cell.d)
    lobes = _lobes(rng, kind, radius)
    for y, x, size, aspect in lobes:
        contour = outline(rng, size, aspect, 0.05)
        spot_d = contour.distance(cell.y - np.float32(y), cell.x - np.float32(x))
        body = np.maximum(body, np.clip((1 - spot_d) * size / 1.5 + 0.5, 0, 1))
    # thin strands of chromatin join neighbouring lobes
    for (ya, xa, sa, _), (yb, xb, _, _) in pairwise(lobes):
        for t in np.linspace(0, 1, 6):
            away = np.hypot(cell.y - (ya + t * (yb - ya)), cell.x - (xa + t * (xb - xa)))
            body = np.maximum(body, np.clip((0.38 * sa - away) / 1.5 + 0.5, 0, 1))
    return np.asarray(body * cell.coverage(2), dtype=np.float32)


def paint_leukocyte(
    rng: Rng,
    shape: Shape,
    centre: tuple[float, float],
    radius: float,
    kind: str,
    layers: dict[str, Float],
    texture: Float,
) -> NDArray[np.bool_]:
    """Add one white cell to the dye layers ``blue``, ``pink`` and ``granule`` in place; its interior (h, w)."""
    covered = np.zeros(shape, np.bool_)
    cell = patch(shape, centre, outline(rng, radius, rng.uniform(1, 1.25), 0.05))
    if cell is None:
        return covered
    nucleus = _nucleus(rng, shape, centre, radius, kind, cell)
    grain = texture[cell.window]
    chromatin = np.clip(1 + rng.uniform(0.12, 0.35) * grain, 0.25, 1.8)
    edge = 0.35 * nucleus * (1 - nucleus)
    layers["blue"][cell.window] += np.asarray(rng.uniform(0.35, 0.75) * nucleus * chromatin + edge, np.float32)
    layers["pink"][cell.window] += np.asarray(rng.uniform(0.0, 0.22) * nucleus, np.float32)
    plasma = cell.coverage(2.5) * (1 - 0.8 * nucleus) * np.clip(1 + 0.1 * grain, 0.4, 1.6)
    depth = {"neutrophil": 0.16, "lymphocyte": 0.14, "monocyte": 0.22, "eosinophil": 0.2}[kind] * rng.uniform(0.6, 1.5)
    bluish = {"neutrophil": 0.25, "lymphocyte": 0.85, "monocyte": 0.6, "eosinophil": 0.15}[kind]
    layers["blue"][cell.window] += np.asarray(depth * bluish * plasma, np.float32)
    layers["pink"][cell.window] += np.asarray(depth * (1.2 - bluish) * plasma, np.float32)
    _granules(rng, cell, kind, plasma, layers)
    covered[cell.window] = cell.inside
    return covered


def _granules(rng: Rng, cell: Patch, kind: str, plasma: Float, layers: dict[str, Float]) -> None:
    """Cytoplasmic granules: coarse and orange-red in eosinophils, fine and lilac in neutrophils."""
    if kind not in ("eosinophil", "neutrophil"):
        return
    coarse = kind == "eosinophil"
    dots = (rng.random(cell.d.shape, dtype=np.float32) < (0.05 if coarse else 0.08)).astype(np.float32)
    sigma = max(0.7, cell.scale * (0.035 if coarse else 0.02))
    dots = blur(dots, sigma)
    dots = np.clip(dots / (dots.max() + 1e-6), 0, 1)
    name = "granule" if coarse else "pink"
    strength = rng.uniform(0.5, 0.8) if coarse else rng.uniform(0.05, 0.2)
    layers[name][cell.window] += np.asarray(strength * dots * plasma, np.float32)
    if coarse and chance(rng, 0.5):
        layers["pink"][cell.window] += np.asarray(0.15 * plasma, np.float32)
