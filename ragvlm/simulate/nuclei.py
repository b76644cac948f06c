"""Nuclei with a fluorescent DNA stain or a marker of mitosis, after SIMCEP (doi 10.1109/TMI.2007.896925)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragvlm.simulate.fluorescence import MODALITY, Setup, add_specks, develop, setup
from ragvlm.simulate.optics import blur, fractal_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, chance, log_uniform
from ragvlm.simulate.shapes import Outline, Patch, outline, patch, scatter, within
from ragvlm.simulate.words import count, density_word, pick, sentence, size_word, verb


@dataclass(frozen=True)
class Nuclei:
    """A culture's nuclei: radius in pixels, spread of radius and brightness, how they lie and look."""

    radius: float
    spread: float
    aspect: float
    wobble: float
    brightness: float
    chromatin: float
    grain: float
    nucleoli: int
    covered: float
    clusters: int
    gap: float
    mitotic: float


def culture(slide: Rng) -> Nuclei:
    """Draw the culture of a slide; small nuclei come in hundreds, large ones in handfuls."""
    radius = log_uniform(slide, 5, 46)
    return Nuclei(
        radius=radius,
        spread=slide.uniform(0.05, 0.25),
        aspect=slide.uniform(1.05, 1.6),
        wobble=slide.uniform(0.01, 0.08),
        brightness=slide.uniform(0.1, 0.5),
        chromatin=slide.uniform(0.05, 0.35),
        grain=slide.uniform(0.2, 0.6) * radius,
        nucleoli=int(slide.integers(0, 5)) if radius > 12 else 0,
        covered=log_uniform(slide, 0.05, 0.55),
        clusters=int(slide.choice([0, 0, 2, 4, 8])),
        gap=slide.uniform(1.5, 2.3),
        mitotic=slide.uniform(0.02, 0.12) if chance(slide, 0.5) else 0.0,
    )


def paint_nucleus(rng: Rng, light: Float, spot: Patch, cells: Nuclei, texture: Float, level: float) -> None:
    """Add one interphase nucleus to ``light`` in place: flattened sphere, chromatin grain, dark nucleoli."""
    body = np.clip(1 - spot.d**2, 0, 1) ** 0.35 * spot.coverage()
    body = body * (1 + cells.chromatin * texture[spot.window])
    for _ in range(cells.nucleoli):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.6) * spot.scale
        away = np.hypot(spot.y - far * np.sin(angle), spot.x - far * np.cos(angle))
        body = body * (1 - rng.uniform(0.3, 0.6) * np.exp(-((away / (0.17 * spot.scale)) ** 2)))
    light[spot.window] += np.asarray(level * np.clip(body, 0, None), np.float32)


def mitotic_outlines(rng: Rng, cells: Nuclei) -> list[tuple[tuple[float, float], Outline]]:
    """Offsets and contours of a dividing cell's chromatin: one metaphase plate or two anaphase plates."""
    angle = rng.uniform(0, np.pi)
    plate = cells.radius * 0.62
    if chance(rng, 0.6):
        return [((0.0, 0.0), outline(rng, plate, rng.uniform(1.8, 2.8), 0.06, angle))]
    step = plate * rng.uniform(0.7, 1.3)
    return [
        ((sign * step * np.cos(angle), -sign * step * np.sin(angle)), outline(rng, 0.8 * plate, 2.3, 0.05, angle))
        for sign in (-1, 1)
    ]


def paint(rng: Rng, how: Setup, cells: Nuclei, dim: float = 1.0) -> tuple[Float, Labels, Labels]:
    """Light (h, w) and label images of interphase and mitotic nuclei; ``dim`` scales the interphase ones."""
    light = np.zeros(how.shape, np.float32)
    resting, dividing = np.zeros(how.shape, np.int32), np.zeros(how.shape, np.int32)
    area = how.shape[0] * how.shape[1]
    wanted = max(3, round(area * cells.covered * rng.uniform(0.75, 1.3) / (np.pi * cells.radius**2)))
    margin = cells.radius
    places = scatter(
        rng, how.shape, wanted, cells.gap * cells.radius, margin=margin, clusters=cells.clusters, tight=0.16
    )
    texture = fractal_noise(rng, how.shape, cells.grain)
    for number, place in enumerate(places, 1):
        level = float(np.exp(rng.normal(0, cells.brightness)))
        if chance(rng, cells.mitotic):
            parts, mask, level = mitotic_outlines(rng, cells), dividing, 2.2 * level
        else:
            radius = cells.radius * float(np.exp(rng.normal(0, cells.spread)))
            aspect = 1 + abs(rng.normal(0, 1)) * (cells.aspect - 1)
            parts, mask = [((0.0, 0.0), outline(rng, radius, aspect, cells.wobble))], resting
        for (dy, dx), contour in parts:
            spot = patch(how.shape, (place[0] + dy, place[1] + dx), contour)
            if spot is None:
                continue
            paint_nucleus(rng, light, spot, cells, texture, level * (1.0 if mask is dividing else dim))
            if within(how.shape, place):
                mask[spot.window][spot.inside] = number
    return light, resting, dividing


def distinct(mask: Labels) -> int:
    """Number of different objects in a label image."""
    return int(np.count_nonzero(np.unique(mask)))


def _dna_caption(rng: Rng, n: int, dividing: int, words: dict[str, str], how: Setup) -> str:
    nuclei = count(n, f"{words['size']} nucleus", f"{words['size']} nuclei")
    first = pick(
        rng,
        (
            f"fluorescence micrograph of cultured cells with a {words['stain']} DNA stain showing {nuclei}",
            f"{nuclei} stained for DNA with {words['stain']}, seen by fluorescence microscopy",
            f"fluorescence microscopy, {words['stain']} (DNA): the field shows {nuclei} on a dark background",
        ),
    )
    second = pick(
        rng,
        (
            f"the nuclei are {words['shape']} and {words['density']}, {words['layout']}",
            f"they are {words['density']}, {words['layout']}, with {words['shape']} outlines",
        ),
    )
    third = f"{count(dividing, 'of them is', 'of them are')} in mitosis, with condensed bright chromatin"
    parts = [first, second, third if dividing else "", how.remark()]
    return " ".join(sentence(part) for part in parts if part)


def draw_dna(slide: Rng, rng: Rng) -> Picture:
    """Nuclei with a DNA stain: hundreds of small ones to a few large ones."""
    how, cells = setup(slide, "blue"), culture(slide)
    stain = pick(slide, ("Hoechst", "DAPI", "DRAQ5", "propidium iodide"))
    light, resting, dividing = paint(rng, how, cells)
    add_specks(rng, light, int(rng.poisson(2)), 1.5)
    every = np.where(dividing > 0, dividing, resting)
    n, mitoses, covered = distinct(every), distinct(dividing), float(np.mean(every > 0))
    words = {
        "stain": stain,
        "size": size_word(2 * cells.radius, how.shape),
        "shape": "round" if cells.aspect < 1.2 else "oval" if cells.aspect < 1.4 else "elongated",
        "density": density_word(covered),
        "layout": "gathered in clusters" if cells.clusters else "evenly spread",
    }
    labels: dict[str, Scalar] = {
        "kind": "dna_nuclei",
        "stain": stain,
        "specimen": "cultured cells",
        "nuclei": n,
        "mitotic": mitoses,
        "density": words["density"],
        "size": words["size"],
        "morphology": words["shape"],
        "layout": words["layout"],
        "covered": round(covered, 4),
    }
    reference = 1.0 if mitoses and chance(rng, 0.5) else None
    pixels = develop(rng, light, how, reference)
    caption = _dna_caption(rng, n, mitoses, words, how)
    masks = {"nuclei": every, "mitotic": dividing}
    return Picture(pixels, caption, MODALITY, labels, masks, how.camera.jpeg_quality)


def draw_mitotic(slide: Rng, rng: Rng) -> Picture:
    """A marker of mitosis: a few bright dividing nuclei, all others as good as dark."""
    how, cells = setup(slide, "green"), culture(slide)
    radius = log_uniform(slide, 6, 16)
    cells = Nuclei(radius, 0.15, 1.3, 0.05, 0.3, 0.3, radius / 2, 0, 0.12, int(slide.choice([0, 3])), 2.1, 0.0)
    share, dim = slide.uniform(0.02, 0.12), log_uniform(slide, 0.004, 0.05)
    cells = Nuclei(**{**cells.__dict__, "mitotic": share, "covered": log_uniform(slide, 0.05, 0.3)})
    light, resting, dividing = paint(rng, how, cells, dim)
    light += 0.02 * blur(light, 2 * cells.radius)
    n, stain = distinct(dividing), "phospho-histone H3"
    size = size_word(1.3 * cells.radius, how.shape)
    nuclei = count(n, "bright mitotic nucleus", "bright mitotic nuclei")
    first = pick(
        rng,
        (
            f"fluorescence micrograph of cultured cells labelled for {stain}: {nuclei}",
            f"{nuclei} {verb(n, 'carries', 'carry')} the mitosis marker {stain}, fluorescence microscopy",
        ),
    )
    second = "all other nuclei are almost dark, so that the field looks nearly empty"
    caption = " ".join(sentence(part) for part in (first, second, how.remark()) if part)
    labels: dict[str, Scalar] = {
        "kind": "mitotic_marker",
        "stain": stain,
        "specimen": "cultured cells",
        "mitotic": n,
        "nuclei": n + distinct(resting),
        "density": density_word(float(np.mean(dividing > 0))),
        "size": size,
        "morphology": "condensed mitotic chromatin",
    }
    pixels = develop(rng, light, how, 1.6)
    return Picture(pixels, caption, MODALITY, labels, {"mitotic": dividing}, how.camera.jpeg_quality)
