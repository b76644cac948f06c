"""Weights: what the corpus' own records find among each other, held out by subject, and searches that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import COLOURS, ColourEncoder, build, of, paint

from ragvlm.errors import InputError
from ragvlm.index import Index
from ragvlm.modalities.regions import describe_mask
from ragvlm.modalities.weighing import Weights, shares
from ragvlm.types import Query, Record
from ragvlm.weights import cross_validated, learn, simplex, trial


def square(left: int) -> np.ndarray:
    mask = np.zeros((24, 24), np.uint8)
    mask[8:14, left : left + 6] = 1
    return mask


def make_index(root: Path, *, telling: bool, n: int = 48) -> Index:
    """Pictures whose colour says nothing of the caption; ``stain`` does where it is ``telling``, and so do regions."""
    rng = np.random.default_rng(0)
    names = list(COLOURS)[:3]
    records = []
    for i in range(n):
        said = names[i % 3]
        paint(root / f"p{i:02d}.png", tuple(int(v) for v in rng.integers(20, 250, 3)))
        told = said if telling else names[int(rng.integers(3))]
        records.append(
            Record(
                id=f"r{i:02d}",
                image=f"p{i:02d}.png",
                caption=f"{said} {said} {said}",
                subject_id=f"s{i // 2}",
                labels={"stain": told},
                extra={"regions": describe_mask(square(6 * names.index(told)))},
            )
        )
    return build(of(root, records), root / "index", store="numpy")


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return make_index(tmp_path_factory.mktemp("telling"), telling=True)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return make_index(tmp_path_factory.mktemp("silent"), telling=False)


def test_metadata_that_tells_gets_the_weight(telling: Index) -> None:
    found = learn(telling)
    assert found["helps"]
    assert found["weights"].get("metadata", 0) + found["weights"].get("regions", 0) >= 0.5
    assert found["held_out"] > found["image_only"] + 0.1
    assert found["held_out_gain"]["low"] > 0
    assert (found["records"], found["subjects"], found["objective"]) == (48, 24, "caption")
    assert Index.open(telling.path).manifest.calibration["fusion"] == telling.manifest.calibration["fusion"]


def test_what_tells_nothing_leaves_the_pictures_alone(silent: Index) -> None:
    found = cross_validated(trial(silent))
    assert not found["helps"]
    assert found["weights"] == {"image": 1.0}


def test_nobody_is_evidence_for_its_own_subject(telling: Index) -> None:
    found = trial(telling)
    subjects = np.array(found.subjects)
    assert not found.eligible[subjects[:, None] == subjects[None, :]].any()
    assert found.eligible.sum() == 48 * 46


def test_a_label_as_objective_is_no_metadata(telling: Index) -> None:
    found = trial(telling, "stain")
    assert "metadata" not in found.shares
    assert set(np.unique(found.gain)) == {0, 1}
    assert found.score({"regions": 1.0}).tolist() == [1.0] * 48


def test_scores_are_mean_gains_of_the_top_five(telling: Index) -> None:
    found = trial(telling)
    scores = found.score({"image": 1.0})
    for row in (0, 17):
        order = [i for i in np.argsort(-found.shares["image"][row]) if found.eligible[row, i]]
        assert scores[row] == pytest.approx(found.gain[row, order[:5]].mean())


def test_too_small_a_corpus_is_told(tmp_path: Path, telling: Index) -> None:
    with pytest.raises(InputError, match="weights are learned from 20 on"):
        learn(make_index(tmp_path, telling=True, n=24))
    with pytest.raises(InputError, match="has 0 records with 'organ'"):
        learn(telling, "organ")


def test_weights_are_on_a_grid_that_adds_up_to_one() -> None:
    grid = simplex(["image", "caption", "metadata"])
    assert len(grid) == 66
    assert all(sum(weights.values()) == pytest.approx(1) for weights in grid)
    assert grid[0] == {"image": 1.0, "caption": 0.0, "metadata": 0.0}


def search(index: Index, **options: Any) -> list[str]:
    query = Query(id="q", image=None, text=None)
    hits = index.search(options.pop("query", query), k=6, fusion="learned", exclude_subject=False, **options)
    return [hit.record.labels["stain"] for hit in hits]


def test_a_search_uses_what_the_query_has(telling: Index, tmp_path: Path) -> None:
    learn(telling)
    paint(tmp_path / "q.png", (130, 130, 130))
    alone = search(telling, query=str(tmp_path / "q.png"), weights={"image": 1})
    plain = telling.search(str(tmp_path / "q.png"), k=6, mode="image", exclude_subject=False)
    assert alone == [hit.record.labels["stain"] for hit in plain]
    assert search(telling, query=str(tmp_path / "q.png"), metadata={"stain": "blue"}) == ["blue"] * 6
    by_regions = {"image": 1, "regions": 9}
    assert search(telling, query=str(tmp_path / "q.png"), regions=square(6), weights=by_regions) == ["green"] * 6
    assert search(telling, metadata={"stain": "red"}) == ["red"] * 6
    blue = search(telling, query=str(tmp_path / "q.png"), metadata={"stain": "red"}, where={"stain": "blue"})
    assert blue == ["blue"] * 6


def test_scores_are_weighted_shares(telling: Index, tmp_path: Path) -> None:
    learn(telling)
    paint(tmp_path / "q.png", (250, 20, 20))
    asked = {"image": 1.0, "metadata": 3.0}
    (hit,) = telling.search(
        str(tmp_path / "q.png"), k=1, fusion="learned", weights=asked, metadata={"stain": "red"}, exclude_subject=False
    )
    scales = telling.manifest.calibration["fusion"]["scales"]
    vector = ColourEncoder().encode_images([Query(id="", image=_image(tmp_path / "q.png")).image])[0]
    row = [record.id for record in telling.records].index(hit.record.id)
    cosine = telling.image_embeddings([row])[0] @ vector
    parts = [
        shares(np.array([value], np.float32), (scales[name]["mean"], scales[name]["sd"]))[0]
        for name, value in (("image", cosine), ("metadata", 1.0))
    ]
    assert hit.score == pytest.approx((parts[0] + 3 * parts[1]) / 4, abs=1e-4)


def _image(path: Path) -> Any:
    from ragvlm.images import open_image

    return open_image(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metadata": {"sex": "f"}}, "no column 'sex'"),
        ({"metadata": {"stain": "red"}, "weights": {"sound": 1}}, "has no modality 'sound' to weigh"),
        ({"metadata": {"stain": "red"}, "weights": {"metadata": -1}}, "metadata is -1"),
        ({"metadata": {"stain": "red"}, "weights": {"metadata": 0}}, "all are 0"),
        ({"metadata": {"stain": "red"}, "weights": {"image": 1}}, "nothing that weighs"),
    ],
)
def test_wrong_weights_and_metadata_are_told(telling: Index, options: dict[str, Any], message: str) -> None:
    learn(telling)
    with pytest.raises(InputError, match=message):
        search(telling, **options)


def test_an_index_without_weights_says_how_to_learn_them(silent: Index) -> None:
    with pytest.raises(InputError, match="has no learned weights, or was changed since: learn them with: ragvlm fuse"):
        search(silent, metadata={"stain": "red"})


def test_shares_are_those_of_a_normal_distribution() -> None:
    found = shares(np.array([0.5, 0.6, 0.4, np.nan, 9], np.float32), (0.5, 0.1))
    assert found.tolist() == pytest.approx([0.5, 0.8413, 0.1587, 0, 1], abs=1e-3)


def test_weights_that_are_given_come_before_those_learned() -> None:
    known = {"weights": {"image": 1.0}, "scales": {"image": {"mean": 0, "sd": 1}, "metadata": {"mean": 0, "sd": 1}}}
    assert Weights.of(known, {}).weights == {"image": 1.0}
    assert Weights.of(known, {"metadata": 2}).weights == {"metadata": 2}
