"""The geometry and the optics behind simulated tissue and smears."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragvlm.simulate.histology import draw_ihc_nuclear
from ragvlm.simulate.optics import veil
from ragvlm.simulate.stains import VECTORS, stain_mixture
from ragvlm.simulate.tissue import histology, section
from ragvlm.simulate.tubes import tube


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    half=st.floats(0, 300),
    along=st.floats(-0.49, 0.49),
    fraction=st.floats(0.2, 1.0),
)
def test_a_place_on_a_tube_is_found_again(seed: int, half: float, along: float, fraction: float) -> None:
    contour = tube(np.random.default_rng(seed), 80.0, half, 0.05, 0.7)
    place = along * contour.perimeter
    y, x, _ = contour.at(place, fraction)
    where = np.asarray([[y]], np.float32), np.asarray([[x]], np.float32)
    assert contour.distance(*where)[0, 0] == pytest.approx(fraction, abs=0.01)
    assert contour.rim(*where)[0][0, 0] == pytest.approx(place, abs=1.0)
    assert np.hypot(y, x) <= contour.reach + 1e-3


def test_a_straight_tube_without_waves_is_a_stadium() -> None:
    contour = tube(np.random.default_rng(0), 50.0, 120.0, 0.0, 0.0)
    y, x = np.asarray([[0.0, 0.0, 50.0]], np.float32), np.asarray([[0.0, 170.0, 0.0]], np.float32)
    bent = 0.5 * contour.bow * x**2
    assert contour.distance(y + bent, x)[0] == pytest.approx([0.0, 1.0, 1.0], abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_a_section_keeps_glands_apart_and_nuclei_out_of_the_lumen(seed: int) -> None:
    rng, shape = np.random.default_rng(seed), (512, 512)
    tissue = histology(rng)
    cut = section(rng, shape, tissue)
    assert not np.any((cut.glands > 0) & (cut.depth > 1))
    inside = [n for n in cut.nuclei if all(0 <= c < s for c, s in zip(n.centre, shape, strict=True))]
    assert inside
    for nucleus in inside:
        row, column = (int(c) for c in nucleus.centre)
        assert cut.apical[row, column] > 0 if nucleus.gland else cut.depth[row, column] >= 1.1
    assert abs(float(cut.tone.mean()) - 1) < 0.1


def test_sections_that_are_called_negative_hold_no_brown_and_others_do() -> None:
    seen = set()
    for seed in range(12):
        picture = draw_ihc_nuclear(np.random.default_rng(seed), np.random.default_rng(seed))
        red, blue = picture.pixels[..., 0].astype(float), picture.pixels[..., 2].astype(float)
        brown = float(np.mean(red / red.max() > blue / blue.max() + 0.15))
        negative = picture.labels["pattern"] == "negative"
        assert brown < 0.001 if negative else brown > 0.005, (seed, brown, picture.caption)
        seen.add(negative)
    assert seen == {True, False}


def test_glare_keeps_the_mean_and_lowers_the_contrast() -> None:
    light = np.random.default_rng(0).random((20, 30, 3), dtype=np.float32)
    hazy = veil(light, 0.25)
    assert hazy.mean(axis=(0, 1)) == pytest.approx(light.mean(axis=(0, 1)), abs=1e-5)
    assert hazy.std() == pytest.approx(0.75 * light.std(), rel=0.01)
    assert np.array_equal(veil(light, 0.0), light)


def test_a_mixture_of_stains_is_a_unit_vector_between_them() -> None:
    for seed in range(5):
        mixed = stain_mixture(np.random.default_rng(seed), "dab", "yellow dab", 0.0)
        assert np.linalg.norm(mixed) == pytest.approx(1, abs=1e-5)
        unit = [np.asarray(VECTORS[n]) / np.linalg.norm(VECTORS[n]) for n in ("dab", "yellow dab")]
        assert np.all(mixed >= np.minimum(*unit) - 0.01) and np.all(mixed <= np.maximum(*unit) + 0.01)
