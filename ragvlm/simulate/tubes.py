"""Glands as tubes: a section across one is round, a section along it is a bent band with rounded ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ragvlm.simulate.picture import Float, Rng
from ragvlm.simulate.shapes import Outline


@dataclass(frozen=True)
class Tube(Outline):
    """An outline drawn out along its axis (the axis' length is 2 x ``half`` pixels) and bent.

    ``bow`` is the curvature in 1 / pixels; ``aspect`` of the base class is 1.
    """

    half: float = 0.0
    bow: float = 0.0

    @property
    def reach(self) -> float:
        """Largest distance of the contour from its centre, pixels."""
        wide = self.radius * (1 + sum(abs(w[1]) for w in self.waves))
        return self.half + wide + 0.5 * abs(self.bow) * (self.half + wide) ** 2

    @property
    def perimeter(self) -> float:
        """Length of the rim without its waves, pixels."""
        return 2 * np.pi * self.radius + 4 * self.half

    def _straight(self, y: Float, x: Float) -> tuple[Float, Float, Float]:
        """Position along the axis (clipped to it), and offset from there along and across it."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        a = x * cos + y * sin
        b = y * cos - x * sin - 0.5 * self.bow * a**2
        along = np.clip(a, -self.half, self.half)
        return np.asarray(along, np.float32), np.asarray(a - along, np.float32), np.asarray(b, np.float32)

    def _edge(self, theta: Float, along: Float) -> Float:
        edge = np.ones_like(theta)
        for harmonic, amplitude, phase in self.waves:
            edge += amplitude * np.cos(harmonic * (theta + along / self.radius) + phase)
        return edge

    def distance(self, y: Float, x: Float) -> Float:
        """Relative distance from the axis at offsets (y, x): 0 axis, 1 contour."""
        along, rest, b = self._straight(y, x)
        edge = self._edge(np.arctan2(b, rest), along)
        return np.asarray(np.hypot(rest, b) / (self.radius * edge), dtype=np.float32)

    def rim(self, y: Float, x: Float) -> tuple[Float, Float]:
        """Place on the rim that faces offsets (y, x), in pixels within +-perimeter / 2, and how far sectors narrow."""
        along, rest, b = self._straight(y, x)
        place = self.radius * np.arctan2(b, rest) + np.where(b < 0, -1, 1) * (self.half - along)
        narrow = np.where(rest == 0, 1, np.hypot(rest, b) / self.radius)
        return np.asarray(place, np.float32), np.asarray(narrow, np.float32)

    def at(self, place: float, fraction: float) -> tuple[float, float, float]:
        """Offset (row, column) and direction of the normal where ``rim`` is ``place`` and ``distance`` ``fraction``."""
        side, s, quarter = (-1.0 if place < 0 else 1.0), abs(place), 0.5 * np.pi * self.radius
        along = float(np.clip(self.half - (s - quarter), -self.half, self.half))
        theta = side * (s - (self.half - along)) / self.radius
        far = fraction * self.radius * float(self._edge(np.asarray([theta]), np.asarray([along]))[0])
        a, b = along + far * np.cos(theta), far * np.sin(theta)
        b += 0.5 * self.bow * a**2
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return float(a * sin + b * cos), float(a * cos - b * sin), float(self.angle + theta)


def tube(rng: Rng, radius: float, half: float, wobble: float, angle: float) -> Tube:
    """A random tube; ``wobble`` is the relative amplitude of the harmonics 2 to 5 of its wall."""
    waves = tuple((k, float(rng.normal(0, wobble / k**0.5)), float(rng.uniform(0, 2 * np.pi))) for k in (2, 3, 4, 5))
    bow = float(np.clip(rng.normal(0, 0.35), -0.7, 0.7)) / (half + radius)
    return Tube(radius, 1.0, angle, waves, half, bow)
