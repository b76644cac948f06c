"""The geometry of glandular tissue: glands with a lumen and columnar epithelium in a fibrous stroma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragvlm.simulate.cells import fibre_texture
from ragvlm.simulate.optics import fractal_noise, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Rng, Shape, chance, log_uniform
from ragvlm.simulate.shapes import Outline, lattice, outline, patch, scatter, tiling, within

Place = tuple[float, float]


@dataclass(frozen=True)
class Histology:
    """A block's tissue: sizes in pixels, lumen and crowding as fractions."""

    gland: float
    lumen: float
    nucleus: float
    wobble: float
    aspect: float
    packing: float
    stroma_cells: float
    strata: float
    cracks: float
    inflamed: bool
    crossed: float
    crowd: float

    @property
    def hollow(self) -> bool:
        """True for glands with a lumen, False for solid nests."""
        return self.lumen > 0.12


@dataclass(frozen=True)
class Nucleus:
    """One nucleus of the section: where, its contour, and whether it belongs to a gland."""

    centre: Place
    contour: Outline
    gland: bool


@dataclass(frozen=True)
class Section:
    """A cut through tissue, all arrays (h, w).

    ``depth`` is the relative distance inside a gland (0 centre, 1 rim, above 1 stroma); ``membrane`` 0-1 marks lateral
    cell borders; ``fibres`` has zero mean; ``hole`` 0-1 is empty glass; ``glands`` labels counted glands.
    """

    depth: Float
    membrane: Float
    fibres: Float
    hole: Float
    glands: Labels
    nuclei: tuple[Nucleus, ...]


def histology(slide: Rng) -> Histology:
    """Draw a block: colon-like round glands to crowded irregular ones, low to high magnification."""
    gland = log_uniform(slide, 55, 280)
    return Histology(
        gland=gland,
        lumen=slide.uniform(0.0, 0.5),
        nucleus=max(3.0, gland * slide.uniform(0.036, 0.09)),
        wobble=slide.uniform(0.03, 0.13),
        aspect=slide.uniform(1.0, 2.6),
        packing=slide.uniform(1.3, 2.4),
        stroma_cells=slide.uniform(0.3, 2.2),
        strata=slide.uniform(0.04, 0.22),
        cracks=slide.uniform(0, 1),
        inflamed=chance(slide, 0.3),
        crossed=slide.uniform(0, 1),
        crowd=slide.uniform(0.8, 1.7),
    )


def section(rng: Rng, shape: Shape, tissue: Histology) -> Section:
    """Cut a random section of a block."""
    depth, membrane = np.full(shape, 3, np.float32), np.zeros(shape, np.float32)
    glands = np.zeros(shape, np.int32)
    nuclei: list[Nucleus] = []
    places = scatter(rng, shape, 60, tissue.packing * tissue.gland, margin=tissue.gland)
    bend = smooth_noise(rng, shape, tissue.gland / 2)
    for number, place in enumerate(places, 1):
        radius = tissue.gland * rng.uniform(0.7, 1.1)
        contour = outline(rng, radius, 1 + (tissue.aspect - 1) * rng.random(), tissue.wobble)
        spot = patch(shape, place, contour, 1.3)
        if spot is None:
            continue
        closer = spot.d < depth[spot.window]
        cells = max(6, round(2 * np.pi * radius / (1.5 * tissue.nucleus)))
        sector = np.arctan2(spot.y, spot.x) * cells / (2 * np.pi) + 0.25 * bend[spot.window] + 0.3 * np.sin(5 * spot.d)
        width = np.hypot(spot.y, spot.x) * 2 * np.pi / cells
        away = np.abs(sector - np.round(sector)) * width
        membrane[spot.window] = np.where(
            closer, np.exp(-((away / (0.16 * tissue.nucleus + 0.6)) ** 2)), membrane[spot.window]
        )
        depth[spot.window] = np.where(closer, spot.d, depth[spot.window])
        if within(shape, place):
            glands[spot.window][spot.inside & closer] = number
        if tissue.hollow:
            nuclei += _lining(rng, tissue, place, contour, cells)
    if not tissue.hollow:
        nuclei = _nest(rng, shape, tissue, depth)
    membrane = _crossed(rng, shape, tissue, membrane)
    nuclei = [n for n in nuclei if _shows(shape, n.centre, depth, 0.0, 1.05)]
    nuclei += _stroma(rng, shape, tissue, depth)
    fibres = 0.7 * fibre_texture(rng, shape, 1.3) + 0.5 * fractal_noise(rng, shape, 40)
    hole = np.clip((fractal_noise(rng, shape, 0.7 * tissue.gland) - 2.3 + tissue.cracks) * 4, 0, 1) * (depth > 1.08)
    return Section(depth, membrane, fibres, np.asarray(hole, np.float32), glands, tuple(nuclei))


def _crossed(rng: Rng, shape: Shape, tissue: Histology, membrane: Float) -> Float:
    """Where the cut runs across the cells their borders form a honeycomb instead of radial lines."""
    seeds = lattice(rng, shape, 2.2 * tissue.nucleus)
    comb = tiling(rng, shape, seeds, 0.3 * tissue.nucleus, 2 * tissue.nucleus).border
    across = np.clip(2 * (smooth_noise(rng, shape, 0.8 * tissue.gland) - 1 + 2 * tissue.crossed) + 0.5, 0, 1)
    walls = np.exp(-((comb / (0.16 * tissue.nucleus + 0.6)) ** 2))
    return np.asarray(membrane * (1 - across) + walls * across, dtype=np.float32)


def _shows(shape: Shape, centre: Place, depth: Float, low: float, high: float) -> bool:
    """True for centres outside the field (drawn, not counted), or where the tissue is of the right depth."""
    if not within(shape, centre):
        return True
    return bool(low <= depth[int(centre[0]), int(centre[1])] <= high)


def _lining(rng: Rng, tissue: Histology, place: Place, contour: Outline, cells: int) -> list[Nucleus]:
    """Nuclei of the epithelium: one a cell, near the base, long axis towards the lumen."""
    found = []
    number, start = max(1, round(tissue.crowd * cells)), rng.uniform(0, 2 * np.pi)
    for k in range(number):
        theta = start + 2 * np.pi * (k + rng.normal(0, 0.12)) / number
        unit = np.asarray([[np.sin(theta)], [np.cos(theta)]], np.float32)
        edge = 1 / float(contour.distance(unit[0], unit[1])[0])
        far = edge * (0.78 + rng.normal(0, tissue.strata))
        centre = (place[0] + far * float(np.sin(theta)), place[1] + far * float(np.cos(theta)))
        shape = outline(rng, tissue.nucleus * rng.uniform(0.75, 1.15), rng.uniform(1.2, 2.3), 0.04, theta)
        found.append(Nucleus(centre, shape, True))
    return found


def _nest(rng: Rng, shape: Shape, tissue: Histology, depth: Float) -> list[Nucleus]:
    """Nuclei of solid nests: scattered evenly, in no particular direction."""
    found = []
    for centre in lattice(rng, shape, 2.9 * tissue.nucleus / tissue.crowd**0.5):
        if within(shape, centre) and depth[int(centre[0]), int(centre[1])] < 0.94:
            contour = outline(rng, tissue.nucleus * rng.uniform(0.75, 1.15), rng.uniform(1.0, 1.7), 0.05)
            found.append(Nucleus(centre, contour, True))
    return found


def _stroma(rng: Rng, shape: Shape, tissue: Histology, depth: Float) -> list[Nucleus]:
    """Spindle-shaped fibroblast nuclei, and round lymphocytes where the stroma is inflamed."""
    area = float(np.mean(depth > 1.08)) * depth.size
    wanted = round(tissue.stroma_cells * area / (38 * tissue.nucleus**2))
    wanted = round(wanted * (2.5 if tissue.inflamed else 1))
    flow = smooth_noise(rng, shape, tissue.gland)
    turn = rng.uniform(0, np.pi)
    found: list[Nucleus] = []
    for y, x in scatter(rng, shape, 2 * wanted, 1.7 * tissue.nucleus, margin=tissue.nucleus):
        inside = within(shape, (y, x))
        if len(found) == wanted or (inside and depth[int(y), int(x)] < 1.1):
            continue
        angle = turn + 0.7 * float(flow[min(max(int(y), 0), shape[0] - 1), min(max(int(x), 0), shape[1] - 1)])
        round_cell = chance(rng, 0.7 if tissue.inflamed else 0.08)
        radius = tissue.nucleus * rng.uniform(0.6, 0.85)
        contour = outline(rng, radius, rng.uniform(1, 1.2) if round_cell else rng.uniform(2, 4.5), 0.05, angle)
        found.append(Nucleus((y, x), contour, False))
    return found
