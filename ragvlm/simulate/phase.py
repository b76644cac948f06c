"""Phase contrast of cultured cells with its halo, closed or with a wound gap; a colour or a grey camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.camera import Camera, colour_camera, white_balance
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, defocus, fractal_noise, illumination, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, Shape, chance, field_shape, log_uniform
from ragvlm.simulate.shapes import outline, patch, scatter, within
from ragvlm.simulate.words import count, density_word, paragraph, pick, sentence, size_word

MODALITY = "phase-contrast microscopy"


@dataclass(frozen=True)
class Culture:
    """A dish and its microscope: cell radius in pixels, aspect, optical thickness in radians, halo width in pixels."""

    shape: Shape
    camera: Camera
    lamp: Float
    radius: float
    aspect: float
    covered: float
    thick: float
    halo: float
    ghost: float
    grain: float
    rounded: float
    blur: float
    fall: float
    aligned: float


def dish(slide: Rng) -> Culture:
    """Draw a dish: fibroblast-like spindles to cobblestones, brownish, bluish or grey pictures."""
    grey = chance(slide, 0.5)
    balance = np.ones(3, np.float32) if grey else white_balance(slide, 0.05) * np.asarray([1.04, 1.0, 0.95], np.float32)
    return Culture(
        shape=field_shape(slide),
        camera=colour_camera(slide),
        lamp=np.asarray(slide.uniform(0.24, 0.58) * balance, np.float32),
        radius=log_uniform(slide, 5, 24),
        aspect=slide.uniform(1.1, 5.5),
        covered=slide.uniform(0.3, 0.95),
        thick=slide.uniform(0.35, 1.6),
        halo=slide.uniform(2.0, 9),
        ghost=slide.uniform(0.7, 1.5),
        grain=slide.uniform(0.15, 0.6),
        rounded=slide.uniform(0.25, 0.95) if chance(slide, 0.25) else slide.uniform(0.01, 0.2),
        blur=slide.uniform(0.5, 1.8),
        fall=slide.uniform(0, 0.35),
        aligned=slide.uniform(0.2, 1.5),
    )


def zernike(phase: NDArray[np.floating]) -> Float:
    """Relative intensity (h, w) of positive phase contrast, 1 for the empty field, at phase shifts in radians.

    Zernike's formula 3 - 2 sin(p) - 2 cos(p): thin cells dark, thick round ones bright.
    """
    return np.asarray(3 - 2 * np.sin(phase) - 2 * np.cos(phase), dtype=np.float32)


def _free(rng: Rng, how: Culture, gap: float, angle: float) -> Float:
    """Signed distance in pixels from the wound's ragged edge, > 0 where cells grow; everywhere when gap is 0."""
    y, x = np.mgrid[0 : how.shape[0], 0 : how.shape[1]].astype(np.float32)
    across = (x - how.shape[1] / 2) * np.cos(angle) + (y - how.shape[0] / 2) * np.sin(angle)
    across = (
        across + rng.uniform(-0.1, 0.1) * how.shape[1] + how.radius * 1.2 * smooth_noise(rng, how.shape, 4 * how.radius)
    )
    return np.asarray(np.abs(across) - gap / 2 if gap else np.full(how.shape, 1e6), np.float32)


def _paint(rng: Rng, how: Culture, free: Float, strays: float) -> tuple[Float, Labels]:
    """Phase shift in radians (h, w) and label image; ``strays`` is the chance of a cell inside the gap."""
    phase, mask = np.zeros(how.shape, np.float32), np.zeros(how.shape, np.int32)
    texture = fractal_noise(rng, how.shape, max(3.0, how.radius / 2), 3)
    flow = how.aligned * smooth_noise(rng, how.shape, 90)
    turn, area = rng.uniform(0, np.pi), np.pi * how.radius**2
    wanted = round(1.3 * how.covered * rng.uniform(0.85, 1.15) * phase.size / area)
    number = 0
    for y, x in scatter(rng, how.shape, max(4, wanted), 1.05 * how.radius, margin=how.radius):
        row, column = min(max(int(y), 0), how.shape[0] - 1), min(max(int(x), 0), how.shape[1] - 1)
        if free[row, column] < 0 and not chance(rng, strays):
            continue
        ball = chance(rng, how.rounded)
        aspect = rng.uniform(1, 1.15) if ball else 1 + abs(rng.normal(0.7, 0.5)) * (how.aspect - 1)
        radius = how.radius * (0.55 if ball else rng.uniform(0.7, 1.1))
        spot = patch(
            how.shape, (y, x), outline(rng, radius, aspect, 0.02 if ball else 0.1, turn + float(flow[row, column]))
        )
        if spot is None:
            continue
        dome = np.clip(1 - spot.d**2, 0, 1) ** (0.5 if ball else 0.8)
        height = rng.uniform(2.2, 3.6) if ball else how.thick * rng.uniform(0.7, 1.3)
        body = height * dome * (1 + (0.05 if ball else how.grain) * texture[spot.window])
        phase[spot.window] = np.maximum(phase[spot.window], body) + np.asarray(
            0.2 * np.minimum(phase[spot.window], body)
        )
        if within(how.shape, (y, x)):
            number += 1
            mask[spot.window][spot.inside] = number
    return phase, mask


def _develop(rng: Rng, how: Culture, phase: Float) -> NDArray[np.uint8]:
    # the phase ring passes part of the low frequencies: they come back with the wrong sign, as the halo
    seen = phase - how.ghost * (0.8 * blur(phase, how.halo) + 0.2 * blur(phase, 3 * how.halo))
    seen = seen + 0.03 * fractal_noise(rng, how.shape, 5, 2)
    # the plate shifts each wavelength differently, hence coloured fringes on a colour camera
    bands = (0.88, 1.0, 1.15) if np.ptp(how.lamp) else (1.0, 1.0, 1.0)
    light = np.stack([defocus(zernike(seen * band), how.blur) ** 0.7 for band in bands], axis=2)
    light = np.minimum(light, 2.6) * illumination(rng, how.shape, how.fall)[..., None]
    colour = light * how.lamp
    pixels = how.camera.expose(rng, np.asarray(colour, np.float32))
    return pixels[..., 1] if np.ptp(how.lamp) == 0 else pixels


def _words(how: Culture, mask: Labels) -> dict[str, str]:
    return {
        "crowd": density_word(float(np.mean(mask > 0))),
        "size": size_word(2 * how.radius, how.shape),
        "shape": "spindle-shaped" if how.aspect > 2.4 else "elongated" if how.aspect > 1.6 else "cobblestone-like",
    }


def draw_phase(slide: Rng, rng: Rng) -> Picture:
    """Adherent cells in phase contrast, sparse to confluent."""
    how = dish(slide)
    phase, mask = _paint(rng, how, _free(rng, how, 0.0, 0.0), 1.0)
    n, words = distinct(mask), _words(how, mask)
    first = pick(
        rng,
        (
            f"phase-contrast micrograph of an unstained cell culture with {count(n, words['size'] + ' adherent cell')}",
            f"{count(n, words['size'] + ' unstained cultured cell')} in phase contrast, outlined by bright halos",
        ),
    )
    second = f"the cells are {words['shape']} and {words['crowd']}" + (
        ", close to confluence" if np.mean(mask > 0) > 0.7 else ""
    )
    labels: dict[str, Scalar] = {
        "kind": "phase_contrast",
        "stain": "none",
        "specimen": "adherent cell culture",
        "cells": n,
        "density": words["crowd"],
        "size": words["size"],
        "morphology": words["shape"],
    }
    caption = f"{sentence(first)} {sentence(second)}"
    return Picture(_develop(rng, how, phase), caption, MODALITY, labels, {"cells": mask}, how.camera.jpeg_quality)


def _wound_words(share: float) -> str:
    if share > 0.45:
        return "a wide open wound"
    return "a partly closed wound" if share > 0.25 else "a narrow, nearly closed wound"


def _wound_caption(rng: Rng, upright: bool, labels: Mapping[str, Scalar], crossed: bool) -> str:
    way, side = ("vertical", "width") if upright else ("horizontal", "height")
    first = pick(
        rng,
        (
            f"phase-contrast micrograph of a wound-healing assay: a {way} gap between two cell fronts",
            f"scratch-wound assay in phase contrast, with a {way} gap between two sheets of cells",
        ),
    )
    cell = f"{labels['morphology']} cell"
    seen = f"{count(int(labels['cells']), cell + ' is', cell + 's are')} visible"
    return paragraph(
        first,
        f"the gap spans about {labels['gap_percent']} % of the field's {side}, {labels['gap']}",
        seen + (", some of them inside the gap" if crossed else ""),
    )


def draw_wound(slide: Rng, rng: Rng) -> Picture:
    """A scratch-wound assay: a band without cells between two fronts."""
    how = replace(dish(slide), covered=slide.uniform(0.6, 1.0))
    upright = chance(slide, 0.75)
    angle = (0.0 if upright else np.pi / 2) + slide.normal(0, 0.06)
    across = how.shape[1] if upright else how.shape[0]
    share = rng.uniform(0.2, 0.7)
    strays = rng.uniform(0, 0.08) if chance(rng, 0.6) else 0.0
    free = _free(rng, how, share * across, angle)
    phase, mask = _paint(rng, how, free, strays)
    words = _words(how, mask)
    labels: dict[str, Scalar] = {
        "kind": "wound_healing",
        "stain": "none",
        "specimen": "adherent cell culture with a scratch",
        "cells": distinct(mask),
        "gap_percent": round(100 * share),
        "gap": _wound_words(share),
        "density": words["crowd"],
        "size": words["size"],
        "morphology": words["shape"],
    }
    caption = _wound_caption(rng, upright, labels, bool(np.any((free < -how.radius) & (mask > 0))))
    return Picture(_develop(rng, how, phase), caption, MODALITY, labels, {"cells": mask}, how.camera.jpeg_quality)
