"""How far must an approximate store look to find the neighbours? Measured on the index's own vectors.

Half of the queries are stored vectors that leave themselves out, half are points between two of them, farther from
everything than a stored one is: a query from elsewhere lies between these two. A look at all vectors gives the truth.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.errors import InputError
from ragvlm.index.checks import check_segments
from ragvlm.index.lock import writing
from ragvlm.index.manifest import Manifest, read_manifest
from ragvlm.index.segments import EMBEDDINGS
from ragvlm.index.snapshot import read_snapshot
from ragvlm.stores.approximate import ApproximateStore
from ragvlm.stores.choice import APPROXIMATE, AUTO, EXACT_TO, chosen
from ragvlm.stores.exact import VectorSource, slack
from ragvlm.types import Float32, Int64

SIGMAS = 1.96  # of a normal distribution, which 95 % lie within
LADDER = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
DEEPER = (1, 2, 4, 8)  # times the candidates that a store scores by default
QUICK = 200  # queries of a tuning that nobody asked for
LOG = logging.getLogger(__name__)
GAIN = 0.001  # of recall, below which another step of three is not worth it


@dataclass(frozen=True, slots=True)
class Tuning:
    """What one store needs for a recall.

    ``recall`` at ``k`` is the mean over ``queries`` queries in ``vectors`` vectors, ``low`` to ``high`` its 95 %
    interval, ``off_recall`` that of the queries between stored vectors alone. ``ms`` is CPU milliseconds a query,
    ``exact_ms`` those of a look at all vectors. ``reached`` says whether ``low`` is at least ``goal``.
    """

    kind: str
    store: str
    settings: dict[str, int]
    goal: float
    k: int
    recall: float
    low: float
    high: float
    off_recall: float
    ms: float
    exact_ms: float
    queries: int
    vectors: int
    reached: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return (
            f"{self.kind}: {self.store} with {settings}: recall@{self.k} {self.recall:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}] on {self.queries} queries in {self.vectors} vectors, "
            f"{self.ms:.2f} ms a query" + ("" if self.reached else f"; {self.goal:g} is not reached")
        )


def tune_index(
    root: Path,
    *,
    recall: float = 0.99,
    k: int = 10,
    queries: int = 400,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tuning]:
    """Find the least effort at which each approximate store reaches ``recall`` at ``k``, and keep it in the manifest.

    It is reached where the lower end of its 95 % interval is; where nothing reaches it, the best is kept. ``progress``
    is called with the steps tried and all. Raises InputError for an index whose stores are all exact and for numbers
    out of range, StoreError where another process writes the index.
    """
    if not 0 < recall < 1 or k < 1 or queries < 20:
        raise InputError(
            f"recall {recall:g}, k {k}, queries {queries}: give a recall between 0 and 1, k >= 1, queries >= 20"
        )
    read_manifest(root)  # a lock would be left in a folder that is no index
    with writing(root):
        manifest = read_manifest(root)
        check_segments(root, manifest)
        state = read_snapshot(root, manifest, manifest.store)
        stores = [(kind, own.source, own.store) for kind, own in (("image", state.image), ("text", state.text))]
        found = [
            _tuned(kind, store, _Exam(source, k, queries, seed), recall, progress)
            for kind, source, store in stores
            if isinstance(store, ApproximateStore)
        ]
        if not found:
            raise InputError(
                f"index {root} is searched exactly, so that its recall is 1; an approximate store comes by: "
                f"ragvlm index {manifest.corpus_root} --out {root} --store faiss-hnsw"
            )
        manifest.committed(root, tuning={**manifest.tuning, **{item.kind: item.to_dict() for item in found}})
    return found


def tune_chosen(root: Path, manifest: Manifest, recall: float) -> Manifest:
    """``manifest`` with the stores that "auto" chose tuned, where they are approximate and never were, or have doubled.

    A goal that ``tune_index`` was once given is kept; ``recall`` is that of the others. What was found is logged.
    """
    goals = [
        manifest.tuning.get(item.kind, {}).get("goal", recall)
        for item in manifest.derived
        if item.kind in EMBEDDINGS
        and item.rows > EXACT_TO
        and chosen(manifest.store, item.rows) in APPROXIMATE
        and item.rows >= 2 * manifest.tuning.get(item.kind, {}).get("vectors", 0)
    ]
    if manifest.store != AUTO or not goals:
        return manifest
    for found in tune_index(root, recall=max(goals), queries=QUICK):
        LOG.info("%s", found)
        if not found.reached:
            LOG.info("these vectors are hard to search fast; --store faiss looks at all of them")
    return read_manifest(root)


class _Exam:
    """Queries with the similarity of each one's k-th true neighbour."""

    def __init__(self, source: VectorSource, k: int, n: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        size = len(source)
        own = rng.choice(size, min(n // 2, size), replace=False)
        ends, share = rng.integers(0, size, (2, n - n // 2)), rng.uniform(0.2, 0.8, (n - n // 2, 1))
        between = share * source.take(ends[0]) + (1 - share) * source.take(ends[1])
        norms = np.linalg.norm(between, axis=1, keepdims=True)
        between = (between / norms)[norms[:, 0] > 1e-3].astype(np.float32)  # opposite vectors have no middle
        self.vectors = np.concatenate([source.take(own), between])
        self.own: Int64 = np.concatenate([own, np.full(len(between), -1)])
        self.k, self.size = min(k, max(size - 1, 1)), size
        started = time.process_time()
        self.kth = self._truth(source)
        self.exact_ms = (time.process_time() - started) * 1000 / len(self.vectors)

    def recalls(self, store: ApproximateStore) -> tuple[Float32, float]:
        """The share of true neighbours that each query finds, float32 (n,), and CPU milliseconds a query."""
        started = time.process_time()
        found = [store.search(query[None], self.k + 1) for query in self.vectors]
        ms = (time.process_time() - started) * 1000 / len(found)
        scores = np.array([row[0][0] for row in found])
        stranger = np.array([row[1][0] for row in found]) != self.own[:, None]
        right = (scores >= self.kth[:, None] - slack(self.vectors.shape[1])) & stranger
        return (np.minimum(right.sum(axis=1), self.k) / self.k).astype(np.float32), ms

    def _truth(self, source: VectorSource) -> Float32:
        best = np.full((len(self.vectors), self.k), -2, np.float32)
        start = 0
        for rows in source.blocks():
            scores = self.vectors @ rows.T
            mine = (self.own >= start) & (self.own < start + len(rows))
            scores[mine, self.own[mine] - start] = -2  # not its own neighbour
            best = -np.partition(-np.concatenate([best, scores], axis=1), self.k - 1, axis=1)[:, : self.k]
            start += len(rows)
        kth: Float32 = best.min(axis=1)
        return kth


def _tuned(
    kind: str, store: ApproximateStore, exam: _Exam, goal: float, progress: Callable[[int, int], None] | None
) -> Tuning:
    """Effort rises until three steps bring nothing any more; then more candidates are scored."""
    tried: list[Tuning] = []
    refine = store.settings["refine"]
    for number, times in enumerate(DEEPER):
        reached: list[float] = []
        for step, effort in enumerate(LADDER, 1):
            store.set(**{store.effort: effort, "refine": refine * times})
            tried.append(_measured(kind, store, exam, goal))
            reached.append(tried[-1].recall)
            if progress:
                progress(number * len(LADDER) + step, len(LADDER) * len(DEEPER))
            if tried[-1].reached:
                return tried[-1]
            if len(reached) > 3 and reached[-1] - reached[-4] < GAIN:
                break
    return max(tried, key=lambda found: (found.recall, -found.ms))


def _measured(kind: str, store: ApproximateStore, exam: _Exam, goal: float) -> Tuning:
    shares, ms = exam.recalls(store)
    low, high = interval(shares, exam.k)
    return Tuning(
        kind=kind,
        store=store.name,
        settings=dict(store.settings),
        goal=goal,
        k=exam.k,
        recall=round(float(shares.mean()), 4),
        low=round(low, 4),
        high=round(high, 4),
        off_recall=round(float(shares[exam.own < 0].mean()), 4),
        ms=round(ms, 3),
        exact_ms=round(exam.exact_ms, 3),
        queries=len(shares),
        vectors=exam.size,
        reached=low >= goal,
    )


def interval(shares: Float32, k: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the mean of ``shares`` (n,), each of k neighbours (Wilson 1927, doi 10.2307/2276774).

    Neighbours of one query are found or missed together: they count as many independent ones as the variance between
    queries leaves, from n to n k (Korn and Graubard 1998, Survey Methodology 24).
    """
    n, mean = len(shares), float(shares.mean())
    variance = float(shares.var(ddof=1))
    size = np.clip(n * mean * (1 - mean) / variance, n, n * k) if variance > 0 else n * k
    centre = (mean + SIGMAS**2 / (2 * size)) / (1 + SIGMAS**2 / size)
    half = SIGMAS / (1 + SIGMAS**2 / size) * np.sqrt(mean * (1 - mean) / size + SIGMAS**2 / (4 * size**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
