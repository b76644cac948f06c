"""How often prediction sets hold the right label, on subjects that had no part in classifier, temperature or threshold.

    ragvlm corpus simulate corpora/demo --n 400 --seed 0 && ragvlm index corpora/demo --out indexes/demo
    python benchmarks/conformal.py indexes/demo kind

Each seed deals the subjects into four parts: two are learnt from, one sets the threshold, one is asked about. Coverage
is the mean over subjects, in which the promise is made.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.classifiers.calibrate import conformal_threshold, fit_temperature, prediction_sets, temper
from ragvlm.classifiers.knn import votes
from ragvlm.classifiers.labelled import Labelled, labelled
from ragvlm.classifiers.probe import cross_validated, fit_linear
from ragvlm.index import Index

ALPHAS, STRENGTH, K = (0.05, 0.1, 0.2), 1000.0, 10


def knn(data: Labelled, vectors: Any, asked: Any, train: Any, hidden: Any = None) -> Any:
    cosines = vectors[asked] @ vectors[train].T
    cosines = cosines if hidden is None else np.where(hidden, -np.inf, cosines)
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :K]
    return votes(np.take_along_axis(cosines, places, axis=1), data.truth[train][places], len(data.labels))


def judged(way: str, data: Labelled, vectors: Any, train: Any, asked: tuple[Any, ...], seed: int) -> list[Any]:
    """Calibrated probabilities of each of ``asked``."""
    truth, groups = data.truth[train], data.groups[train]
    if way == "knn":
        own = knn(data, vectors, train, train, groups[:, None] == groups[None, :])
        rows = [knn(data, vectors, part, train) for part in asked]
    else:
        own = cross_validated(data.part(train), vectors[train], STRENGTH, seed)
        model = fit_linear(vectors[train], truth, len(data.labels), STRENGTH)
        rows = [model.probabilities(vectors[part]) for part in asked]
    temperature = fit_temperature(own, truth)
    return [temper(part, temperature) for part in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("column")
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    data = labelled(Index.open(given.index), given.column)
    vectors = data.vectors
    for way in ("knn", "probe"):
        found: dict[float, list[tuple[float, float, float]]] = {alpha: [] for alpha in ALPHAS}
        for seed in range(given.seeds):
            folds = data.folds(4, seed)
            test, held, train = (np.flatnonzero(chosen) for chosen in (folds == 0, folds == 1, folds > 1))
            rows = judged(way, data, vectors, train, (held, test), seed)
            scores = 1 - rows[0][np.arange(len(held)), data.truth[held]].astype(np.float64)
            for alpha in ALPHAS:
                sets = prediction_sets(rows[1], conformal_threshold(scores, data.groups[held], alpha))
                hit = sets[np.arange(len(test)), data.truth[test]]
                covered = [hit[data.groups[test] == group].mean() for group in np.unique(data.groups[test])]
                size = sets.sum(axis=1)
                found[alpha].append((float(np.mean(covered)), float(size.mean()), float((size == 0).mean())))
        for alpha, each in found.items():
            coverage, size, empty = np.mean(each, axis=0).round(3).tolist()
            least = round(min(one[0] for one in each), 3)
            row = {"method": way, "alpha": alpha, "coverage": coverage, "least": least, "size": size, "empty": empty}
            print(json.dumps(row))


if __name__ == "__main__":
    main()
