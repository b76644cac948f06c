"""What a simulated picture shows, against the truth it was made from."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ragvlm.errors import InputError
from ragvlm.simulate import KINDS, painter
from ragvlm.simulate.picture import Picture
from ragvlm.simulate.plan import plan
from ragvlm.simulate.shapes import scatter

_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
# kind -> labels whose number must stand in the caption
COUNTS = {
    "dna_nuclei": ("nuclei",),
    "blood_smear": ("white_cells", "red_cells", "platelets"),
    "cell_bodies": ("cells",),
    "he_tissue": ("glands", "epithelial_nuclei", "stromal_nuclei"),
    "nuclear_foci": ("nuclei", "foci"),
    "phase_contrast": ("cells",),
    "ihc_membrane": ("glands", "epithelial_nuclei", "stromal_nuclei"),
    "single_molecules": ("spots",),
    "unstained_cells": ("cells",),
    "composite_cells": ("nuclei", "cells"),
    "comet_assay": ("nuclei",),
    "wound_healing": ("cells", "gap_percent"),
    "mitotic_marker": ("mitotic",),
    "worms_bright_field": ("worms",),
    "ihc_nuclear": ("glands", "epithelial_nuclei", "stromal_nuclei"),
    "epithelium_clones": ("cells", "marked"),
    "worms_fluorescence": ("worms",),
    "agar_colonies": ("colonies",),
    "worms_stained": ("worms",),
    "colony_array": ("colonies",),
}


def numbers(caption: str) -> set[int]:
    """Every whole number of a caption, written as digits or as a word."""
    found = {int(digits) for digits in re.findall(r"(?<![\w.])\d+(?![\w]|\.\d)", caption)}
    return found | {_WORDS.index(w) for w in re.findall(r"[a-z]+", caption.lower()) if w in _WORDS}


@pytest.fixture(scope="module")
def pictures() -> dict[str, list[Picture]]:
    return {kind: [plan(11, [kind], index).draw() for index in (0, 3)] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_uint8_and_not_flat(pictures: dict[str, list[Picture]], kind: str) -> None:
    for picture in pictures[kind]:
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.ndim == 2 or picture.pixels.shape[2] == 3
        assert all(480 <= side <= 768 for side in picture.pixels.shape[:2])
        assert np.ptp(picture.pixels) > 25
        assert picture.jpeg_quality is None or 1 <= picture.jpeg_quality <= 95


@pytest.mark.parametrize("kind", KINDS)
def test_caption_states_the_counts_of_the_labels(pictures: dict[str, list[Picture]], kind: str) -> None:
    assert set(COUNTS) == set(KINDS)
    for picture in pictures[kind]:
        assert picture.labels["kind"] == kind
        for name in COUNTS[kind]:
            assert int(picture.labels[name]) in numbers(picture.caption), (name, picture.caption)


@pytest.mark.parametrize("kind", KINDS)
def test_caption_is_two_to_four_sentences(pictures: dict[str, list[Picture]], kind: str) -> None:
    for picture in pictures[kind]:
        sentences = re.split(r"(?<=[.])\s+(?=[A-Z0-9])", picture.caption)
        assert 2 <= len(sentences) <= 4, picture.caption
        assert picture.caption[0].isupper() or picture.caption[0].isdigit()
        assert picture.caption.endswith(".") and ".." not in picture.caption and "  " not in picture.caption
        assert "{" not in picture.caption


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_scalars_and_equal_the_masks(pictures: dict[str, list[Picture]], kind: str) -> None:
    for picture in pictures[kind]:
        assert all(isinstance(value, str | int | float | bool) for value in picture.labels.values())
        assert picture.masks
        for name, mask in picture.masks.items():
            assert mask.shape == picture.pixels.shape[:2]
            assert picture.labels[name] == np.count_nonzero(np.unique(mask)), (name, picture.caption)


@pytest.mark.parametrize("kind", ["agar_colonies", "colony_array", "unstained_cells"])
def test_objects_that_never_touch_are_as_many_as_connected_regions(kind: str) -> None:
    from skimage.measure import label

    name = "cells" if kind == "unstained_cells" else "colonies"
    for index in range(4):
        picture = plan(23, [kind], index).draw()
        assert label(picture.masks[name] > 0, connectivity=1).max() == picture.labels[name]


def test_marked_colonies_are_red_in_the_picture() -> None:
    shown = 0
    for index in range(8):
        picture = plan(5, ["colony_array"], index).draw()
        pink = picture.masks["pink"] > 0
        pale = (picture.masks["colonies"] > 0) & ~pink
        if not pink.any():
            continue
        red, green = picture.pixels[..., 0].astype(float), picture.pixels[..., 1].astype(float)
        assert (red - green)[pink].mean() > (red - green)[pale].mean() + 10
        shown += 1
    assert shown


def test_nuclei_are_brighter_than_their_surround_and_red_cells_darker() -> None:
    for index in range(4):
        nuclei = plan(7, ["dna_nuclei"], index).draw()
        grey = nuclei.pixels if nuclei.pixels.ndim == 2 else nuclei.pixels.max(axis=2)
        inside = nuclei.masks["nuclei"] > 0
        assert np.median(grey[inside]) > np.median(grey[~inside]) + 5
        smear = plan(7, ["blood_smear"], index).draw()
        red = (smear.masks["red_cells"] > 0) & (smear.masks["white_cells"] == 0)
        empty = ~red & (smear.masks["white_cells"] == 0)
        assert np.median(smear.pixels[red][:, 1]) < np.median(smear.pixels[empty][:, 1])


def test_wound_gap_is_emptier_than_the_fronts() -> None:
    for index in range(4):
        picture = plan(3, ["wound_healing"], index).draw()
        cells = picture.masks["cells"] > 0
        axis = 0 if "vertical" in picture.caption else 1
        profile = cells.mean(axis=axis)
        middle = profile[int(0.45 * profile.size) : int(0.55 * profile.size)].mean()
        assert middle < 0.5 * np.concatenate([profile[:40], profile[-40:]]).mean()


def test_pictures_of_one_slide_share_the_stain_and_the_field() -> None:
    first, second = (plan(0, ["he_tissue"], index) for index in (1, 2))
    assert first.subject_id == second.subject_id
    a, b = first.draw(), second.draw()
    assert a.pixels.shape == b.pixels.shape
    assert a.labels["stroma"] == b.labels["stroma"]
    assert not np.array_equal(a.pixels, b.pixels)


@pytest.mark.parametrize(("n", "clusters"), [(0, 0), (1, 2), (40, 0), (40, 3), (5000, 0)])
def test_scatter_keeps_its_distance_and_its_number(n: int, clusters: int) -> None:
    places = np.asarray(scatter(np.random.default_rng(1), (200, 300), n, 20.0, clusters=clusters)).reshape(-1, 2)
    assert len(places) <= n
    assert clusters or n > 100 or len(places) == n
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    assert not len(places) or apart.min() >= 20


def test_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="blood_smear"):
        painter("radiograph")
