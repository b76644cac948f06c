"""What all fluorescence kinds share: the set-up of a slide, the way from emitted light to pixels, small debris."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ragvlm.simulate.camera import Camera, fluorescence_camera
from ragvlm.simulate.optics import blur, defocus, illumination, smooth_noise
from ragvlm.simulate.picture import Float, Rng, Shape, chance, field_shape, log_uniform

MODALITY = "fluorescence microscopy"
_TINTS = {
    "grey": (1.0, 1.0, 1.0),
    "blue": (0.12, 0.25, 1.0),
    "green": (0.1, 1.0, 0.15),
    "red": (1.0, 0.12, 0.08),
}


@dataclass(frozen=True)
class Setup:
    """How one slide is photographed.

    Attributes:
        shape: height and width, pixels.
        sigma: in-focus point-spread function, pixels; ``defocus`` is the radius of the blur disc.
        background: level of the empty field relative to the brightest objects.
        fall: loss of illumination in the corners, 0-1.
        exposure: brightest objects relative to full scale; above 1 they saturate.
        tint: key of the display colour.
    """

    shape: Shape
    sigma: float
    defocus: float
    background: float
    fall: float
    exposure: float
    tint: str
    camera: Camera

    @property
    def blur(self) -> float:
        """Total blur in pixels."""
        return float(np.hypot(self.sigma, self.defocus / 2))

    def remark(self) -> str:
        """A sentence on focus or exposure where it is striking, else empty."""
        if self.defocus >= 3:
            return "The field is out of focus."
        if self.exposure >= 1.25:
            return "The brightest structures are overexposed."
        return "The exposure is dim." if self.exposure <= 0.35 else ""


def setup(slide: Rng, tint: str = "grey", tinted: float = 0.15) -> Setup:
    """Draw a slide's set-up; with probability ``tinted`` it is shown in the pseudo-colour ``tint``."""
    return Setup(
        shape=field_shape(slide),
        sigma=slide.uniform(0.6, 1.6),
        defocus=slide.uniform(3, 6) if chance(slide, 0.12) else slide.uniform(0, 1.2),
        background=log_uniform(slide, 0.005, 0.12),
        fall=slide.uniform(0, 0.5),
        exposure=log_uniform(slide, 0.25, 1.5),
        tint=tint if chance(slide, tinted) else "grey",
        camera=fluorescence_camera(slide),
    )


def vivid(how: Setup) -> Setup:
    """The same set-up, exposed so that each colour of a composite can be told from the others."""
    return replace(how, exposure=max(how.exposure, 0.7), background=min(how.background, 0.04))


def develop(rng: Rng, light: Float, how: Setup, reference: float | None = None) -> NDArray[np.uint8]:
    """Emitted light (h, w), >= 0, to uint8 pixels: blur, background, uneven lamp, camera, pseudo-colour.

    ``reference`` is the brightness that the exposure puts at its level, the 99.5th percentile by default.
    """
    image = defocus(blur(light, how.sigma), how.defocus)
    top = reference if reference is not None else float(np.percentile(image, 99.5))
    image = image / max(top, 1e-6)
    haze = 1 + 0.25 * smooth_noise(rng, how.shape, 160)
    # light scattered in the specimen: a faint wide glow around everything bright
    glow = 0.06 * blur(image[::4, ::4], 10)
    glow = np.repeat(np.repeat(glow, 4, axis=0), 4, axis=1)[: how.shape[0], : how.shape[1]]
    image = (image + glow + how.background * np.clip(haze, 0.3, None)) * illumination(rng, how.shape, how.fall)
    grey = how.camera.expose(rng, np.asarray(image * how.exposure, np.float32))
    if how.tint == "grey":
        return grey
    return np.asarray(grey[..., None] * np.asarray(_TINTS[how.tint]), dtype=np.uint8)


def add_specks(rng: Rng, light: Float, n: int, level: float) -> None:
    """Add ``n`` bright specks of dust or precipitate, 1-4 pixels wide, in place."""
    height, width = light.shape
    for _ in range(n):
        y, x = int(rng.integers(2, height - 4)), int(rng.integers(2, width - 4))
        side = int(rng.integers(1, 4))
        light[y : y + side, x : x + side] += level * rng.uniform(0.4, 1.6)
