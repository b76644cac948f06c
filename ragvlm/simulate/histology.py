"""Stained sections: haematoxylin and eosin, and immunohistochemistry with DAB, by the Beer-Lambert law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.camera import Camera, bayer, colour_camera, sharpen, white_balance
from ragvlm.simulate.nuclei import distinct
from ragvlm.simulate.optics import defocus, fractal_noise, illumination, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Picture, Rng, Shape, chance, field_shape
from ragvlm.simulate.shapes import patch, within
from ragvlm.simulate.stains import stain_mixture, stain_vector, transmit
from ragvlm.simulate.tissue import Histology, Section, histology, section
from ragvlm.simulate.words import count, density_word, pick, sentence, size_word

MODALITY = "bright-field microscopy"
_PATTERNS = {
    "membranous": "brown DAB staining outlines the membranes of the epithelial cells",
    "cytoplasmic": "brown DAB staining fills the cytoplasm of the epithelial cells",
    "nuclear": "brown DAB staining marks part of the epithelial nuclei",
    "negative": "there is no brown DAB staining",
}
_MARKERS = {
    "membranous": ("E-cadherin", "HER2", "EpCAM"),
    "cytoplasmic": ("cytokeratin 20", "pan-cytokeratin"),
    "nuclear": ("Ki-67", "oestrogen receptor", "p53"),
    "negative": ("negative control", "CD20"),
}
_OFTEN = {"ihc_membrane": (0.85, 0.15, 0.0, 0.0), "ihc_nuclear": (0.0, 0.0, 0.85, 0.15)}


@dataclass(frozen=True)
class Bench:
    """A slide's laboratory: field, camera, lamp, blur, thickness of the cut and strength of the dyes."""

    shape: Shape
    camera: Camera
    lamp: Float
    blur: float
    sharp: float
    fall: float
    strength: float
    counter: float


def bench(slide: Rng) -> Bench:
    """Draw a laboratory, from pale to deep stains."""
    lamp = slide.uniform(0.85, 1.02) * white_balance(slide, 0.014)
    return Bench(
        shape=field_shape(slide),
        camera=colour_camera(slide),
        lamp=np.asarray(lamp, np.float32),
        blur=slide.uniform(0.5, 1.6),
        sharp=slide.uniform(0, 0.7),
        fall=slide.uniform(0, 0.15),
        strength=slide.uniform(0.75, 1.3),
        counter=slide.uniform(0.8, 1.3),
    )


def _paint_nuclei(
    rng: Rng, shape: Shape, cut: Section, grain: float, edge: float, share: float = 0.5
) -> tuple[Float, Float, Labels, Labels]:
    """Chromatin density (h, w), that of nuclei positive for a marker, and labels of epithelial and stromal nuclei."""
    chromatin, positive = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    gland, stroma = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    texture = fractal_noise(rng, shape, grain, 3)
    patches = smooth_noise(rng, shape, 90)
    for number, nucleus in enumerate(cut.nuclei, 1):
        spot = patch(shape, nucleus.centre, nucleus.contour)
        if spot is None:
            continue
        rim = edge * np.exp(-(((spot.d - 0.85) / 0.18) ** 2))
        body = spot.coverage(1.3) * np.clip(0.7 + rim + 0.22 * texture[spot.window], 0.1, 1.6) * rng.uniform(0.6, 1.2)
        body = np.asarray(body if nucleus.gland else 1.1 * body, np.float32)
        chromatin[spot.window] = np.maximum(chromatin[spot.window], body)
        if not within(shape, nucleus.centre):
            continue
        mask = gland if nucleus.gland else stroma
        mask[spot.window][spot.inside] = number
        if (
            nucleus.gland
            and patches[int(nucleus.centre[0]), int(nucleus.centre[1])] + rng.normal(0, 0.8) > 2.5 - 5 * share
        ):
            positive[spot.window] = np.maximum(positive[spot.window], body)
    return chromatin, positive, gland, stroma


def _expose(rng: Rng, how: Bench, layers: list[tuple[Float, Float]]) -> NDArray[np.uint8]:
    lamp = how.lamp * illumination(rng, how.shape, how.fall)[..., None]
    light = sharpen(bayer(defocus(transmit(layers, lamp), how.blur)), how.sharp)
    return how.camera.expose(rng, light)


def _zones(cut: Section, tissue: Histology) -> tuple[Float, Float]:
    """Share 0-1 of epithelium and of stroma in each pixel; the lumen and cracks are neither."""
    inner = np.clip(cut.apical * 14, 0, 1) if tissue.hollow else np.ones_like(cut.depth)
    epithelium = inner * np.clip((1.03 - cut.depth) * 20, 0, 1)
    stroma = np.clip((cut.depth - 0.99) * 20, 0, 1) * (1 - cut.hole)
    return np.asarray(epithelium, np.float32), np.asarray(stroma, np.float32)


def _rest(kind: str, cut: Section, tissue: Histology, how: Bench, masks: dict[str, Labels]) -> dict[str, str | int]:
    covered = float(np.mean((masks["epithelial_nuclei"] > 0) | (masks["stromal_nuclei"] > 0)))
    return {
        "kind": kind,
        "specimen": "glandular tissue",
        "glands": distinct(masks["glands"]),
        "epithelial_nuclei": distinct(masks["epithelial_nuclei"]),
        "stromal_nuclei": distinct(masks["stromal_nuclei"]),
        "density": density_word(2 * covered),
        "size": size_word(2 * tissue.gland, how.shape),
        "morphology": "glands with open lumina" if tissue.hollow else "solid nests",
        "stroma": "inflamed" if tissue.inflamed else "fibrous",
    }


def _architecture(rng: Rng, labels: dict[str, str | int]) -> str:
    glands = (
        count(int(labels["glands"]), "gland")
        if "lumina" in str(labels["morphology"])
        else count(int(labels["glands"]), "solid nest")
    )
    lumina = " with open lumina" if "lumina" in str(labels["morphology"]) else ""
    stroma = (
        "an inflamed stroma with many round lymphocytes"
        if labels["stroma"] == "inflamed"
        else "a fibrous stroma with spindle-shaped nuclei"
    )
    return pick(rng, (f"{glands}{lumina} in {stroma}", f"{glands}{lumina}, surrounded by {stroma}"))


def _numbers(rng: Rng, labels: dict[str, str | int]) -> str:
    inside, outside = int(labels["epithelial_nuclei"]), int(labels["stromal_nuclei"])
    lining = count(inside, "epithelial nucleus", "epithelial nuclei")
    other = count(outside, "stromal nucleus", "stromal nuclei")
    return pick(
        rng, (f"{lining} and {other} lie in the field", f"the field holds {lining} and {outside} in the stroma")
    )


def draw_he(slide: Rng, rng: Rng) -> Picture:
    """A section stained with haematoxylin and eosin."""
    how, tissue = bench(slide), histology(slide)
    blue, pink = stain_vector(slide, "haematoxylin", 0.07), stain_vector(slide, "eosin", 0.09)
    basophilia, mucin = slide.uniform(0.08, 0.3), chance(slide, 0.3)
    cut = section(rng, how.shape, tissue)
    epithelium, stroma = _zones(cut, tissue)
    chromatin, _, inner, outer = _paint_nuclei(rng, how.shape, cut, max(1.5, tissue.nucleus / 2.5), 0.35)
    cloud = fractal_noise(rng, how.shape, 12)
    plasma = epithelium * cut.tone * np.clip(1 + 0.25 * cloud + 0.35 * cut.membrane, 0.2, 2)
    if mucin:
        plasma = plasma * np.clip(0.35 + 0.9 * np.abs(cut.depth - 0.5), 0, 1)
    matrix = stroma * np.clip(0.55 + 0.35 * cut.fibres, 0.03, 1.7)
    free = 1 - 0.7 * np.clip(chromatin, 0, 1)
    haematoxylin = 0.75 * chromatin + basophilia * plasma + 0.04 * stroma
    eosin = (0.26 * plasma + 0.42 * matrix) * free
    layers = [
        (np.asarray(how.strength * haematoxylin, np.float32), blue),
        (np.asarray(how.strength * how.counter * eosin, np.float32), pink),
    ]
    masks = {"glands": cut.glands, "epithelial_nuclei": inner, "stromal_nuclei": outer}
    labels = _rest("he_tissue", cut, tissue, how, masks)
    labels["stain"] = "haematoxylin and eosin"
    first = pick(
        rng,
        (
            f"bright-field micrograph, haematoxylin and eosin: a tissue section with {_architecture(rng, labels)}",
            f"H&E-stained section showing {_architecture(rng, labels)}",
        ),
    )
    depth = "pale" if how.strength < 0.88 else "deep" if how.strength > 1.17 else "even"
    caption = " ".join(sentence(t) for t in (first, _numbers(rng, labels), f"the stain is {depth}"))
    return Picture(_expose(rng, how, layers), caption, MODALITY, labels, masks, how.camera.jpeg_quality)


def draw_ihc_membrane(slide: Rng, rng: Rng) -> Picture:
    """DAB immunohistochemistry of a membrane or cytoplasm marker, with a haematoxylin counterstain."""
    return _draw_ihc(slide, rng, "ihc_membrane")


def draw_ihc_nuclear(slide: Rng, rng: Rng) -> Picture:
    """DAB immunohistochemistry of a nuclear marker, or a negative one, with a haematoxylin counterstain."""
    return _draw_ihc(slide, rng, "ihc_nuclear")


@dataclass(frozen=True)
class Immuno:
    """A slide's immunostaining: what is marked, and the strengths of what is brown and what is blue."""

    blue: Float
    brown: Float
    pattern: str
    marker: str
    amount: float
    edge: float
    share: float
    unspecific: float
    grain: float
    rim: float
    ground: float
    counterstain: float
    haze: float
    contrast: float


def _immuno(slide: Rng, kind: str) -> Immuno:
    blue, brown = stain_vector(slide, "blue haematoxylin", 0.035), stain_mixture(slide, "dab", "yellow dab", 0.03)
    pattern = str(slide.choice(list(_PATTERNS), p=_OFTEN[kind]))
    return Immuno(
        blue=blue,
        brown=brown,
        pattern=pattern,
        marker=pick(slide, _MARKERS[pattern]),
        amount=slide.uniform(0.5, 1.05),
        edge=slide.uniform(0.0, 0.3),
        share=slide.uniform(0.25, 0.75),
        unspecific=max(0.0, slide.uniform(-0.04, 0.05)) if pattern != "negative" else 0.0,
        grain=slide.uniform(0, 0.25),
        rim=slide.uniform(0, 0.6),
        ground=slide.uniform(0.2, 0.65),
        counterstain=slide.uniform(0.18, 0.42),
        haze=slide.uniform(0.02, 0.1),
        contrast=slide.uniform(0.3, 0.8),
    )


def _dyes(
    rng: Rng, dye: Immuno, cut: Section, zones: tuple[Float, Float], chromatin: Float, positive: Float
) -> tuple[Float, Float]:
    """Optical densities (h, w) of haematoxylin and of DAB."""
    (epithelium, stroma), shape = zones, chromatin.shape
    grain = 0.3 * fractal_noise(rng, shape, 14) + dye.grain * smooth_noise(rng, shape, 2)
    cloud = np.clip(1 + grain, 0.1, 2) * np.clip(1 + 0.3 * smooth_noise(rng, shape, 90), 0.2, 2)
    rim = dye.rim * np.exp(-(((cut.depth - 0.97) / 0.03) ** 2)) * (cut.depth < 1.1)
    free = 1 - 0.75 * np.clip(chromatin, 0, 1)
    marked = {
        "membranous": epithelium * cut.tone * (0.7 * cut.membrane + dye.ground * free) + rim,
        "cytoplasmic": epithelium * cut.tone * free * 0.65,
        "nuclear": 0.9 * positive + 0.02 * epithelium,
        "negative": 0.015 * epithelium,
    }[dye.pattern]
    brown = dye.amount * (marked + dye.unspecific * (stroma + epithelium)) * cloud
    masked = 0.85 * np.clip(positive, 0, 1) if dye.pattern == "nuclear" else 0
    haze = dye.haze * stroma * np.clip(1 + dye.contrast * cut.fibres, 0, 3) + 0.05 * epithelium
    blue = dye.counterstain * chromatin * (1 - masked) + haze
    return np.asarray(blue, np.float32), np.asarray(brown, np.float32)


def _draw_ihc(slide: Rng, rng: Rng, kind: str) -> Picture:
    how, tissue, dye = bench(slide), histology(slide), _immuno(slide, kind)
    cut = section(rng, how.shape, tissue)
    grain = max(1.5, tissue.nucleus / 2.5)
    chromatin, positive, inner, outer = _paint_nuclei(rng, how.shape, cut, grain, dye.edge, dye.share)
    blue, brown = _dyes(rng, dye, cut, _zones(cut, tissue), chromatin, positive)
    layers = [(np.float32(how.counter) * blue, dye.blue), (np.float32(how.strength) * brown, dye.brown)]
    masks = {"glands": cut.glands, "epithelial_nuclei": inner, "stromal_nuclei": outer}
    labels = _rest(kind, cut, tissue, how, masks)
    labels |= {"stain": "haematoxylin and DAB", "marker": dye.marker, "pattern": dye.pattern}
    name = dye.marker if dye.marker == "negative control" else f"{dye.marker} immunohistochemistry"
    first = pick(
        rng,
        (
            f"{name} with DAB and a blue haematoxylin counterstain, bright field: {_architecture(rng, labels)}",
            f"bright-field micrograph of tissue, {name} (DAB, haematoxylin), with {_architecture(rng, labels)}",
        ),
    )
    caption = " ".join(sentence(t) for t in (first, _PATTERNS[dye.pattern], _numbers(rng, labels)))
    return Picture(_expose(rng, how, layers), caption, MODALITY, labels, masks, how.camera.jpeg_quality)
