"""Stained peripheral blood smears: red cells with central pallor, white cells, platelets; Beer-Lambert absorption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.camera import Camera, bayer, colour_camera, sharpen, white_balance
from ragvlm.simulate.leukocytes import TYPES, paint_leukocyte
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, defocus, fractal_noise, illumination, smooth_noise, veil
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, Shape, chance, field_shape, log_uniform
from ragvlm.simulate.shapes import Patch, outline, patch, scatter, within
from ragvlm.simulate.stains import stain_mixture, stain_vector, transmit
from ragvlm.simulate.words import count, density_word, listing, paragraph, pick, place_word, size_word, verb

MODALITY = "bright-field microscopy"


@dataclass(frozen=True)
class Smear:
    """A slide: field, camera, lamp colour, dyes, and how its red cells look."""

    shape: Shape
    camera: Camera
    lamp: Float
    radius: float
    covered: float
    pallor: float
    ragged: float
    variety: float
    merge: float
    keep_off: float
    stack: float
    rim: float
    punched: float
    chain: float
    glints: float
    haemoglobin: float
    red: Float
    blue: Float
    pink: Float
    granule: Float
    fall: float
    blur: float
    sharp: float
    stain: str
    glare: float
    filling: float
    lilac: float


def smear(slide: Rng) -> Smear:
    """Draw a slide, from faint to strong stain, low to high magnification."""
    lamp = slide.uniform(0.68, 0.95) * white_balance(slide, 0.03)
    return Smear(
        shape=field_shape(slide),
        camera=colour_camera(slide),
        lamp=np.asarray(lamp, np.float32),
        radius=log_uniform(slide, 34, 64) if chance(slide, 0.65) else log_uniform(slide, 15, 30),
        covered=slide.uniform(0.25, 0.85),
        pallor=slide.uniform(0.15, 0.85),
        ragged=slide.uniform(0.0, 0.06),
        variety=slide.uniform(0.05, 0.35),
        merge=slide.uniform(0.75, 1.8),
        keep_off=slide.uniform(0.35, 0.8),
        stack=slide.uniform(0.05, 0.75),
        rim=slide.uniform(0.2, 0.9),
        punched=slide.uniform(0, 0.7),
        chain=slide.uniform(1.5, 6) if chance(slide, 0.5) else 1.0,
        glints=log_uniform(slide, 2, 30),
        haemoglobin=slide.uniform(0.12, 0.32),
        red=stain_mixture(slide, "haemoglobin", "grey haemoglobin", 0.05),
        blue=stain_mixture(slide, "azure", "bright azure", 0.03),
        pink=stain_vector(slide, "cytoplasm", 0.08),
        granule=stain_vector(slide, "granules", 0.08),
        fall=slide.uniform(0, 0.3),
        blur=slide.uniform(1.0, 3.2),
        sharp=slide.uniform(0, 0.6),
        stain=pick(slide, ("Wright-Giemsa", "May-Gruenwald-Giemsa", "Leishman", "Giemsa")),
        glare=slide.uniform(0, 0.25),
        filling=slide.uniform(0.05, 0.4),
        lilac=slide.uniform(0, 0.12),
    )


def thickness(d: Float, pallor: float) -> Float:
    """Profile of a red cell over relative distance, 0-1: the biconcave disc of Evans and Fung 1972.

    ``pallor`` 0 fills the centre (a spherocyte-like cell), 1 is the full dimple, more a thinned (hypochromic)
    centre (doi 10.1016/0026-2862(72)90069-6).
    """
    inside = np.clip(1 - d**2, 0, 1)
    dimple = 0.207 + 2.003 * d**2 - 1.123 * d**4
    full = 0.9 + 0.1 * d**2
    return np.asarray(
        inside**0.22 * ((1 - pallor) * full + pallor * np.clip(dimple, 0, None) * 0.95).clip(0), np.float32
    )


def _hole(rng: Rng, spot: Patch) -> Float:
    """A sharply bounded pale centre, as in cells that dried slowly: factor 0-1 over the window."""
    edge = rng.uniform(0.3, 0.6) * (1 + 0.15 * np.sin(np.arctan2(spot.y, spot.x) + rng.uniform(0, 6)))
    return np.asarray(1 - rng.uniform(0.4, 0.9) / (1 + np.exp((spot.d - edge) * 22)), dtype=np.float32)


def _chains(rng: Rng, how: Smear, starts: list[tuple[float, float]], wanted: int) -> list[tuple[float, float]]:
    """Rouleaux: cells stuck to each other in bent rows that grow from ``starts``, up to ``wanted`` cells."""
    places = list(starts)
    for y, x in starts:
        heading = rng.uniform(0, 2 * np.pi)
        for _ in range(int(rng.poisson(how.chain - 1))):
            heading += rng.normal(0, 0.5)
            step = how.radius * rng.uniform(0.65, 1.3)
            y, x = y + step * np.sin(heading), x + step * np.cos(heading)  # noqa: PLW2901
            if all((y - v) ** 2 + (x - u) ** 2 > (0.6 * how.radius) ** 2 for v, u in places):
                places.append((float(y), float(x)))
    return places[: round(1.3 * wanted)]


def _paint_reds(rng: Rng, how: Smear, taken: list[tuple[float, float, float]]) -> tuple[Float, Labels]:
    """Optical density of haemoglobin (h, w) and the label image of red cells that keep off white cells."""
    density, mask = np.zeros(how.shape, np.float32), np.zeros(how.shape, np.int32)
    wanted = max(2, round(how.covered * rng.uniform(0.8, 1.25) * density.size / (np.pi * how.radius**2)))
    starts = max(2, round(wanted / how.chain))
    places = scatter(
        rng, how.shape, starts, how.merge * how.radius, margin=how.radius, clusters=int(rng.integers(0, 7)), tight=0.25
    )
    if how.chain > 1:
        places = _chains(rng, how, places, wanted)
    number = 0
    for y, x in places:
        if any(np.hypot(y - ty, x - tx) < reach + how.keep_off * how.radius for ty, tx, reach in taken):
            continue
        radius = how.radius * float(np.exp(rng.normal(0, how.variety / 2)))
        aspect = 1 + abs(rng.normal(0, how.variety))
        spot = patch(how.shape, (y, x), outline(rng, radius, aspect, how.variety / 9 + how.ragged * rng.random()))
        if spot is None:
            continue
        pallor = float(np.clip(how.pallor + rng.normal(0, 0.35), 0, 1.25))
        layer = thickness(spot.d * (1 + 0.06 * rng.standard_normal()), pallor) * spot.coverage(1.5)
        layer = np.asarray(layer * np.exp(how.filling * np.clip(rng.normal(), -2, 1.2)), np.float32)
        if chance(rng, how.punched * min(pallor, 1)):
            layer = layer * _hole(rng, spot)
        under = density[spot.window]
        # overlapping cells flatten against each other, so densities add only in part
        density[spot.window] = np.maximum(under, layer) + how.stack * np.minimum(under, layer)
        if within(how.shape, (y, x)):
            number += 1
            mask[spot.window][spot.inside] = number
    return density, mask


def _platelet(rng: Rng, layers: dict[str, Float], spot: Patch, texture: Float) -> None:
    body = np.clip(1.2 - spot.d, 0, 1) * spot.coverage(2.5) * np.clip(0.75 + 0.4 * texture[spot.window], 0.1, 2)
    layers["blue"][spot.window] += np.asarray(rng.uniform(0.2, 0.5) * body, np.float32)
    layers["pink"][spot.window] += np.asarray(0.25 * body, np.float32)


def _paint_platelets(rng: Rng, how: Smear, layers: dict[str, Float], n: int, free: Float) -> Labels:
    """Add up to ``n`` platelets where ``free`` (h, w) is near 0; their label image."""
    mask = np.zeros(how.shape, np.int32)
    texture = fractal_noise(rng, how.shape, max(2.0, how.radius / 6), 2)
    number = 0
    for place in scatter(rng, how.shape, 4 * n, how.radius):
        if number == n:
            break
        if free[int(place[0]), int(place[1])] > 0.05:
            continue
        contour = outline(rng, how.radius * rng.uniform(0.2, 0.36), rng.uniform(1, 1.5), 0.12)
        spot = patch(how.shape, place, contour, 1.5)
        if spot is None:
            continue
        number += 1
        _platelet(rng, layers, spot, texture)
        mask[spot.window][spot.inside] = number
    return mask


def _debris(rng: Rng, how: Smear, layers: dict[str, Float]) -> Float:
    """Stain precipitate into ``layers``, and a multiplicative field (h, w) of glints and dust."""
    glints = np.ones(how.shape, np.float32)
    for _ in range(int(rng.poisson(how.glints))):
        place = (rng.uniform(0, how.shape[0]), rng.uniform(0, how.shape[1]))
        spot = patch(how.shape, place, outline(rng, log_uniform(rng, 1.2, 7), rng.uniform(1, 1.8), 0.1), 2)
        if spot is None:
            continue
        if chance(rng, 0.5):
            glints[spot.window] += np.asarray(0.35 * np.exp(-(spot.d**2)) - 0.25 * np.exp(-((spot.d - 1.6) ** 2) * 6))
        else:
            layers["dust"][spot.window] += np.asarray(rng.uniform(0.1, 0.4) * np.exp(-(spot.d**2)), np.float32)
    return glints


def _whites(
    rng: Rng, how: Smear, layers: dict[str, Float]
) -> tuple[list[tuple[float, float, float]], list[str], Labels]:
    """Paint 0-4 white cells; their (row, column, reach), their types and their label image."""
    mask = np.zeros(how.shape, np.int32)
    share = layers["blue"].size / (np.pi * how.radius**2) / 110
    n = int(np.clip(1 + rng.poisson(0.6 * share), 0, 4)) if chance(rng, 0.9) else 0
    margin = 1.4 * how.radius
    inner = (max(1, int(how.shape[0] - 2 * margin)), max(1, int(how.shape[1] - 2 * margin)))
    texture = fractal_noise(rng, how.shape, max(2.5, how.radius / 4), 4)
    taken, types = [], []
    for number, (y, x) in enumerate(scatter(rng, inner, n, 4.2 * how.radius), 1):
        place = (y + margin, x + margin)
        kind = str(rng.choice(list(TYPES), p=(0.5, 0.24, 0.13, 0.13)))
        radius = how.radius * rng.uniform(0.95, 1.3) * (1.0 if kind == "lymphocyte" else 1.4)
        covered = paint_leukocyte(rng, how.shape, place, radius, kind, layers, texture)
        mask[covered] = number
        taken.append((place[0], place[1], radius))
        types.append(kind)
    return taken, types, mask


def draw_smear(slide: Rng, rng: Rng) -> Picture:
    """A field of a stained blood smear."""
    how = smear(slide)
    layers = {name: np.zeros(how.shape, np.float32) for name in ("blue", "pink", "granule", "dust")}
    taken, types, white = _whites(rng, how, layers)
    reds, red = _paint_reds(rng, how, taken)
    wanted = int(rng.poisson(log_uniform(rng, 0.5, 6)))
    plates = _paint_platelets(rng, how, layers, wanted, reds + layers["pink"] + layers["blue"])
    glints = _debris(rng, how, layers)
    uneven = 1 + 0.06 * smooth_noise(rng, how.shape, how.radius * 2)
    lilac = how.lilac * reds * np.clip(smooth_noise(rng, how.shape, 2 * how.radius) + 0.5, 0, 2.5)
    # a refractile rim: light bent out of the steep edge of each cell
    rim = how.rim * (blur(reds, 1.2) - blur(reds, max(2.5, how.radius / 9)))
    stack = [
        (np.asarray(how.haemoglobin * np.clip(reds * uneven + rim, 0, None), np.float32), how.red),
        (layers["blue"], how.blue),
        (np.asarray(layers["pink"] + lilac, np.float32), how.pink),
        (layers["granule"], how.granule),
        (layers["dust"], np.asarray([0.7, 0.55, 0.4], np.float32)),
    ]
    lamp = how.lamp * (illumination(rng, how.shape, how.fall) * glints)[..., None]
    light = sharpen(bayer(defocus(veil(transmit(stack, lamp), how.glare), how.blur)), how.sharp)
    pixels = how.camera.expose(rng, light)
    return _describe(rng, how, pixels, types, {"white_cells": white, "red_cells": red, "platelets": plates}, taken)


def _pallor_word(pallor: float) -> str:
    if pallor > 0.6:
        return "with marked central pallor"
    return "with slight central pallor" if pallor > 0.3 else "mostly without central pallor"


def _caption(rng: Rng, how: Smear, cells: list[str], rest: str, looks: str) -> str:
    """``cells`` are phrases on the white cells, ``rest`` counts the others, ``looks`` describes the red cells."""
    whites, are = count(len(cells), "white blood cell"), verb(len(cells), "is", "are")
    first = pick(
        rng,
        (
            f"light micrograph of a {how.stain}-stained peripheral blood smear showing {whites}, {rest}",
            f"peripheral blood smear, {how.stain} stain, bright field: {whites}, {rest}",
            f"bright-field view of a {how.stain}-stained blood smear; there {are} {whites} with {rest}",
        ),
    )
    third = f"the white {verb(len(cells), 'cell is', 'cells are')} {listing(cells)}" if cells else ""
    return paragraph(first, looks, third)


def _describe(
    rng: Rng,
    how: Smear,
    pixels: NDArray[np.uint8],
    types: list[str],
    masks: dict[str, Labels],
    taken: list[tuple[float, float, float]],
) -> Picture:
    reds, plates = distinct(masks["red_cells"]), distinct(masks["platelets"])
    crowd, pale = density_word(float(np.mean(masks["red_cells"] > 0))), _pallor_word(how.pallor)
    cells = [f"{TYPES[kind]} {place_word(spot[:2], how.shape)}" for kind, spot in zip(types, taken, strict=True)]
    rest = f"{count(reds, 'red blood cell')} and {count(plates, 'platelet')}"
    rows = ", many of them stuck together in rows" if how.chain > 1 else ""
    caption = _caption(rng, how, cells, rest, f"the red cells are {crowd}, {pale}{rows}")
    labels: dict[str, Scalar] = {
        "kind": "blood_smear",
        "stain": how.stain,
        "specimen": "peripheral blood",
        "white_cells": len(types),
        "red_cells": reds,
        "platelets": plates,
        "density": crowd,
        "size": size_word(2 * how.radius, how.shape),
        "morphology": ", ".join(sorted(set(types))) or "red cells only",
        "pallor": pale,
        "rouleaux": how.chain > 1,
    }
    return Picture(pixels, caption, MODALITY, labels, masks, how.camera.jpeg_quality)
