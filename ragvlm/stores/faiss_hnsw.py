"""A navigable graph over vectors of 8 bits a number: HNSW (Malkov and Yashunin 2018, arXiv:1603.09320) in FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np

from ragvlm.errors import require
from ragvlm.stores.approximate import FaissCandidates
from ragvlm.types import Float32

SAMPLE = 20_000


class FaissHnswStore(FaissCandidates):
    """HNSW over 8-bit scalar quantisation: ``dim`` + 8 ``m`` bytes a vector.

    ``m``: links of a vector (twice as many on the ground layer); ``ef_construction``: candidates for them. At search,
    ``ef`` is the width of the walk and ``refine`` the number of candidates that are scored exactly.
    """

    name = "faiss-hnsw"
    effort = "ef"
    kind = "IndexHNSWSQ"
    spare = 1.5

    def __init__(self, dim: int, m: int = 32, ef_construction: int = 40, ef: int = 64, refine: int = 20) -> None:
        self._m, self._ef_construction = m, ef_construction
        super().__init__(dim, {"ef": ef, "refine": refine})

    def outgrown(self, size: int) -> bool:
        """Never: a graph grows well."""
        return False

    def sample(self, size: int) -> int:
        """As many vectors as the range of each number is fitted to."""
        return min(size, SAMPLE)

    def _made(self, sample: Float32, size: int) -> Any:
        faiss = require("faiss", "faiss")
        index = faiss.IndexHNSWSQ(self.dim, faiss.ScalarQuantizer.QT_8bit, self._m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self._ef_construction
        index.train(sample if len(sample) else np.eye(1, self.dim, dtype=np.float32))
        return index

    def _parameters(self, depth: int, wide: bool) -> Any:
        # FAISS itself takes no less than depth
        ef = max(self.settings["ef"], depth if wide else 0)
        return require("faiss", "faiss").SearchParametersHNSW(efSearch=ef)
