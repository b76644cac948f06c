"""The comet assay (single-cell gel electrophoresis): heads of intact DNA, tails of fragments drawn out by the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragvlm.simulate.fluorescence import MODALITY, Setup, add_specks, develop, setup
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import fractal_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, chance, log_uniform
from ragvlm.simulate.shapes import outline, patch, scatter, within
from ragvlm.simulate.words import count, pick, sentence, size_word


@dataclass(frozen=True)
class Gel:
    """A gel: head radius in pixels, tail length in head radii, share of damaged cells, running direction (radians)."""

    radius: float
    tail: float
    damaged: float
    direction: float
    strength: float
    cells: float


def gel(slide: Rng) -> Gel:
    """Draw a gel: undamaged, partly damaged or fully damaged."""
    return Gel(
        radius=log_uniform(slide, 11, 32),
        tail=slide.uniform(2.5, 7),
        damaged=float(slide.choice([0.0, 0.5, 0.85, 1.0, 1.0, 1.0])),
        direction=float(slide.choice([0.0, 0.0, np.pi, np.pi / 2])) + slide.normal(0, 0.05),
        strength=slide.uniform(0.12, 0.5),
        cells=log_uniform(slide, 3, 18),
    )


def _tail(rng: Rng, light: Float, how: Gel, place: tuple[float, float], radius: float, length: float) -> None:
    """Add one tail, in place: brightest at the head, widening and fading along the field."""
    contour = outline(rng, radius + length, 1.0, 0)
    spot = patch((light.shape[0], light.shape[1]), place, contour, 1.1)
    if spot is None:
        return
    cos, sin = np.cos(how.direction), np.sin(how.direction)
    along, across = spot.x * cos + spot.y * sin, spot.y * cos - spot.x * sin
    share = np.clip(along / length, 0, 1)
    width = radius * (0.75 + 0.35 * share)
    fade = (1 - share) ** 0.8 * (along > 0) * np.exp(-((across / width) ** 2))
    grain = np.clip(1 + 0.25 * fractal_noise(rng, spot.d.shape, 5, 2), 0, None)
    light[spot.window] += np.asarray(how.strength * fade * grain, np.float32)


def _paint(rng: Rng, how: Setup, cells: Gel) -> tuple[Float, Labels, Labels]:
    light = np.zeros(how.shape, np.float32)
    plain, tailed = np.zeros(how.shape, np.int32), np.zeros(how.shape, np.int32)
    wanted = max(1, round(cells.cells * rng.uniform(0.6, 1.3)))
    for number, place in enumerate(scatter(rng, how.shape, wanted, 3.2 * cells.radius, margin=cells.radius / 2), 1):
        radius = cells.radius * rng.uniform(0.65, 1.2)
        spot = patch(how.shape, place, outline(rng, radius, 1 + abs(rng.normal(0, 0.15)), 0.03), 1.6)
        if spot is None:
            continue
        hurt = chance(rng, cells.damaged)
        head = 1 / (1 + np.exp((spot.d - 0.85) * rng.uniform(6, 14)))
        light[spot.window] += np.asarray(rng.uniform(0.7, 1.4) * head, np.float32)
        if hurt:
            _tail(rng, light, cells, place, radius, radius * cells.tail * rng.uniform(0.6, 1.3))
        if within(how.shape, place):
            (tailed if hurt else plain)[spot.window][spot.inside] = number
    return light, plain, tailed


def draw_comet(slide: Rng, rng: Rng) -> Picture:
    """Nuclei in a gel after electrophoresis, with or without tails."""
    how, cells = setup(slide, str(slide.choice(["green", "red"])), 0.25), gel(slide)
    stain = pick(slide, ("SYBR Gold", "ethidium bromide", "propidium iodide", "DAPI"))
    light, plain, tailed = _paint(rng, how, cells)
    add_specks(rng, light, int(rng.poisson(8)), 0.25)
    every = np.where(tailed > 0, tailed, plain)
    n, m = distinct(every), distinct(tailed)
    ways = ("the right", "the bottom", "the left", "the top")
    way = ways[round(cells.direction / (np.pi / 2)) % 4]
    size = size_word(2 * cells.radius, how.shape)
    first = pick(
        rng,
        (
            f"comet assay, fluorescence with {stain}: {count(n, f'{size} nucleus', f'{size} nuclei')} on a black field",
            f"fluorescence micrograph of a comet assay ({stain}) with {count(n, f'{size} nucleus', f'{size} nuclei')}",
        ),
    )
    if m:
        second = (
            f"{count(m, 'has', 'have')} a bright head with a fainter tail that points to {way}, a sign of DNA damage"
        )
    else:
        second = "they are round and without tails, so there is no sign of DNA damage"
    labels: dict[str, Scalar] = {
        "kind": "comet_assay",
        "stain": stain,
        "specimen": "single cells in agarose",
        "nuclei": n,
        "with_tail": m,
        "without_tail": n - m,
        "density": "sparse",
        "size": size,
        "morphology": "heads with tails" if m else "round heads without tails",
    }
    caption = " ".join(sentence(t) for t in (first, second if n else "", how.remark()) if t)
    pixels = develop(rng, light, how, 0.9)
    return Picture(pixels, caption, MODALITY, labels, {"nuclei": every, "with_tail": tailed}, how.camera.jpeg_quality)
