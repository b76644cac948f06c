"""Yeast- or bacteria-like colonies on an agar plate, photographed from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragvlm.simulate.camera import bayer, colour_camera, white_balance
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, fractal_noise, illumination, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, Shape, chance, field_shape, log_uniform
from ragvlm.simulate.shapes import outline, patch, scatter
from ragvlm.simulate.words import count, pick, sentence

MODALITY = "macroscopic photography"


@dataclass(frozen=True)
class Plate:
    """A plate and its bench: colours are linear RGB (3,), sizes in pixels."""

    shape: Shape
    agar: Float
    bench: Float
    colony: Float
    second: Float
    share: float
    radius: float
    number: float
    rim: float
    size: float


def plate(slide: Rng) -> Plate:
    """Draw a plate: agar from bluish to amber on a dark or pale bench; white, cream or pink colonies."""
    agars = np.asarray([(0.42, 0.5, 0.6), (0.55, 0.52, 0.4), (0.5, 0.4, 0.27), (0.6, 0.6, 0.56), (0.48, 0.52, 0.56)])
    pales = np.asarray([(0.85, 0.86, 0.84), (0.85, 0.8, 0.66), (0.88, 0.84, 0.74)])
    shape = field_shape(slide)
    return Plate(
        shape=shape,
        agar=np.asarray(slide.uniform(0.6, 1.0) * agars[slide.integers(5)] * white_balance(slide, 0.08), np.float32),
        bench=np.asarray(slide.choice([0.04, 0.08, 0.15, 0.6]) * white_balance(slide, 0.05), np.float32),
        colony=np.asarray(pales[slide.integers(3)], np.float32),
        second=np.asarray([0.75, 0.3, 0.32], np.float32),
        share=slide.uniform(0.02, 0.3) if chance(slide, 0.6) else 0.0,
        radius=log_uniform(slide, 1.6, 7),
        number=log_uniform(slide, 30, 1000),
        rim=slide.uniform(0.02, 0.06),
        size=slide.uniform(0.46, 0.53),
    )


def _colonies(rng: Rng, how: Plate, light: Float, reach: float, centre: tuple[float, float]) -> tuple[Labels, Labels]:
    """Paint colonies inside the plate in place; label images of pale and of pink colonies."""
    pale, pink = np.zeros(how.shape, np.int32), np.zeros(how.shape, np.int32)
    wanted = max(3, round(how.number * rng.uniform(0.6, 1.4)))
    number = 0
    for y, x in scatter(rng, how.shape, 2 * wanted, 2.4 * how.radius + 2):
        if np.hypot(y - centre[0], x - centre[1]) > 0.93 * reach - 2 * how.radius or number == wanted:
            continue
        other = chance(rng, how.share)
        radius = how.radius * rng.uniform(0.7, 1.1)
        spot = patch(how.shape, (y, x), outline(rng, radius, 1 + abs(rng.normal(0, 0.06)), 0.02), 1.8)
        if spot is None:
            continue
        number += 1
        colour = how.second if other else how.colony
        cover = spot.coverage(1.2)[..., None] * 0.92
        shade = (0.85 + 0.2 * (1 - spot.d**2) - 0.1 * spot.x / radius)[..., None]
        cast = 1 - 0.25 * np.exp(-(((spot.d - 1.15) / 0.25) ** 2))[..., None]
        light[spot.window] = light[spot.window] * cast * (1 - cover) + cover * colour * shade
        if radius > 3:
            glint = np.exp(-((spot.y + 0.35 * radius) ** 2 + (spot.x + 0.35 * radius) ** 2) / (0.15 * radius) ** 2 / 2)
            light[spot.window] += np.asarray(0.35 * glint[..., None], np.float32)
        (pink if other else pale)[spot.window][spot.inside] = number
    return pale, pink


def _dish(rng: Rng, how: Plate) -> tuple[Float, float, tuple[float, float]]:
    """The empty plate (h, w, 3) on its bench, with a glassy rim; its radius and centre in pixels."""
    y, x = np.mgrid[0 : how.shape[0], 0 : how.shape[1]].astype(np.float32)
    centre = (how.shape[0] * rng.uniform(0.48, 0.52), how.shape[1] * rng.uniform(0.48, 0.52))
    reach = how.size * min(how.shape)
    r = np.hypot(y - centre[0], x - centre[1]) / reach
    turn = np.arctan2(y - centre[0], x - centre[1])
    inside = np.clip((1 - r) * reach / 2, 0, 1)[..., None]
    agar = how.agar * (1 + 0.05 * smooth_noise(rng, how.shape, 150) + 0.15 * (x / how.shape[1] - 0.5))[..., None]
    agar = agar * (1 + 0.015 * fractal_noise(rng, how.shape, 20))[..., None]
    cloth = how.bench * (1 + 0.15 * fractal_noise(rng, how.shape, 6))[..., None]
    light = inside * agar + (1 - inside) * cloth
    phase = rng.uniform(0, 2 * np.pi)
    for at, gain in ((0.995, 0.5), (1 - how.rim, 0.35), (1 - 1.6 * how.rim, -0.12)):
        ring = np.exp(-(((r - at) * reach / 1.6) ** 2)) * (0.35 + 0.65 * np.clip(np.cos(2 * (turn - phase)), 0, 1))
        light = light + gain * ring[..., None]
    return np.asarray(np.clip(light, 0, None), np.float32), reach * (1 - 1.6 * how.rim), centre


def draw_colonies(slide: Rng, rng: Rng) -> Picture:
    """A round agar plate with colonies."""
    how, camera = plate(slide), colour_camera(slide)
    light, reach, centre = _dish(rng, how)
    pale, pink = _colonies(rng, how, light, reach, centre)
    light = bayer(blur(light, slide.uniform(0.4, 1.0))) * illumination(rng, how.shape, slide.uniform(0, 0.3))[..., None]
    n, m = distinct(pale), distinct(pink)
    crowd = "sparse" if n + m < 60 else "moderately dense" if n + m < 200 else "dense"
    size = "small" if how.radius < 3 else "medium-sized" if how.radius < 5.5 else "large"
    total = count(n + m, "colony", "colonies")
    first = pick(
        rng,
        (
            f"photograph of a round agar plate with {total} of yeast-like growth",
            f"agar plate seen from above, with {total}",
        ),
    )
    second = (
        f"{count(n, 'is pale', 'are pale')} and {count(m, 'is pink', 'are pink')}" if m else "all colonies are pale"
    )
    third = f"the colonies are {size}, round and {crowd}"
    labels: dict[str, Scalar] = {
        "kind": "agar_colonies",
        "stain": "none",
        "specimen": "colonies on agar",
        "colonies": n + m,
        "pale": n,
        "pink": m,
        "density": crowd,
        "size": size,
        "morphology": "round",
    }
    caption = " ".join(sentence(t) for t in (first, second, third))
    masks = {"colonies": np.where(pink > 0, pink, pale), "pink": pink}
    pixels = camera.expose(rng, np.asarray(np.clip(light, 0, None), np.float32))
    return Picture(pixels, caption, MODALITY, labels, masks, camera.jpeg_quality)
