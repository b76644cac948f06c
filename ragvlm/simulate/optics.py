"""The light path: random textures, blur by the lens, uneven illumination."""

from __future__ import annotations

import numpy as np

from ragvlm.simulate.picture import Float, Rng, Shape


def resize(image: Float, shape: Shape, *, smooth: bool = True) -> Float:
    """Resample a float32 image (h, w) to ``shape``, bicubic or nearest."""
    from PIL import Image

    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(
        Image.fromarray(np.ascontiguousarray(image, np.float32)).resize(shape[::-1], how),
        dtype=np.float32,
    )


def smooth_noise(rng: Rng, shape: Shape, scale: float) -> Float:
    """Gaussian random field (h, w) of zero mean and unit variance, correlated over ``scale`` pixels."""
    coarse = tuple(max(3, round(side / max(scale, 1.0)) + 2) for side in shape)
    grid = rng.standard_normal(coarse, dtype=np.float32)
    full = resize(grid, (shape[0] + 2 * round(scale), shape[1] + 2 * round(scale)))
    top, left = rng.integers(0, round(scale) * 2 + 1, 2)
    field = full[top : top + shape[0], left : left + shape[1]]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)


def fractal_noise(rng: Rng, shape: Shape, scale: float, octaves: int = 4, decay: float = 0.55) -> Float:
    """Sum of ``smooth_noise`` over halving scales: zero mean, unit variance (h, w)."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        if scale / 2**octave < 1:
            break
        total += decay**octave * smooth_noise(rng, shape, scale / 2**octave)
    return np.asarray((total - total.mean()) / (total.std() + 1e-6), dtype=np.float32)


def blur(image: Float, sigma: float) -> Float:
    """In-focus point-spread function as a Gaussian (Zhang et al. 2007, doi 10.1364/AO.46.001819).

    ``image`` is (h, w) or (h, w, channels); ``sigma`` in pixels, 0 leaves it as it is.
    """
    from scipy.ndimage import gaussian_filter

    if sigma <= 0.05:
        return image
    sigmas = (sigma, sigma) + (0,) * (image.ndim - 2)
    return np.asarray(gaussian_filter(image, sigmas, mode="nearest", truncate=3.0), dtype=np.float32)


def defocus(image: Float, radius: float) -> Float:
    """Blur by the disc that a point becomes out of focus (geometric optics); radius in pixels."""
    from scipy.signal import fftconvolve

    if radius < 0.7:
        return image
    size = int(np.ceil(radius)) + 1
    y, x = np.mgrid[-size : size + 1, -size : size + 1]
    disc = np.clip(radius + 0.5 - np.hypot(y, x), 0, 1).astype(np.float32)
    disc /= disc.sum()
    planes = image[..., None] if image.ndim == 2 else image
    padded = np.pad(planes, ((size, size), (size, size), (0, 0)), mode="edge")
    out = fftconvolve(padded, disc[..., None], mode="valid", axes=(0, 1))
    return np.asarray(out if image.ndim == 3 else out[..., 0], dtype=np.float32)


def veil(light: Float, share: float) -> Float:
    """Veiling glare: a ``share`` 0-1 of the light (h, w, channels) strays evenly over the whole field (ISO 9358)."""
    return np.asarray((1 - share) * light + share * light.mean(axis=(0, 1)), dtype=np.float32)


def illumination(rng: Rng, shape: Shape, fall: float) -> Float:
    """Uneven illumination (h, w), mean near 1: a bright spot off centre that falls by ``fall`` at the corners."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    cy, cx = (side * rng.uniform(0.35, 0.65) for side in shape)
    reach = 0.5 * float(np.hypot(*shape))
    field = 1 - fall * ((y - cy) ** 2 + (x - cx) ** 2) / reach**2
    field += 0.3 * fall * rng.uniform(-1, 1) * (x / shape[1] - 0.5)
    return np.asarray(np.clip(field, 0.02, None), dtype=np.float32)
