"""The geometry of glandular tissue: glands with a lumen and columnar epithelium in a fibrous stroma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragvlm.simulate.cells import fibre_texture
from ragvlm.simulate.optics import fractal_noise, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Rng, Shape, chance, log_uniform
from ragvlm.simulate.shapes import Outline, Patch, lattice, outline, patch, scatter, tiling, within
from ragvlm.simulate.tubes import Tube, tube

Place = tuple[float, float]


@dataclass(frozen=True)
class Histology:
    """A block's tissue: sizes in pixels, lumen and crowding as fractions."""

    gland: float
    lumen: float
    nucleus: float
    wobble: float
    lengthwise: float
    length: float
    seam: float
    wavy: float
    level: float
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
        return self.lumen > 0


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
    cell borders; ``tone`` has mean 1 and differs from cell to cell; ``apical`` is ``depth`` less that of the lumen;
    ``fibres`` has zero mean; ``hole`` 0-1 is empty glass; ``glands`` labels counted glands.
    """

    depth: Float
    apical: Float
    membrane: Float
    tone: Float
    fibres: Float
    hole: Float
    glands: Labels
    nuclei: tuple[Nucleus, ...]


def histology(slide: Rng) -> Histology:
    """Draw a block: glands cut across or along, loose to packed side by side, low to high magnification."""
    gland = log_uniform(slide, 75, 200)
    return Histology(
        gland=gland,
        lumen=0.0 if chance(slide, 0.1) else log_uniform(slide, 0.06, 0.33),
        nucleus=max(3.0, gland * slide.uniform(0.045, 0.095)),
        wobble=slide.uniform(0.03, 0.13),
        lengthwise=slide.uniform(0, 1),
        length=slide.uniform(0.5, 2.5),
        seam=slide.uniform(0.03, 0.15),
        wavy=slide.uniform(0.1, 0.5),
        level=slide.uniform(0.55, 0.78),
        packing=slide.uniform(1.2, 1.9),
        stroma_cells=slide.uniform(0.3, 2.2),
        strata=slide.uniform(0.06, 0.22),
        cracks=slide.uniform(0, 1),
        inflamed=chance(slide, 0.25),
        crossed=slide.uniform(-0.2, 0.55),
        crowd=slide.uniform(1.0, 2.2),
    )


def _tubes(rng: Rng, shape: Shape, tissue: Histology) -> list[tuple[Place, Tube]]:
    """Glands that keep their distance; those cut lengthwise lie side by side."""
    turn, found = rng.uniform(0, np.pi), list[tuple[Place, Tube]]()
    for place in scatter(rng, shape, 80, 0.9 * tissue.gland, margin=1.5 * tissue.gland):
        radius = tissue.gland * rng.uniform(0.7, 1.1)
        stretch = tissue.length * rng.uniform(0.5, 1.2) if chance(rng, tissue.lengthwise) else 0.5 * rng.random()
        new = tube(rng, radius, radius * stretch, tissue.wobble, turn + rng.normal(0, 0.25))
        if all(min(_apart(new, place, at), _apart(old, at, place)) > tissue.packing for at, old in found):
            found.append((place, new))
    return found


def _apart(contour: Tube, centre: Place, other: Place) -> float:
    y, x = (np.asarray([b - a], np.float32) for a, b in zip(centre, other, strict=True))
    return float(contour.distance(y, x)[0])


def _borders(rng: Rng, tissue: Histology, contour: Tube, spot: Patch, bend: Float) -> tuple[Float, Float]:
    """Lateral borders 0-1 of the cells of one gland, and each cell's own tone, over the patch's window."""
    cells = max(6, round(contour.perimeter / (1.5 * tissue.nucleus)))
    place, narrow = contour.rim(spot.y, spot.x)
    sector = place * (cells / contour.perimeter) + tissue.wavy * bend[spot.window] + 0.3 * np.sin(5 * spot.d)
    away = np.abs(sector - np.round(sector)) * narrow * contour.perimeter / cells
    strength, tone = rng.uniform(0.3, 1.15, cells), rng.normal(1, 0.16, cells)
    line = strength[np.round(sector).astype(int) % cells] * np.exp(-((away / (0.16 * tissue.nucleus + 0.6)) ** 2))
    return np.asarray(line, np.float32), np.asarray(tone[np.floor(sector).astype(int) % cells], np.float32)


def section(rng: Rng, shape: Shape, tissue: Histology) -> Section:
    """Cut a random section of a block."""
    depth, second = np.full(shape, 3, np.float32), np.full(shape, 3, np.float32)
    membrane, tone = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    glands = np.zeros(shape, np.int32)
    nuclei: list[Nucleus] = []
    bend = smooth_noise(rng, shape, tissue.gland / 2) + 0.5 * smooth_noise(rng, shape, 3 * tissue.nucleus)
    for number, (place, contour) in enumerate(_tubes(rng, shape, tissue), 1):
        spot = patch(shape, place, contour, 1.3)
        if spot is None:
            continue
        here = spot.window
        closer = spot.d < depth[here]
        for field, own in zip((membrane, tone), _borders(rng, tissue, contour, spot, bend), strict=True):
            field[here] = np.where(closer, own, field[here])
        second[here] = np.minimum(second[here], np.maximum(depth[here], spot.d))
        depth[here] = np.minimum(depth[here], spot.d)
        if within(shape, place):
            glands[here][spot.inside & closer] = number
        if tissue.hollow:
            nuclei += _lining(rng, tissue, place, contour)
    # a thin septum of stroma parts glands that are packed side by side
    depth = np.maximum(depth, 1.12 - 0.14 * (second - depth) / tissue.seam)
    glands[depth > 1] = 0
    if not tissue.hollow:
        nuclei = _nest(rng, shape, tissue, depth)
    ragged = 1 + 0.22 * fractal_noise(rng, shape, 4 * tissue.nucleus, 3)
    apical = np.asarray(depth - tissue.lumen * np.clip(ragged, 0.3, 2), np.float32)
    nuclei = [n for n in nuclei if _shows(shape, n.centre, apical, 0.04, 3) and _shows(shape, n.centre, depth, 0, 1)]
    nuclei += _stroma(rng, shape, tissue, depth)
    fibres = 0.7 * fibre_texture(rng, shape, 1.3) + 0.5 * fractal_noise(rng, shape, 40)
    hole = np.clip((fractal_noise(rng, shape, 0.7 * tissue.gland) - 2.3 + tissue.cracks) * 4, 0, 1) * (depth > 1.08)
    lines = _crossed(rng, shape, tissue, membrane)
    return Section(depth, apical, lines, tone, fibres, np.asarray(hole, np.float32), glands, tuple(nuclei))


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


def _lining(rng: Rng, tissue: Histology, place: Place, contour: Tube) -> list[Nucleus]:
    """Nuclei of the epithelium: at about one level or in several rows, long axis towards the lumen."""
    found = []
    number = max(6, round(tissue.crowd * contour.perimeter / (1.5 * tissue.nucleus)))
    for k in range(number):
        spot = ((k + rng.normal(0, 0.12)) / number - 0.5) * contour.perimeter
        fraction = float(
            np.clip(tissue.level + rng.normal(0, tissue.strata), 0.1, 1 - 1.4 * tissue.nucleus / contour.radius)
        )
        y, x, normal = contour.at(spot, fraction)
        shape = outline(rng, tissue.nucleus * rng.uniform(0.75, 1.15), rng.uniform(1.2, 2.8), 0.04, normal)
        found.append(Nucleus((place[0] + y, place[1] + x), shape, True))
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
