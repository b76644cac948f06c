"""The camera: photon shot noise, read noise, gain, gamma, white balance, and the 8-bit file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.optics import blur
from ragvlm.simulate.picture import Float, Rng, chance, log_uniform


@dataclass(frozen=True)
class Camera:
    """A sensor as in the EMVA 1288 linear model.

    Attributes:
        photons: electrons at full scale; the fewer, the noisier.
        read_noise: standard deviation of the read noise, electrons.
        offset: black level as a fraction of full scale.
        gamma: exponent of the display curve, 1 is linear.
        jpeg_quality: 1-95, or None where the laboratory stores lossless files.
    """

    photons: float
    read_noise: float
    offset: float
    gamma: float
    jpeg_quality: int | None

    def expose(self, rng: Rng, light: Float) -> NDArray[np.uint8]:
        """Digitise ``light`` (h, w[, 3]), 1 = full scale, to uint8 with the sensor's noise."""
        electrons = np.clip(light, 0, 4) * self.photons
        # A Gaussian of equal variance stands for the Poisson law: at these counts nobody can tell.
        noise = rng.standard_normal(light.shape, dtype=np.float32)
        counts = electrons + noise * np.sqrt(electrons + self.read_noise**2)
        level = np.clip(counts / self.photons + self.offset, 0, 1) ** self.gamma
        return np.asarray(np.round(level * 255), dtype=np.uint8)


def fluorescence_camera(slide: Rng) -> Camera:
    """A cooled monochrome camera behind a fluorescence filter: few photons, black level above 0."""
    return Camera(
        photons=log_uniform(slide, 250, 8000),
        read_noise=slide.uniform(1, 8),
        offset=float(slide.choice([0.0, 0.01, 0.03, 0.06])),
        gamma=float(slide.choice([1.0, 1.0, 0.8, 0.65])),
        jpeg_quality=int(slide.integers(75, 95)) if chance(slide, 0.15) else None,
    )


def colour_camera(slide: Rng) -> Camera:
    """A colour camera on a bright-field stand: many photons, often compressed."""
    return Camera(
        photons=log_uniform(slide, 1500, 20000),
        read_noise=slide.uniform(2, 10),
        offset=0.0,
        gamma=slide.uniform(0.8, 1.15),
        jpeg_quality=int(slide.integers(60, 95)) if chance(slide, 0.7) else None,
    )


def white_balance(slide: Rng, spread: float) -> Float:
    """Gains (3,) of red, green and blue around 1, so that each laboratory has its own white."""
    return np.asarray(np.exp(slide.normal(0, spread, 3)), dtype=np.float32)


def bayer(light: Float, sigma: float = 0.6) -> Float:
    """Softening of colour (h, w, 3) by a Bayer sensor: chroma is blurred more than luma."""
    luma = light.mean(axis=2, keepdims=True)
    return np.asarray(luma + blur(light - luma, 2 * sigma), dtype=np.float32)


def sharpen(light: Float, amount: float) -> Float:
    """Unsharp mask that many microscope cameras apply by themselves."""
    return light if amount <= 0 else np.asarray(light + amount * (light - blur(light, 1.5)), np.float32)
