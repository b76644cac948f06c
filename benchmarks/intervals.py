"""How often do 95 % intervals hold what they promise, and how long do they take?

    python benchmarks/intervals.py

Scores are drawn, 5 items a subject, whose variance is the subjects' by half, normal or skewed (the sum of an
exponential of the subject and one of the item); the true mean is known. Coverage: the share of 1,000 drawn data sets
whose interval holds it. Size of the test: the share of 1,000 pairs of equal systems with p below 0.05. Seconds: 10,000
items of as many subjects.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.measures.base import Float64, Statistics
from ragvlm.statistics import interval, paired

RESULTS = Path(__file__).parent / "results" / "intervals.json"
SUBJECTS = (5, 10, 20, 50, 200)
EACH, SETS, RESAMPLES = 5, 1000, 1000
Draw = Callable[[np.random.Generator, int], Float64]


def _normal(rng: np.random.Generator, subjects: int) -> Float64:
    return np.asarray(rng.normal(size=(subjects, 1)) + rng.normal(size=(subjects, EACH)))


def _skewed(rng: np.random.Generator, subjects: int) -> Float64:
    return np.asarray(rng.exponential(size=(subjects, 1)) + rng.exponential(size=(subjects, EACH)) - 2)


def coverage(draw: Draw, subjects: int) -> dict[str, float]:
    """Shares of data sets: by subject, by item (wrong: it takes items for independent), and of p below 0.05."""
    rng = np.random.default_rng(subjects)
    names = [f"s{i // EACH}" for i in range(subjects * EACH)]
    items = [f"i{i}" for i in range(subjects * EACH)]
    held = naive = found = 0
    for run in range(SETS):
        scores = Statistics.of_scores(draw(rng, subjects).ravel())
        other = Statistics.of_scores(draw(rng, subjects).ravel())
        by_subject = interval(scores, names, resamples=RESAMPLES, seed=run % 7)
        by_item = interval(scores, items, resamples=RESAMPLES, seed=run % 7)
        held += by_subject.low <= 0 <= by_subject.high
        naive += by_item.low <= 0 <= by_item.high
        found += paired(scores, other, names, resamples=RESAMPLES, seed=run % 7).p < 0.05
    return {"by subject": held / SETS, "by item": naive / SETS, "p below 0.05": found / SETS}


def seconds() -> dict[str, float]:
    """CPU seconds of 10 measures on 10,000 items with 2,000 resamples each."""
    rng = np.random.default_rng(0)
    names = [f"s{i}" for i in range(10_000)]
    means = [Statistics.of_scores(rng.random(10_000)) for _ in range(20)]
    rows = rng.random((10_000, 10))
    sums = Statistics(rows, lambda chosen: float(chosen.sum(axis=0)[0] / chosen.sum()), additive=True)
    plain = Statistics(rows, sums.reduce)
    tasks: dict[str, Callable[[], Any]] = {
        "10 intervals of means": lambda: [interval(stats, names) for stats in means[:10]],
        "10 paired differences of means": lambda: [
            paired(a, b, names) for a, b in zip(means[:10], means[10:], strict=True)
        ],
        "1 interval of a measure of sums (10 columns)": lambda: interval(sums, names),
        "1 interval of another measure (10 columns)": lambda: interval(plain, names),
    }
    found = {}
    for name, task in tasks.items():
        start = time.process_time()
        task()
        found[name] = round(time.process_time() - start, 2)
    return found


if __name__ == "__main__":
    result = {
        "command": "python benchmarks/intervals.py",
        "data sets": SETS,
        "resamples": RESAMPLES,
        "normal": {n: coverage(_normal, n) for n in SUBJECTS},
        "skewed": {n: coverage(_skewed, n) for n in SUBJECTS},
        "CPU seconds, 10,000 items, 2,000 resamples": seconds(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
