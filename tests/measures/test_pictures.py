"""Measures of pictures against examples worked by hand, scipy, torchmetrics' own figures and plain double loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from ragvlm.errors import InputError
from ragvlm.measures import features
from ragvlm.measures.base import Item
from ragvlm.measures.pictures import (
    FrechetDistance,
    KernelDistance,
    Psnr,
    Ssim,
    frechet_distance,
    halves,
    kernel_distance,
)
from ragvlm.statistics import interval

SSIM, PSNR = Ssim(), Psnr()


class Means:
    """An encoder that can be followed by hand: the mean red, green and blue, brought to length 1."""

    name, fingerprint, image_dim = "means", "0123456789abcdef", 3
    asked = 0

    def encode_images(self, images: Any) -> Any:
        """Unit rows (n, 3)."""
        self.asked += len(images)
        vectors = np.array([np.asarray(image, float).mean(axis=(0, 1)) for image in images], np.float32).reshape(-1, 3)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> Means:
    encoder = Means()
    monkeypatch.setattr(features, "load_encoder", lambda name: encoder)
    features.features.cache_clear()
    yield encoder
    features.features.cache_clear()


def grey(level: int, size: tuple[int, int] = (16, 12)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def noise(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def colours(n: int, seed: int, shift: int = 0) -> list[Image.Image]:
    draw = np.random.default_rng(seed).integers(20, 200, (n, 3)) + np.array([shift, 0, 0])
    return [Image.new("RGB", (4, 4), tuple(map(int, colour))) for colour in draw]


def item(made: Any, right: Any, name: str = "pic7") -> Item:
    return Item(name, name, made, right)


def items_of(made: Any, right: Any) -> list[Item]:
    return [item(a, b, str(i)) for i, (a, b) in enumerate(zip(made, right, strict=True))]


def test_pairs_worked_by_hand() -> None:
    pair = [item(grey(100), grey(110))]
    # without variance only the means count: (2 m1 m2 + C1) / (m1^2 + m2^2 + C1)
    c1 = (0.01 * 255) ** 2
    assert SSIM.statistics(pair).value == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1))
    assert PSNR.statistics(pair).value == pytest.approx(10 * math.log10(255**2 / 10**2))


def plain_ssim(a: Any, b: Any) -> float:
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for row, column, channel in np.ndindex(a.shape[0] - 10, a.shape[1] - 10, 3):
        x, y = (p[row : row + 11, column : column + 11, channel].astype(float) for p in (a, b))
        mx, my = (window * x).sum(), (window * y).sum()
        sx, sy, sxy = (
            (window * (x - mx) ** 2).sum(),
            (window * (y - my) ** 2).sum(),
            (window * (x - mx) * (y - my)).sum(),
        )
        values.append((2 * mx * my + c1) * (2 * sxy + c2) / ((mx**2 + my**2 + c1) * (sx + sy + c2)))
    return float(np.mean(values))


def test_pairs_equal_the_definition_and_torchmetrics() -> None:
    a = np.asarray(noise(0))
    b = np.clip(a.astype(int) + np.asarray(noise(1)) // 8, 0, 255).astype(np.uint8)
    pair = [item(Image.fromarray(a), Image.fromarray(b))]
    assert SSIM.statistics(pair).value == pytest.approx(plain_ssim(a, b), abs=1e-9)
    # torchmetrics 1.9.0, functional.image, on the pictures as float64 (1, 3, 20, 24) with data_range=255.0:
    # structural_similarity_index_measure, which also counts the border that the window only half covers, and
    # peak_signal_noise_ratio
    assert SSIM.statistics(pair).value == pytest.approx(0.986013872425301, abs=1e-3)
    assert PSNR.statistics(pair).value == pytest.approx(23.372890815012024, abs=1e-5)


def test_equal_pictures_and_pairs_that_are_none() -> None:
    items = [item(noise(0), noise(0)), item(None, noise(0)), item(grey(100), grey(110))]
    ssim, psnr = SSIM.statistics(items), PSNR.statistics(items)
    assert ssim.rows[0] == pytest.approx(1.0)
    assert ssim.defined.tolist() == [True, False, True]
    assert psnr.defined.tolist() == [False, False, True]  # of equal pictures it would be infinite
    assert math.isfinite(psnr.value)


def test_grey_and_rgb_pictures_can_be_paired() -> None:
    assert SSIM.statistics([item(grey(50).convert("L"), grey(50))]).value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("made", "right", "words"),
    [
        (grey(1), grey(1, (16, 13)), "16 x 12 and 16 x 13"),
        ("a.png", grey(1), "prediction is no picture"),
        (grey(1), np.zeros((12, 16, 3)), "reference is no picture"),
        (grey(1, (10, 20)), grey(2, (10, 20)), "at least 11"),
    ],
)
def test_refuses_in_one_line_that_names_the_item(made: Any, right: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        SSIM.statistics([item(made, right)])
    assert "'pic7'" in str(error.value)


def plain_frechet(a: Any, b: Any) -> float:
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    gap = a.mean(axis=0) - b.mean(axis=0)
    return float(gap @ gap + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))


def test_frechet_distance_worked_by_hand() -> None:
    # on a line: means 1 and 4, variances 1 and 4, so 3^2 + (1 - 2)^2
    a, b = np.array([[0.0], [1.0], [2.0]]), np.array([[2.0], [4.0], [6.0]])
    assert frechet_distance(a, b) == pytest.approx(9 + 1)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (6, 4), (200, 12)])
def test_frechet_distance_equals_the_root_of_scipy(n: int, d: int) -> None:
    draw = np.random.default_rng(n)
    a, b = draw.normal(size=(n, d)), draw.normal(size=(n + 3, d)) * 2 + 0.3
    assert frechet_distance(a, b) == pytest.approx(plain_frechet(a, b), rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b))
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-6)
    times = draw.integers(0, 3, n).astype(float)
    again = np.repeat(a, times.astype(int), axis=0)
    assert frechet_distance(a, b, times) == pytest.approx(plain_frechet(again, b), rel=1e-6)


def test_frechet_distance_of_fewer_pictures_than_dimensions() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(5, 9)), draw.normal(size=(7, 9))
    # the root of a matrix without full rank is hard on sqrtm: a touch of noise makes it possible, to three digits
    eye = 1e-9 * np.eye(9)
    root = sqrtm((np.cov(a.T) + eye) @ (np.cov(b.T) + eye)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)


def plain_kid(a: Any, b: Any, *, pairs: bool) -> float:
    """By plain loops; with ``pairs`` a[i] and b[i] are one item's, and their kernel isn't counted."""

    def mean(s: Any, t: Any, *, own: bool) -> float:
        return float(np.mean([(s[i] @ t[j] + 1) ** 3 for i in range(len(s)) for j in range(len(t)) if own or i != j]))

    return mean(a, a, own=False) + mean(b, b, own=False) - 2 * mean(a, b, own=not pairs)


def test_sets_in_an_encoders_space(means: Means) -> None:
    made, right = colours(9, 1, shift=40), colours(9, 2)
    items = items_of(made, right)
    a, b = (np.asarray(Means().encode_images(pictures), np.float64) for pictures in (made, right))
    frechet, kid = FrechetDistance().statistics(items), KernelDistance().statistics(items)
    assert frechet.value == pytest.approx(plain_frechet(a, b), rel=1e-5)
    assert kid.value == pytest.approx(plain_kid(a, b, pairs=True), rel=1e-6)
    assert means.asked == 18  # once each, for both measures
    assert "means (0123456789ab)" in FrechetDistance().source
    assert "2,048" in FrechetDistance().source


def test_kid_of_two_pictures_each_by_hand(means: Means) -> None:
    red, green = Image.new("RGB", (2, 2), (9, 0, 0)), Image.new("RGB", (2, 2), (0, 9, 0))
    items = items_of([red, green], [red, red.resize((3, 3))])
    # cosines: 0 within the made, 1 within the right; between, of different items, 1 and 0: 1 + 8 - 2 (8 + 1) / 2
    assert KernelDistance().statistics(items).value == pytest.approx(1 + 8 - 2 * 9 / 2)


def test_resamples_of_sets(means: Means) -> None:
    made, right = colours(8, 1), colours(8, 2)
    items = items_of(made, right)
    chosen = np.array([0, 1, 1, 4, 5, 7, 7, 7])
    drawn = [items[i] for i in chosen]
    frechet, kid = FrechetDistance().statistics(items), KernelDistance().statistics(items)
    assert frechet.on(chosen) == pytest.approx(FrechetDistance().statistics(drawn).value, rel=1e-6)
    # copies are no pairs: otherwise the estimate on a resample would be too high
    a, b = (np.asarray(Means().encode_images([pictures[i] for i in chosen]), np.float64) for pictures in (made, right))
    apart = chosen[:, None] != chosen
    within = [((side @ side.T + 1) ** 3)[apart].mean() for side in (a, b)]
    between = ((a @ b.T + 1) ** 3)[apart].mean()
    assert kid.on(chosen) == pytest.approx(sum(within) - 2 * between, rel=1e-6)
    assert kid.on(np.arange(8)[::-1]) == pytest.approx(kid.value)


def test_the_interval_of_the_kernel_distance_lies_around_it(means: Means) -> None:
    right = colours(60, 2)
    made = [Image.eval(picture, lambda level: level // 2 + 30) for picture in right]  # each like its own right one
    found = interval(KernelDistance().statistics(items_of(made, right)), [str(i) for i in range(60)], resamples=300)
    assert found.low < found.value < found.high


def test_sets_without_pairs(means: Means) -> None:
    made, right = colours(7, 1), colours(5, 2)
    items = [item(p, None, f"m{i}") for i, p in enumerate(made)] + [item(None, p, f"r{i}") for i, p in enumerate(right)]
    a, b = (np.asarray(Means().encode_images(pictures), np.float64) for pictures in (made, right))
    assert KernelDistance().statistics(items).value == pytest.approx(plain_kid(a, b, pairs=False), rel=1e-6)
    assert kernel_distance(a, b) == pytest.approx(plain_kid(a, b, pairs=False), rel=1e-6)
    assert FrechetDistance().statistics(items).value == pytest.approx(plain_frechet(a, b), rel=1e-5)
    for measure in (FrechetDistance(), KernelDistance()):
        assert math.isnan(measure.statistics(items[:7]).value)
        assert math.isnan(measure.statistics([item(None, None)]).value)
        assert math.isnan(measure.statistics([]).value)
        assert math.isnan(measure.statistics(items_of(made[:1], right[:1])).value)


def test_the_bias_of_small_samples_shows_on_halves_of_one_set(means: Means) -> None:
    pictures = colours(200, 3)
    few, many = halves(pictures[:20]), halves(pictures)
    assert few > 3 * many > 0  # ten times as many pictures: about a tenth of the bias
    assert halves(pictures, seed=0) == many
    assert abs(KernelDistance().statistics(items_of(pictures[:100], pictures[100:])).value) < 0.05
    with pytest.raises(InputError, match="at least 4"):
        halves(pictures[:3])


def test_refuses_more_than_it_can_hold(means: Means, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragvlm.measures.pictures.MOST_PICTURES", 3)
    with pytest.raises(InputError, match="4 items are too many for KID"):
        KernelDistance().statistics(items_of(colours(4, 1), colours(4, 2)))
    with pytest.raises(InputError, match=r"'pic7'.*no picture"):
        FrechetDistance().statistics([item("a.png", None)])


def test_names() -> None:
    assert [FrechetDistance().name, KernelDistance("clip").name] == ["Frechet distance (embedded)", "KID (clip)"]
    assert FrechetDistance() == FrechetDistance("embedded")
