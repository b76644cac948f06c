"""All classifiers that learn from an index, on plain colours: a contract suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import COLOURS, ColourEncoder, build, make_corpus, of

import ragvlm as rv
from ragvlm.classifiers import load_classifier
from ragvlm.classifiers.indexed import IndexClassifier
from ragvlm.classifiers.labelled import labelled
from ragvlm.classifiers.probe import Linear, fit_linear
from ragvlm.encoders.contrast import ContrastiveEncoder
from ragvlm.errors import InputError

NAMES = ("knn", "probe", "zero-shot")


class Comparing(ColourEncoder):
    """With a scale for its cosines, as CLIP has."""

    logit_scale, logit_bias, probability_rule = 10.0, None, "softmax"
    similarity_to_probabilities = ContrastiveEncoder.similarity_to_probabilities


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> rv.Index:
    root = tmp_path_factory.mktemp("colours")
    return build(make_corpus(root, 40), root / "index", Comparing())


def square(colour: str) -> Image.Image:
    return Image.new("RGB", (8, 8), COLOURS[colour])


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_names_colours(name: str, index: rv.Index) -> None:
    classifier = load_classifier(name, index=index, labels="colour")
    assert classifier.labels == tuple(sorted(COLOURS))
    rows = classifier.classify([square(colour) for colour in COLOURS])
    assert rows.shape == (4, 4)
    assert rows.dtype == np.float32
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert [classifier.labels[i] for i in rows.argmax(axis=1)] == list(COLOURS)
    assert classifier.classify([]).shape == (0, 4)
    found = rv.classify(square("red"), classifier=classifier)
    assert found.calibrated
    assert found.prediction_set is None
    assert found.to_dict()["index"]["column"].endswith("colour")
    assert found.to_json().startswith("{")
    assert "red" in found._repr_html_()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_again_gives_the_same(name: str, index: rv.Index) -> None:
    rows = [load_classifier(name, index=index, labels="colour").classify([square("blue")]) for _ in range(2)]
    assert (rows[0] == rows[1]).all()


@pytest.mark.parametrize("name", NAMES)
def test_sets_of_labels(name: str, index: rv.Index) -> None:
    classifier: Any = load_classifier(name, index=index, labels="colour", alpha=0.2)
    assert len(classifier.data) < 40
    held = {int(row) for row in index.image_rows} - {int(row) for row in classifier.data.rows}
    of_held = {index.records[row].subject_id for row in held}
    assert not of_held & {index.records[int(row)].subject_id for row in classifier.data.rows}
    found = rv.classify(square("green"), classifier=classifier)
    assert found.prediction_set is not None
    assert "green" in found.prediction_set
    assert found.set_words.startswith("at level .8: ")
    all_of_them = rv.classify(square("green"), "colour", classifier=name, index=index, alpha=0.01)
    assert all_of_them.prediction_set == classifier.labels  # six subjects can't promise 99 %


@pytest.mark.parametrize("name", NAMES)
def test_words_choose_the_classes_and_find_their_column(name: str, index: rv.Index) -> None:
    classifier: Any = load_classifier(name, index=index, labels=["blue", "red"])
    assert classifier.labels == ("blue", "red")
    assert classifier.column == "labels.colour"
    assert len(classifier.data) == 20


def test_what_is_not_calibrated_says_so(index: rv.Index) -> None:
    classifier = load_classifier("knn", index=index, labels="colour", calibrate=False, k=3)
    found = rv.classify(square("red"), classifier=classifier)
    assert not found.calibrated
    assert len(found.neighbours) == 3
    assert {hit.record.labels["colour"] for hit in found.neighbours} == {"red"}


def test_a_query_of_a_known_subject_is_judged_without_it(tmp_path: Path) -> None:
    """One subject alone is red: without it nothing is."""
    records = [
        replace(record, subject_id="own" if record.labels["colour"] == "red" else record.subject_id)
        for record in make_corpus(tmp_path, 40)
    ]
    index = build(of(tmp_path, records), tmp_path / "index", Comparing())
    for name in ("knn", "probe"):
        classifier = load_classifier(name, index=index, labels="colour", calibrate=False)
        strange, own = (
            rv.classify(rv.Query("q", square("red"), subject_id=subject), classifier=classifier)
            for subject in ("other", "own")
        )
        assert strange.top[0] == "red"
        assert own.top[0] != "red"
        assert dict(own.ranked)["red"] < 0.1
    knn = rv.classify(square("red"), "colour", classifier="knn", index=index, subject_id="own")
    assert not [hit for hit in knn.neighbours if hit.record.subject_id == "own"]


def test_temperatures_are_fitted_on_other_subjects(tmp_path: Path) -> None:
    """Labels that are the subject's alone: who looked at a picture's own subject would be right, and confident."""
    rng = np.random.default_rng(0)
    records = [replace(record, labels={"owner": str(rng.integers(2))}) for record in make_corpus(tmp_path, 40)]
    owners = {record.subject_id: record.labels for record in records}
    records = [replace(record, labels=owners[record.subject_id]) for record in records]
    index = build(of(tmp_path, records), tmp_path / "index", Comparing())
    classifier: IndexClassifier = load_classifier("knn", index=index, labels="owner", k=1)  # type: ignore[assignment]
    rows = classifier.classify([square(colour) for colour in COLOURS])
    assert rows.max() < 0.75


def test_pictures_with_equal_pixels_are_one_group(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, 12)
    records = [replace(record, subject_id=None) for record in corpus]
    twin = replace(records[0], id="twin")
    data = labelled(build(of(tmp_path, [*records, twin]), tmp_path / "index"), "colour")
    assert data.subjects == 12
    folds = data.folds(3, 0)
    assert len(set(folds[data.groups == data.groups[0]])) == 1


def test_the_probe_is_scikit_learns() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    for classes, dim in ((2, 5), (3, 5), (2, 60), (4, 60)):
        vectors, truth = rng.normal(size=(40, dim)).astype(np.float32), np.arange(40) % classes
        ours = fit_linear(vectors, truth, classes, 1.0)
        theirs = linear.LogisticRegression(C=1.0, max_iter=2000).fit(vectors, truth).predict_proba(vectors)
        plain = Linear(ours.weights, ours.bias, 10**9).probabilities(vectors)
        assert np.allclose(plain, theirs, atol=5e-3)


def test_a_label_that_was_never_seen_is_unlikely_not_impossible() -> None:
    model = fit_linear(np.eye(4, dtype=np.float32), np.array([0, 0, 2, 2]), 3, 1.0)
    rows = model.probabilities(np.eye(4, dtype=np.float32))
    assert (rows[:, 1] > 0).all()
    assert (rows.argmin(axis=1) == 1).all()
    only = fit_linear(np.eye(4, dtype=np.float32), np.ones(4, np.int64), 3, 1.0)
    assert (only.probabilities(np.eye(4, dtype=np.float32)).argmax(axis=1) == 1).all()


def test_what_cannot_be_is_one_line(index: rv.Index, tmp_path: Path) -> None:
    one = build(of(tmp_path, make_corpus(tmp_path, 4).records), tmp_path / "few")
    cases: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("knn", {"index": index, "labels": "stain"}, "no record bears 'stain': give one of its columns"),
        ("knn", {"index": index, "labels": ()}, "there are none"),
        ("knn", {"index": index, "labels": "modality"}, "'modality' is 'paint' in all records"),
        ("probe", {"index": one, "labels": "colour"}, "2 subjects have a label; 4 are needed"),
        ("knn", {"index": index, "labels": "colour", "k": 0}, "k is 0"),
        ("probe", {"index": index, "labels": "colour", "strength": 0.0}, "strength is 0"),
        ("knn", {"index": index, "labels": "colour", "alpha": 1.5}, "alpha is 1.5"),
        ("zero-shot", {"index": index, "labels": ["a", "b"], "alpha": 0.1}, "no record bears 'a', 'b'"),
        ("knn", {"labels": "colour"}, "give an index"),
    )
    for name, options, says in cases:
        with pytest.raises(InputError) as caught:
            load_classifier(name, **options)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


class Reader:
    """Answers with the label of the first reference that the prompt tells, and is far too sure."""

    name, pictures = "reader", 0

    def __init__(self) -> None:
        self.asked: list[str] = []

    def generate(self, prompts: Any) -> list[str]:
        return ["" for _ in prompts]

    def choose(self, prompts: Any, options: Any) -> list[tuple[str, float | None]]:
        self.asked += [prompt.user for prompt in prompts]
        return [(prompt.user.partition('[1] "')[2].partition(":")[0], 0.999) for prompt in prompts]


def test_a_generator_is_held_to_the_labels(index: rv.Index) -> None:
    reader: Any = Reader()
    classifier = load_classifier("generator", index=index, labels="colour", generator=reader)
    found = rv.classify(square("blue"), classifier=classifier)
    assert found.top == ("blue", pytest.approx(0.999))
    assert not found.calibrated
    assert sum(found.probabilities) == pytest.approx(1)
    assert len(found.neighbours) == 5
    assert "What is the colour of the new image?" in reader.asked[0]
    assert "Answer with one of: blue, green, grey, red." in reader.asked[0]
    assert found.provenance["generator"] == "reader"
    held: Any = load_classifier("generator", index=index, labels="colour", generator=reader, records=12, alpha=0.2)
    assert held.calibrated
    assert rv.classify(square("red"), classifier=held).prediction_set == ("red",)
    with pytest.raises(InputError, match="can't be held to answers"):
        load_classifier("generator", index=index, labels="colour", generator="consensus")
    unsure = classifier._shared("none of them", None)  # type: ignore[attr-defined]
    assert unsure == [0.25] * 4
