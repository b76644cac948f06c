"""Point-like signals: gamma-H2AX foci in large nuclei, and single molecules on a cover slip."""

from __future__ import annotations

import numpy as np

from ragvlm.simulate.fluorescence import MODALITY, develop, setup
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import blur, fractal_noise, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Scalar, Shape, chance, log_uniform
from ragvlm.simulate.shapes import Patch, outline, patch, scatter, within
from ragvlm.simulate.words import count, paragraph, pick, size_word


def _paint_foci(rng: Rng, light: Float, spot: Patch, n: int, sigma: float, level: float) -> None:
    """Add ``n`` Gaussian foci inside one nucleus, in place."""
    for _ in range(n):
        angle, far = rng.uniform(0, 2 * np.pi), 0.85 * spot.scale * rng.uniform() ** 0.5
        width = sigma * rng.uniform(0.7, 1.5)
        away2 = (spot.y - far * np.sin(angle)) ** 2 + (spot.x - far * np.cos(angle)) ** 2
        light[spot.window] += np.asarray(
            level * rng.uniform(0.4, 1.6) * np.exp(-away2 / (2 * width**2)) * (spot.d < 1), np.float32
        )


def _nuclear_haze(spot: Patch, grain: Float) -> Float:
    return np.asarray(np.clip(np.clip(1 - spot.d**2, 0, 1) ** 0.4 * (1 + 0.25 * grain), 0, None), np.float32)


def draw_foci(slide: Rng, rng: Rng) -> Picture:
    """Large nuclei with bright foci of a marker of double-strand breaks over a dim nuclear haze."""
    how = setup(slide, "green", 0.25)
    radius = log_uniform(slide, 22, 60) * min(how.shape) / 512
    per_nucleus, haze = log_uniform(slide, 5, 45), slide.uniform(0.05, 0.28)
    aspect, sigma = slide.uniform(1.1, 1.5), slide.uniform(0.035, 0.07) * radius
    stain = pick(slide, ("gamma-H2AX", "53BP1", "RAD51"))
    light, mask = np.zeros(how.shape, np.float32), np.zeros(how.shape, np.int32)
    texture = fractal_noise(rng, how.shape, radius / 3)
    wanted = int(np.clip(rng.uniform(0.08, 0.3) * light.size / (np.pi * radius**2), 3, 40))
    places = scatter(rng, how.shape, wanted, 2.15 * radius, margin=radius / 2, clusters=int(rng.integers(0, 3)))
    total = 0
    for number, place in enumerate(places, 1):
        contour = outline(rng, radius * rng.uniform(0.85, 1.15), aspect * rng.uniform(0.9, 1.2), 0.05)
        spot = patch(how.shape, place, contour)
        if spot is None:
            continue
        level = haze * rng.uniform(0.6, 1.4)
        light[spot.window] += np.asarray(level * _nuclear_haze(spot, texture[spot.window]), np.float32)
        foci = int(rng.poisson(per_nucleus * rng.uniform(0.3, 1.6)))
        _paint_foci(rng, light, spot, foci, sigma, 1.0)
        if within(how.shape, place):
            mask[spot.window][spot.inside] = number
            total += foci
    light += 0.02 * blur(light, radius)
    n = distinct(mask)
    mean, size = total / max(n, 1), size_word(2 * radius, how.shape)
    caption = _foci_caption(rng, n, total, stain, size, how.remark())
    labels: dict[str, Scalar] = {
        "kind": "nuclear_foci",
        "stain": stain,
        "specimen": "cultured cells",
        "nuclei": n,
        "foci": total,
        "foci_per_nucleus": round(mean, 1),
        "burden": _burden(mean),
        "size": size,
        "morphology": "punctate nuclear foci",
    }
    return Picture(develop(rng, light, how), caption, MODALITY, labels, {"nuclei": mask}, how.camera.jpeg_quality)


def _burden(mean: float) -> str:
    return "few" if mean < 6 else "a moderate number of" if mean < 18 else "many"


def _foci_caption(rng: Rng, n: int, total: int, stain: str, size: str, remark: str) -> str:
    nuclei = count(n, f"{size} nucleus", f"{size} nuclei")
    first = pick(
        rng,
        (
            f"fluorescence micrograph of {nuclei} labelled for {stain}, with bright foci inside",
            f"{stain} immunofluorescence: {nuclei} with punctate bright foci over a dim nuclear haze",
        ),
    )
    mean = total / max(n, 1)
    second = pick(
        rng,
        (
            f"{_burden(mean)} foci: {total} in all, about {mean:.1f} per nucleus",
            f"each nucleus holds {_burden(mean)} foci, {mean:.1f} on average ({total} in all)",
        ),
    )
    return paragraph(first, second, remark)


def _impulses(rng: Rng, shape: Shape, places: list[tuple[float, float]], spread: float) -> tuple[Float, Labels]:
    """Point sources of log-normal brightness, sub-pixel by bilinear weights, and their label image."""
    light, mask = np.zeros((shape[0] + 1, shape[1] + 1), np.float32), np.zeros(shape, np.int32)
    points = np.asarray(places, np.float32)
    level = np.exp(rng.normal(0, spread, len(points))).astype(np.float32)
    whole = points.astype(np.int64)
    fy, fx = (points - whole).T
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            np.add.at(light, (whole[:, 0] + dy, whole[:, 1] + dx), level * wy * wx)
    mask[whole[:, 0], whole[:, 1]] = np.arange(1, len(points) + 1)
    return light[: shape[0], : shape[1]], mask


def draw_molecules(slide: Rng, rng: Rng) -> Picture:
    """Single molecules: hundreds to thousands of diffraction-limited spots, no cells."""
    how = setup(slide, "red", 0.1)
    stain = pick(slide, ("Cy3", "Cy5", "Alexa Fluor 488", "ATTO 647N"))
    sigma, spread = slide.uniform(0.7, 1.9), slide.uniform(0.2, 0.8)
    wanted, haze = log_uniform(slide, 150, 3000), slide.uniform(0.02, 0.5)
    places = scatter(rng, how.shape, round(wanted * rng.uniform(0.8, 1.25)), 2.0)
    light, mask = _impulses(rng, how.shape, places, spread)
    light = blur(light, sigma) * (2 * np.pi * sigma**2)
    unfocused = fractal_noise(rng, how.shape, 8, 2) * 0.1 + smooth_noise(rng, how.shape, 60) * 0.15
    light = light + np.asarray(haze * np.clip(1 + unfocused, 0, None), np.float32)
    if chance(rng, 0.4):
        ring = patch(how.shape, (rng.uniform(0, how.shape[0]), rng.uniform(0, how.shape[1])), outline(rng, 25, 1.2))
        if ring is not None:
            light[ring.window] += np.asarray(0.3 * haze * np.clip(1 - ring.d, 0, 1), np.float32)
    n = distinct(mask)
    crowd = "sparse" if n / light.size < 0.001 else "moderately dense" if n / light.size < 0.004 else "dense"
    caption = _molecules_caption(rng, n, crowd, stain, how.remark())
    labels: dict[str, Scalar] = {
        "kind": "single_molecules",
        "stain": stain,
        "specimen": "molecules on a cover slip",
        "spots": n,
        "density": crowd,
        "size": "small",
        "morphology": "diffraction-limited spots",
    }
    pixels = develop(rng, light, how, float(np.percentile(light, 99.8)))
    return Picture(pixels, caption, MODALITY, labels, {"spots": mask}, how.camera.jpeg_quality)


def _molecules_caption(rng: Rng, n: int, crowd: str, stain: str, remark: str) -> str:
    first = pick(
        rng,
        (
            f"single-molecule fluorescence image with {n} small bright spots, {stain} channel",
            f"{n} single molecules labelled with {stain} appear as diffraction-limited bright spots (fluorescence)",
        ),
    )
    second = pick(
        rng,
        (
            f"the spots are {crowd} and scattered over a dark field without cells",
            f"their density is {crowd}; no cells are present",
        ),
    )
    return paragraph(first, second, remark)
