"""``ragvlm tune classifier``: ViT, ResNet and their like, ViLT on answers, or a probe on any encoder's vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.registry import entries
from ragvlm.tuning.card import Card
from ragvlm.tuning.classifier_frozen import DEPTH, PROBES, learn_frozen
from ragvlm.tuning.classifier_measure import calibration_of, figures, majority
from ragvlm.tuning.fit import FitResult, Progress, fit
from ragvlm.tuning.folder import Tuned, Work, training
from ragvlm.tuning.picture_items import Example, Learner, asked_examples, labelled_examples
from ragvlm.tuning.settings import TrainSettings
from ragvlm.tuning.split import Split, corpus_facts, labelled, questioned, split_by_subject
from ragvlm.types import Float32

DEFAULTS: dict[str, Any] = {"epochs": 5.0, "batch_size": 16, "lr": 5e-5, "warmup": 0.1, "weight_decay": 0.01}
TRAINED = ("full", "head")


@dataclass(frozen=True, slots=True)
class ClassifierData:
    """The examples of each part; ``classes`` are the labels of the training part."""

    corpus: Corpus
    split: Split
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]

    @classmethod
    def of(cls, corpus: Corpus, labels: str | None, validation: float, test: float, seed: int) -> ClassifierData:
        """``labels`` names the column; None: the answers to the records' questions.

        Raises InputError where the corpus has nothing to learn from.
        """
        records = questioned(corpus) if labels is None else labelled(corpus, labels)
        split = split_by_subject(records, name=corpus.name, validation=validation, test=test, seed=seed)
        parts = (split.train, split.validation, split.test)
        examples = [
            tuple(asked_examples(part) if labels is None else labelled_examples(part, labels)) for part in parts
        ]
        data = cls(corpus, split, *examples)
        what = "the answers" if labels is None else repr(labels)
        if len(data.classes) < 2:
            raise InputError(f"{corpus.name}: in the training part {what} have one value: give more subjects")
        if not any(example.label in data.classes for example in data.validation):
            raise InputError(f"{corpus.name}: no label of the validation part is one of the training part: give more")
        return data

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted({example.label for example in self.train}))


def tune_classifier(
    model: str,
    corpus: Corpus | str | Path,
    out: str | Path,
    labels: str | None = None,
    *,
    train: str = "full",
    k: int = DEPTH,
    settings: TrainSettings | None = None,
    columns: Mapping[str, str] | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    command: str | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Learn to tell ``labels`` (a label or column of the records) apart; the folder ``out`` is a classifier afterwards.

    Args:
        model: "vit", "resnet", "vilt", or a checkpoint of such a family (ORG/NAME or a folder), which gets a fresh head
            over the labels of the training part; or the name of an encoder, whose frozen vectors are probed. ViLT
            learns the answers to questions, takes no ``labels`` (or "answer"), and is a generator afterwards.
        train: "full" or "head" (all else is frozen) of a checkpoint; "linear" or "knn" of an encoder ("full" is
            "linear" there), ``k`` neighbours.
        settings: how long and how fast; default: five epochs, 16 pictures a step, learning rate 5e-5.
        validation, test: shares of the subjects. The temperature is fitted on the one, prediction sets on the other.

    Labels that the training part hasn't count as wrong. The same call after a kill goes on; after the end it gives what
    is there. Raises InputError for a corpus or a value that can't be, and MissingExtraError without ``ragvlm[tune]``.
    """
    settings = settings or TrainSettings(**DEFAULTS)
    kind, name = _kind(model)
    labels = None if kind == "vilt" and labels == "answer" else labels
    if (labels is None) != (kind == "vilt"):
        raise InputError("ViLT learns answers: leave labels out" if labels else "labels: name the column to learn")
    ways = PROBES if kind == "encoder" else TRAINED
    way = "linear" if kind == "encoder" and train == "full" else train
    if way not in ways:
        raise InputError(f"train {train!r}: give one of {', '.join(ways)}")
    loaded = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus, columns=columns)
    data = ClassifierData.of(loaded, labels, validation, test, settings.seed)
    shown = {"model": model, "labels": labels, "train": way, "validation": validation, "test": test}
    shown |= {"k": k, "seed": settings.seed} if kind == "encoder" else settings.identity()
    with training(out, {"tune": "classifier", **shown, "corpus": loaded.fingerprint}) as work:
        if work.tuned:
            return work.tuned
        if kind == "encoder":
            found, classes = learn_frozen(name, data, work, way, k, settings.seed, progress), data.classes
            return _finish(work, data, found.fitted, found.rows, classes, found.write, shown, "frozen", command)
        learner = Learner(name, data.classes, loaded, frozen=way == "head", seed=settings.seed)
        fitted = _fit(learner, data, work, settings, progress)
        rows = [learner.probabilities(part, settings.batch_size) for part in (data.validation, data.test)]
        plug_in = "vilt" if learner.asks else "image-classifier"
        return _finish(work, data, fitted, rows, learner.classes, learner.write, shown, plug_in, command)


def _kind(model: str) -> tuple[str, str]:
    """What ``model`` is: "vilt", "image" or "encoder", and the checkpoint or encoder to load."""
    from ragvlm.encoders import hub
    from ragvlm.tuning.picture_items import model_type

    if model == "vilt":
        return "vilt", str(entries("generators")["vilt"].model)
    if (known := entries("classifiers").get(model)) and known.model:
        return "image", str(known.model)
    if Path(model).is_dir() and (Path(model) / "config.json").is_file():
        return ("vilt" if model_type(Path(model)) == "vilt" else "image"), model
    if hub.is_hub_id(model) and not Path(model).exists():
        return ("vilt" if "vilt" in model.lower() else "image"), model
    return "encoder", model


def _fit(
    learner: Learner, data: ClassifierData, work: Work, settings: TrainSettings, progress: Progress | None
) -> FitResult:
    known = [example for example in data.validation if example.label in data.classes]
    return fit(
        learner.net,
        learner.items(data.train),
        learner.items(known),
        place=work.checkpoints,
        settings=settings,
        collate=learner.collate,
        progress=progress,
    )


def _finish(
    work: Work,
    data: ClassifierData,
    fitted: FitResult,
    rows: Sequence[Float32],
    classes: Sequence[str],
    write: Any,
    shown: Mapping[str, Any],
    plug_in: str,
    command: str | None,
) -> Tuned:
    parts = {"validation": (rows[0], data.validation), "test": (rows[1], data.test)}
    metrics = {
        part: {**figures(found, examples, classes), "accuracy of the commonest label": majority(data.train, examples)}
        for part, (found, examples) in parts.items()
        if examples
    }
    calibration = calibration_of(rows[0], data.validation, rows[1], data.test, classes)
    metrics["validation"] |= {
        "temperature": round(calibration.temperature, 4),
        "log loss": calibration.before,
        "log loss, calibrated": calibration.after,
    }

    def whole(folder: Path) -> None:
        write(folder)
        if plug_in != "vilt":
            calibration.write(folder)

    asks = plug_in == "vilt"
    records = [*data.split.train, *data.split.validation, *data.split.test]
    card = Card(
        kind="classifier",
        plug_in=plug_in,
        title=f"{shown['model']}, trained on {data.corpus.name} for {'answers' if asks else shown['labels']}",
        base={"name": shown["model"], "licence": _licence(str(shown["model"]))},
        data=corpus_facts(data.corpus, records, data.split),
        metrics=metrics,
        settings=shown,
        use="ragvlm describe PICTURE --index DIR --generator {folder} --question ..."
        if asks
        else "ragvlm classify PICTURE --labels {folder}",
        limits=LIMITS,
        command=command,
    )
    return work.finish(whole, card, fitted)


def _licence(model: str) -> str | None:
    known = [entries(kind).get(model) for kind in ("classifiers", "generators", "encoders")]
    return next((entry.licence for entry in known if entry and entry.licence), None)


LIMITS = (
    "It knows the labels of its training part and no other: what shows something else gets one of them too.",
    "Its temperature was fitted on the validation part, and its prediction sets rest on the test part, of this corpus.",
)
