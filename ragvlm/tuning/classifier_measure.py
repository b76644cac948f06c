"""What a trained classifier is worth on parts that it hasn't seen; what it was never taught counts as wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ragvlm.classifiers.calibrate import fit_temperature, log_loss, temper
from ragvlm.classifiers.calibration_file import Calibration
from ragvlm.evaluation.split import subject_of
from ragvlm.measures import measure
from ragvlm.measures.base import Item
from ragvlm.statistics import interval
from ragvlm.tuning.picture_items import Example
from ragvlm.types import Float32, Int64

MEASURES = ("accuracy", "macro F1", "ECE (15 bins)")


def figures(rows: Float32, examples: Sequence[Example], classes: Sequence[str]) -> dict[str, float]:
    """MEASURES of ``rows`` (n, len(classes)), accuracy with its 95 % limits by subject, and how many weren't known."""
    items = [
        Item(
            id=str(at),
            prediction=dict(zip(classes, row.tolist(), strict=True)),
            references=example.label,
            cluster=subject_of(example.record),
        )
        for at, (row, example) in enumerate(zip(rows, examples, strict=True))
    ]
    found: dict[str, float] = {"items": len(items), "unseen labels": sum(e.label not in classes for e in examples)}
    clusters = [str(item.cluster) for item in items]
    for name in MEASURES:
        one = interval(measure(name, "classify").statistics(items), clusters)
        found[name] = round(one.value, 4)
        if name == "accuracy" and one.low == one.low:
            found |= {"accuracy low": round(one.low, 4), "accuracy high": round(one.high, 4)}
    return found


def majority(train: Sequence[Example], examples: Sequence[Example]) -> float:
    """The accuracy of the commonest label of the training part."""
    most = Counter(example.label for example in train).most_common(1)[0][0]
    return round(float(np.mean([example.label == most for example in examples])), 4)


def calibration_of(
    checked: Float32, validation: Sequence[Example], tested: Float32, test: Sequence[Example], classes: Sequence[str]
) -> Calibration:
    """Temperature by the validation part, conformal scores by the test part; a label never seen has the score 1."""
    place = {name: at for at, name in enumerate(classes)}
    known = [at for at, example in enumerate(validation) if example.label in place]
    truth: Int64 = np.array([place[validation[at].label] for at in known], np.int64)
    temperature = fit_temperature(checked[known], truth) if known else 1.0
    final = temper(tested, temperature)
    scores = [
        1 - float(row[place[example.label]]) if example.label in place else 1.0
        for row, example in zip(final, test, strict=True)
    ]
    names = sorted({subject_of(example.record) for example in test})
    groups = [names.index(subject_of(example.record)) for example in test]
    before = log_loss(checked[known], truth) if known else 0.0
    after = log_loss(temper(checked[known], temperature), truth) if known else 0.0
    return Calibration(temperature, tuple(scores), tuple(groups), round(before, 4), round(after, 4))
