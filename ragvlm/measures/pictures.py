"""Generated pictures: SSIM and PSNR of pairs; Fréchet distance and KID of two sets in an encoder's feature space.

An item's prediction and its reference are pictures (PIL), or None: without a prediction the system made none, without a
reference the item belongs to the set of generated pictures alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ragvlm.errors import InputError, require
from ragvlm.measures.base import Float64, Item, Statistics, library, refuse
from ragvlm.measures.features import features

if TYPE_CHECKING:
    from PIL.Image import Image

_SMALLEST = 11  # the side of SSIM's window
MOST_PICTURES = 4000  # three float64 matrices of that many rows and columns take 400 MB
UNBIASED = 2048  # pictures from which work on the Fréchet distance reports it (Heusel et al. 2017)


@dataclass(frozen=True, slots=True)
class Ssim:
    """Mean structural similarity of the pairs (Wang et al. 2004, doi 10.1109/TIP.2003.819861).

    The mean over pixels and over the channels red, green and blue of (2 mx my + C1) (2 sxy + C2) / ((mx^2 + my^2 + C1)
    (sx^2 + sy^2 + C2)), means and covariances in a Gaussian window (sigma 1.5, 11 x 11), C1 = (0.01 * 255)^2, C2 =
    (0.03 * 255)^2. In [-1, 1], 1 for equal pictures; higher is better. Wang et al. take the grey levels alone. Not
    defined for an item without a pair. Raises MissingExtraError without ``ragvlm[eval]``, InputError naming items that
    aren't pictures, whose two sizes differ, or smaller than 11 pixels.
    """

    task = "pictures"
    name = "SSIM"
    higher_is_better = True

    @property
    def source(self) -> str:
        """scikit-image and its options."""
        return f"{library('scikit-image')}, Gaussian window (sigma 1.5), mean of the channels"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item."""
        ssim = require("skimage.metrics", "eval").structural_similarity

        def score(item: Item, a: Any, b: Any) -> float:
            if min(a.shape[:2]) < _SMALLEST:
                raise refuse([item], f"SSIM needs pictures of at least {_SMALLEST} x {_SMALLEST} pixels")
            window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
            return float(ssim(a, b, data_range=255, channel_axis=2, **window))

        return Statistics.of_scores([_of_pair(item, score) for item in items])


@dataclass(frozen=True, slots=True)
class Psnr:
    """Mean peak signal-to-noise ratio of the pairs in dB: 10 log10(255^2 / mean squared error), over all channels.

    Above 0, higher is better. Equal pictures have no finite one: they aren't defined and counted as such, as is an item
    without a pair. Raises MissingExtraError without ``ragvlm[eval]``, InputError naming items that aren't pictures or
    whose two sizes differ.
    """

    task = "pictures"
    name = "PSNR"
    higher_is_better = True

    @property
    def source(self) -> str:
        """scikit-image."""
        return f"{library('scikit-image')}, dB, without equal pictures"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """One score an item."""
        psnr = require("skimage.metrics", "eval").peak_signal_noise_ratio

        def score(_: Item, a: Any, b: Any) -> float:
            return math.nan if np.array_equal(a, b) else float(psnr(a, b, data_range=255))

        return Statistics.of_scores([_of_pair(item, score) for item in items])


@dataclass(frozen=True, slots=True)
class FrechetDistance:
    """Fréchet distance of Gaussians fitted to both sets' features (Heusel et al. 2017, arXiv:1706.08500).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), means m and covariances S (by n - 1) of the unit vectors of
    ``encoder``'s image tower, any name that ``load_encoder`` takes. At least 0, lower is better. Only the Inception
    network of Heusel et al. makes it "FID": figures in different feature spaces can't be compared.

    Biased: small samples make it too high, and below UNBIASED pictures that may outweigh all else (docs/measures.md has
    figures). Compare only sets of equal size, beside ``halves`` of the right pictures, or take ``KernelDistance``. A
    resample holds fewer different pictures than the sample: a bootstrap interval lies too high. Raises what
    ``load_encoder`` raises, and InputError naming items that aren't pictures. Not defined below two pictures.
    """

    encoder: str = "embedded"

    task = "pictures"
    higher_is_better = False

    @property
    def name(self) -> str:
        """Such as "Frechet distance (embedded)"."""
        return f"Frechet distance ({self.encoder})"

    @property
    def source(self) -> str:
        """The encoder, and the bias."""
        return f"ragvlm, {features(self.encoder).source}, too high for few pictures (below {UNBIASED:,})"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: the item's number, which ``reduce`` looks up."""
        made, right = _features(items, self.encoder)

        def reduce(chosen: Float64) -> float:
            times = _times(chosen, len(items))
            return frechet_distance(made.vectors, right.vectors, times[made.items], times[right.items])

        return Statistics(_numbers(items), reduce)


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """Kernel Inception distance (Binkowski et al. 2018, arXiv:1801.01401) with another encoder than Inception.

    The unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13:723-773): mean of
    k(x, x') over pairs of generated pictures + mean of k(y, y') over pairs of right ones - 2 mean of k(x, y), each over
    pictures of different items, since those of one item depend on each other; k(x, y) = (x y / d + 1)^3. The unit
    vectors of ``encoder`` are brought to the length d^(1/2), so that x y / d is their cosine. Around 0 for equal
    distributions (negative by chance), lower is better; unbiased at any number of pictures, also in a resample, where
    copies of an item make no pairs. Raises what ``load_encoder`` raises, and InputError naming items that aren't
    pictures and for more than MOST_PICTURES items. Not defined below two pictures.
    """

    encoder: str = "embedded"

    task = "pictures"
    higher_is_better = False

    @property
    def name(self) -> str:
        """Such as "KID (embedded)"."""
        return f"KID ({self.encoder})"

    @property
    def source(self) -> str:
        """The encoder and the kernel."""
        return f"ragvlm, {features(self.encoder).source}, unbiased, (cosine + 1)^3"

    def statistics(self, items: Sequence[Item]) -> Statistics:
        """Rows: the item's number, which ``reduce`` looks up."""
        if len(items) > MOST_PICTURES:
            raise InputError(f"{len(items)} items are too many for {self.name}: give at most {MOST_PICTURES}")
        made, right = _features(items, self.encoder)
        own = np.nonzero(made.items[:, None] == right.items)
        kernels = _Kernels.of(made.vectors, right.vectors, own)

        def reduce(chosen: Float64) -> float:
            times = _times(chosen, len(items))
            return kernels.distance(times[made.items], times[right.items])

        return Statistics(_numbers(items), reduce)


@dataclass(frozen=True, slots=True)
class _Set:
    """One side's features: ``vectors`` float64 (m, d), of the ``items`` int64 (m,)."""

    vectors: Float64
    items: Any


def frechet_distance(a: Float64, b: Float64, a_times: Float64 | None = None, b_times: Float64 | None = None) -> float:
    """Fréchet distance of features (n, d) and (m, d), each row there so many ``times`` [once]; NaN below two rows."""
    (a_mean, a_root), (b_mean, b_root) = _gaussian(a, a_times), _gaussian(b, b_times)
    if not a_root.size or not b_root.size:
        return math.nan
    # tr (S1 S2)^(1/2) is the sum of the singular values of A B^T where S1 = A^T A and S2 = B^T B, so that no root of a
    # matrix is needed; they are the roots of the eigenvalues of its square, which come several times faster
    product = a_root @ b_root.T
    square = product @ product.T if len(product) <= product.shape[1] else product.T @ product
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(square), 0, None)).sum()
    apart = ((a_mean - b_mean) ** 2).sum()
    return max(0.0, float(apart + (a_root**2).sum() + (b_root**2).sum() - 2 * shared))


def kernel_distance(a: Float64, b: Float64) -> float:
    """``KernelDistance`` of unit vectors (n, d) and (m, d) of different items; NaN below two rows."""
    nothing = np.zeros(0, dtype=np.int64)
    return _Kernels.of(a, b, (nothing, nothing)).distance(np.ones(len(a)), np.ones(len(b)))


def halves(pictures: Sequence[Image], encoder: str = "embedded", *, repeats: int = 10, seed: int = 0) -> float:
    """Mean Fréchet distance between two random halves of ``pictures``, over ``repeats``: what the bias alone makes of
    two samples of that size from one source. Raises InputError for fewer than four pictures."""
    if len(pictures) < 4:
        raise InputError(f"{len(pictures)} pictures have no halves to compare: give at least 4")
    vectors = features(encoder).vectors(pictures)
    draws = [np.random.default_rng([seed, i]).permutation(len(vectors)) for i in range(repeats)]
    size = len(vectors) // 2
    return float(np.mean([frechet_distance(vectors[d[:size]], vectors[d[size : 2 * size]]) for d in draws]))


def _gaussian(vectors: Float64, times: Float64 | None) -> tuple[Float64, Float64]:
    """The mean (d,) and a root A (k, d) of the covariance A^T A; an empty root below two pictures."""
    weights = np.ones(len(vectors)) if times is None else times
    vectors, weights = vectors[weights > 0], weights[weights > 0]
    total = weights.sum()
    if total < 2:
        return np.zeros(0), np.zeros((0, 0))
    mean = weights @ vectors / total
    root = np.sqrt(weights / (total - 1))[:, None] * (vectors - mean)
    if len(root) > root.shape[1]:
        root = np.asarray(np.linalg.qr(root, mode="r"))
    return mean, root


@dataclass(frozen=True, slots=True)
class _Kernels:
    """The kernel of all pairs: float64 (n, n) among the first set, (m, m) among the second, (n, m) between them."""

    first: Float64
    second: Float64
    between: Float64
    own: tuple[Any, ...]  # the places of ``between`` where both pictures are one item's

    @classmethod
    def of(cls, a: Float64, b: Float64, own: tuple[Any, ...]) -> _Kernels:
        """Of unit vectors (n, d) and (m, d)."""
        return cls((a @ a.T + 1) ** 3, (b @ b.T + 1) ** 3, (a @ b.T + 1) ** 3, own)

    def distance(self, x: Float64, y: Float64) -> float:
        """The estimate where the rows occur ``x`` (n,) and ``y`` (m,) times."""
        alone = x[self.own[0]] * y[self.own[1]]
        pairs = x.sum() * y.sum() - alone.sum()
        if not pairs:
            return math.nan
        between = (x @ self.between @ y - alone @ self.between[self.own]) / pairs
        return _within(self.first, x) + _within(self.second, y) - 2 * float(between)


def _within(kernel: Float64, times: Float64) -> float:
    """The mean over pairs of different rows; NaN without one."""
    alone = times**2
    pairs = times.sum() ** 2 - alone.sum()
    return float((times @ kernel @ times - alone @ kernel.diagonal()) / pairs) if pairs else math.nan


def _features(items: Sequence[Item], encoder: str) -> tuple[_Set, _Set]:
    sides = []
    for name in ("prediction", "references"):
        told = [i for i, item in enumerate(items) if _picture(item, name) is not None]
        vectors = features(encoder).vectors([getattr(items[i], name) for i in told])
        sides.append(_Set(vectors, np.array(told, dtype=np.int64)))
    return sides[0], sides[1]


def _numbers(items: Sequence[Item]) -> Float64:
    """A row an item: its number, NaN without any picture."""
    nothing = [item.prediction is None and item.references is None for item in items]
    return np.where(nothing, np.nan, np.arange(len(items), dtype=np.float64))[:, None]


def _times(chosen: Float64, items: int) -> Float64:
    return np.bincount(chosen[:, 0].astype(np.int64), minlength=items).astype(np.float64)


def _of_pair(item: Item, score: Callable[[Item, Any, Any], float]) -> float:
    pair = [_picture(item, name) for name in ("prediction", "references")]
    if pair[0] is None or pair[1] is None:
        return math.nan
    if pair[0].size != pair[1].size:
        sizes = " and ".join(f"{picture.width} x {picture.height}" for picture in pair if picture)
        raise refuse([item], f"pictures of {sizes} pixels can't be compared: bring both to one size")
    return score(item, *(np.asarray(picture.convert("RGB")) for picture in pair if picture))


def _picture(item: Item, name: str) -> Image | None:
    from PIL.Image import Image

    value = getattr(item, name)
    if value is not None and not isinstance(value, Image):
        raise refuse([item], f"the {name.removesuffix('s')} is no picture: open it with ragvlm.images first")
    return value
