"""Where things lie and how they are outlined: parametric contours as in SIMCEP, placement with clustering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.optics import resize, smooth_noise
from ragvlm.simulate.picture import Float, Labels, Rng, Shape

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Outline:
    """A closed contour: an ellipse whose radius is modulated by a few harmonics.

    Attributes:
        radius: geometric mean of the half axes, pixels.
        aspect: long axis / short axis, >= 1.
        angle: direction of the long axis, radians.
        waves: rows of (harmonic, relative amplitude, phase).
    """

    radius: float
    aspect: float
    angle: float
    waves: tuple[tuple[int, float, float], ...]

    @property
    def reach(self) -> float:
        """Largest distance of the contour from its centre, pixels."""
        return self.radius * float(self.aspect**0.5) * (1 + sum(abs(w[1]) for w in self.waves))

    def distance(self, y: Float, x: Float) -> Float:
        """Relative distance from the centre at offsets (y, x): 0 centre, 1 contour."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u = (x * cos + y * sin) / self.aspect**0.5
        v = (y * cos - x * sin) * self.aspect**0.5
        theta = np.arctan2(v, u)
        edge = np.ones_like(theta)
        for harmonic, amplitude, phase in self.waves:
            edge += amplitude * np.cos(harmonic * theta + phase)
        return np.asarray(np.hypot(u, v) / (self.radius * edge), dtype=np.float32)


def outline(rng: Rng, radius: float, aspect: float = 1.0, wobble: float = 0.05, angle: float | None = None) -> Outline:
    """A random contour; ``wobble`` is the relative amplitude of its harmonics 2 to 5."""
    waves = tuple((k, float(rng.normal(0, wobble / k**0.5)), float(rng.uniform(0, 2 * np.pi))) for k in (2, 3, 4, 5))
    turn = float(rng.uniform(0, np.pi)) if angle is None else angle
    return Outline(radius, max(aspect, 1.0), turn, waves if wobble > 0 else ())


@dataclass(frozen=True)
class Patch:
    """The part of a field that one object covers.

    ``window`` indexes the field; ``d`` is the relative distance (0 centre, 1 contour); ``y`` and ``x`` are offsets in
    pixels.
    """

    window: tuple[slice, slice]
    d: Float
    y: Float
    x: Float
    scale: float

    def coverage(self, softness: float = 1.0) -> Float:
        """Antialiased inside (1) / outside (0), the edge ``softness`` pixels wide."""
        return np.asarray(np.clip((1 - self.d) * self.scale / softness + 0.5, 0, 1), dtype=np.float32)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Boolean interior of the contour."""
        return np.asarray(self.d <= 1)


def patch(shape: Shape, centre: tuple[float, float], contour: Outline, grow: float = 1.15) -> Patch | None:
    """Cut the window of a contour at ``centre`` (row, column) out of a field; None if it lies outside."""
    reach = contour.reach * grow + 2
    top, bottom = max(0, int(centre[0] - reach)), min(shape[0], int(centre[0] + reach) + 1)
    left, right = max(0, int(centre[1] - reach)), min(shape[1], int(centre[1] + reach) + 1)
    if top >= bottom or left >= right:
        return None
    y = (np.arange(top, bottom, dtype=np.float32) - np.float32(centre[0]))[:, None]
    x = (np.arange(left, right, dtype=np.float32) - np.float32(centre[1]))[None, :]
    y, x = np.broadcast_arrays(y, x)
    return Patch((slice(top, bottom), slice(left, right)), contour.distance(y, x), y, x, contour.radius)


def within(shape: Shape, point: tuple[float, float]) -> bool:
    """The counting rule: an object counts when the pixel of its centre lies inside the field."""
    return 0 <= point[0] < shape[0] and 0 <= point[1] < shape[1]


def scatter(
    rng: Rng, shape: Shape, n: int, gap: float, *, margin: float = 0.0, clusters: int = 0, tight: float = 0.12
) -> list[tuple[float, float]]:
    """Up to ``n`` centres (row, column) at least ``gap`` pixels apart, clustered when ``clusters`` > 0.

    Points may lie up to ``margin`` pixels outside the field. Where there is no room for all, fewer come back.
    """
    if n < 1:
        return []
    low, high = np.array([-margin, -margin]), np.array([shape[0] + margin, shape[1] + margin])
    many = 12 * n + 20
    pool = rng.uniform(low, high, (many, 2))
    if clusters > 0:
        cores = rng.uniform(low, high, (clusters, 2))
        spread = tight * min(shape) * rng.uniform(0.5, 1.5, clusters)
        which = rng.integers(0, clusters, many)
        drawn = cores[which] + rng.standard_normal((many, 2)) * spread[which, None]
        pool = np.where(rng.random((many, 1)) < 0.75, drawn, pool)
    kept: list[tuple[float, float]] = []
    cells: dict[tuple[int, int], list[tuple[float, float]]] = {}
    side = max(gap, 1e-3)
    for y, x in pool[np.all((pool >= low) & (pool < high), axis=1)]:
        key = (int(y // side), int(x // side))
        near = (p for dy in (-1, 0, 1) for dx in (-1, 0, 1) for p in cells.get((key[0] + dy, key[1] + dx), ()))
        if all((p[0] - y) ** 2 + (p[1] - x) ** 2 >= gap * gap for p in near):
            kept.append((float(y), float(x)))
            cells.setdefault(key, []).append(kept[-1])
            if len(kept) == n:
                break
    return kept


def lattice(rng: Rng, shape: Shape, step: float) -> list[tuple[float, float]]:
    """Centres about ``step`` pixels apart that fill a field and its margin: a jittered hexagonal lattice."""
    rows, columns = int(shape[0] / (0.87 * step)) + 5, int(shape[1] / step) + 5
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64)
    points = np.stack([0.87 * step * (y - 2), step * (x - 2 + 0.5 * (y % 2))], axis=-1).reshape(-1, 2)
    points += rng.normal(0, 0.17 * step, points.shape)
    return [(float(a), float(b)) for a, b in points]


@dataclass(frozen=True)
class Tiling:
    """Cells of a sheet: ``owner`` (h, w) index of the nearest seed; ``centre`` and ``border`` distances in pixels."""

    owner: Labels
    centre: Float
    border: Float


def tiling(rng: Rng, shape: Shape, seeds: list[tuple[float, float]], warp: float, scale: float) -> Tiling:
    """Voronoi cells of ``seeds`` whose borders are bent by a random displacement of ``warp`` pixels over ``scale``."""
    from scipy.spatial import cKDTree

    half = (shape[0] // 2 + 1, shape[1] // 2 + 1)
    y, x = np.mgrid[0 : half[0], 0 : half[1]].astype(np.float32) * 2
    y = y + warp * smooth_noise(rng, half, max(scale / 2, 2))
    x = x + warp * smooth_noise(rng, half, max(scale / 2, 2))
    distance, index = cKDTree(np.asarray(seeds)).query(np.stack([y, x], axis=-1), k=2)
    full = (half[0] * 2, half[1] * 2)
    owner = np.repeat(np.repeat(index[..., 0], 2, axis=0), 2, axis=1)
    near = resize(distance[..., 0].astype(np.float32), full)
    border = resize(((distance[..., 1] - distance[..., 0]) / 2).astype(np.float32), full)
    crop = np.s_[: shape[0], : shape[1]]
    return Tiling(owner[crop].astype(np.int32), near[crop], np.clip(border[crop], 0, None))
