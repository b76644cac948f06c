"""Fluorescent cell bodies: actin or another cytoplasmic stain, from single round cells to a closed sheet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragvlm.simulate.fluorescence import MODALITY, Setup, add_specks, develop, setup
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, fractal_noise, resize, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, chance, log_uniform
from ragvlm.simulate.shapes import Tiling, outline, patch, scatter, tiling, within
from ragvlm.simulate.words import count, density_word, paragraph, pick, size_word

Place = tuple[float, float]


@dataclass(frozen=True)
class Bodies:
    """How a culture's cell bodies look: radius in pixels, cortex, fibres, texture, packing."""

    radius: float
    covered: float
    clusters: int
    warp: float
    cortex: float
    fibres: float
    grain: float
    variety: float
    rounded: float
    nucleus: float


def bodies(slide: Rng) -> Bodies:
    """Draw a culture; round insect-like cells, spread epithelial-like cells, or anything between."""
    radius = log_uniform(slide, 9, 60)
    spread = chance(slide, 0.6)
    return Bodies(
        radius=radius,
        covered=slide.uniform(0.3, 1.0),
        clusters=int(slide.choice([0, 0, 2, 5])),
        warp=(slide.uniform(0.1, 0.45) if spread else slide.uniform(0.02, 0.1)) * radius,
        cortex=slide.uniform(0.2, 2.0),
        fibres=slide.uniform(0.1, 0.8) if spread and radius > 20 else 0.0,
        grain=slide.uniform(0.05, 0.35),
        variety=slide.uniform(0.15, 0.55),
        rounded=slide.uniform(0.02, 0.15) if chance(slide, 0.5) else 0.0,
        nucleus=slide.uniform(-0.5, 0.3),
    )


def body_shapes(rng: Rng, how: Setup, cells: Bodies) -> tuple[list[Place], Tiling, Float, Labels]:
    """Seeds, their tiling, coverage 0-1 of the field, and the label image of cells whose seed lies inside."""
    margin = 1.2 * cells.radius
    area = (how.shape[0] + 2 * margin) * (how.shape[1] + 2 * margin)
    wanted = max(4, round(1.2 * cells.covered * rng.uniform(0.8, 1.2) * area / (np.pi * cells.radius**2)))
    places = scatter(rng, how.shape, wanted, 1.25 * cells.radius, margin=margin, clusters=cells.clusters, tight=0.2)
    sheet = tiling(rng, how.shape, places, cells.warp, 0.9 * cells.radius)
    reach = cells.radius * np.exp(rng.normal(0, cells.variety / 3, len(places)))
    edge = reach[sheet.owner] * (1 + 0.12 * smooth_noise(rng, how.shape, cells.radius)) - sheet.centre
    inside = np.clip(np.minimum(edge, sheet.border) / 1.5 + 0.3, 0, 1).astype(np.float32)
    counted = np.array([within(how.shape, place) for place in places])
    mask = np.where((edge > 0) & counted[sheet.owner], sheet.owner + 1, 0).astype(np.int32)
    return places, sheet, inside, mask


def fibre_texture(rng: Rng, shape: tuple[int, int], width: float) -> Float:
    """Stress-fibre-like streaks (h, w), zero mean: noise drawn out along a slowly turning direction."""
    fine = rng.standard_normal((shape[0] + 80, shape[1] + 80), dtype=np.float32)
    fine = blur(fine, width)
    bend = 25 * smooth_noise(rng, shape, 120)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    turn = rng.uniform(0, np.pi)
    total = np.zeros(shape, np.float32)
    for step in range(-18, 19, 3):
        dy = np.sin(turn + bend / 40) * step
        dx = np.cos(turn + bend / 40) * step
        total += fine[
            np.clip(y + 40 + dy, 0, shape[0] + 79).astype(int), np.clip(x + 40 + dx, 0, shape[1] + 79).astype(int)
        ]
    return np.asarray(total / (total.std() + 1e-6), np.float32)


def paint_bodies(rng: Rng, how: Setup, cells: Bodies) -> tuple[Float, Labels, int]:
    """Light (h, w), label image, and the number of counted rounded-up bright cells."""
    places, sheet, inside, mask = body_shapes(rng, how, cells)
    level = np.exp(rng.normal(0, cells.variety, len(places))).astype(np.float32)[sheet.owner]
    rim = np.exp(-sheet.border / (0.8 + 0.05 * cells.radius))
    outer = np.exp(-((inside - 0.6) ** 2) / 0.08)
    body = 0.55 + cells.nucleus * np.exp(-((sheet.centre / (0.4 * cells.radius)) ** 2))
    body = body + cells.grain * fractal_noise(rng, how.shape, max(3.0, cells.radius / 4))
    if cells.fibres:
        body = body + 0.35 * cells.fibres * np.clip(fibre_texture(rng, how.shape, 0.9), -1, 3)
    light = level * inside * np.clip(body, 0.05, None) + cells.cortex * 0.4 * np.maximum(rim * inside, 0.7 * outer)
    light = np.asarray(light, np.float32)
    bright = _rounded(rng, how, cells, places, light)
    return light, mask, bright


def _rounded(rng: Rng, how: Setup, cells: Bodies, places: list[Place], light: Float) -> int:
    """Turn some cells into bright round ones (dividing or dying), in place; how many of them count."""
    bright = 0
    for place in places:
        if not chance(rng, cells.rounded):
            continue
        spot = patch(how.shape, place, outline(rng, 0.5 * cells.radius, 1.1, 0.04))
        if spot is None:
            continue
        ring = np.exp(-(((spot.d - 0.75) / 0.25) ** 2)) + 0.5 * (spot.d < 0.8)
        light[spot.window] += np.asarray(rng.uniform(1.2, 3) * ring * spot.coverage(2), np.float32)
        bright += within(how.shape, place)
    return bright


def _layer_word(cells: Bodies, covered: float) -> str:
    if covered > 0.8:
        return "a nearly closed sheet"
    return "single cells and groups" if cells.clusters else "a loose layer"


def _caption(rng: Rng, n: int, bright: int, words: dict[str, str], remark: str) -> str:
    size, stain, shape = words["size"], words["stain"], words["shape"]
    first = pick(
        rng,
        (
            f"fluorescence micrograph of {count(n, f'{size} cultured cell')} with a {stain} stain",
            f"{count(n, f'{size} cell body', f'{size} cell bodies')} labelled with {stain}, fluorescence microscopy",
        ),
    )
    second = pick(
        rng,
        (
            f"the cell bodies are {shape} and {words['crowd']}, forming {words['layer']}",
            f"{shape} cell bodies, {words['crowd']}, form {words['layer']}",
        ),
    )
    third = f"{count(bright, 'bright rounded cell stands', 'bright rounded cells stand')} out" if bright else ""
    return paragraph(first, second, third, remark)


def draw_bodies(slide: Rng, rng: Rng) -> Picture:
    """Cell bodies with an actin or another cytoplasmic stain."""
    how, cells = setup(slide, str(slide.choice(["green", "red"])), 0.08), bodies(slide)
    stain = pick(slide, ("phalloidin (actin)", "tubulin antibody", "CellMask (cytoplasm)", "actin antibody"))
    light, mask, bright = paint_bodies(rng, how, cells)
    if chance(rng, 0.5):
        # clumps out of focus above the layer
        clump = resize(np.asarray(rng.random((6, 8)) > 0.9, np.float32), how.shape)
        light = np.asarray(light * (1 + np.clip(clump, 0, 1) * rng.uniform(0, 1.5)), np.float32)
    add_specks(rng, light, int(rng.poisson(3)), 3)
    n, covered = distinct(mask), float(np.mean(mask > 0))
    words = {
        "stain": stain,
        "crowd": density_word(covered),
        "size": size_word(2 * cells.radius, how.shape),
        "shape": "spread and irregular" if cells.warp > 0.1 * cells.radius else "rounded",
        "layer": _layer_word(cells, covered),
    }
    labels: dict[str, Scalar] = {
        "kind": "cell_bodies",
        "stain": stain,
        "specimen": "cultured cells",
        "cells": n,
        "rounded": bright,
        "density": words["crowd"],
        "size": words["size"],
        "morphology": words["shape"],
        "layout": words["layer"],
    }
    caption = _caption(rng, n, bright, words, how.remark())
    return Picture(develop(rng, light, how), caption, MODALITY, labels, {"cells": mask}, how.camera.jpeg_quality)
