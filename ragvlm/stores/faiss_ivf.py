"""Inverted lists of one-bit codes: IVF with RaBitQ (Gao and Long 2024, doi 10.1145/3654970) in FAISS's FastScan."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ragvlm.errors import InputError, require
from ragvlm.stores.approximate import FaissCandidates
from ragvlm.types import Float32

POINTS = 39  # vectors a list below which FAISS's k-means is ill-founded


class FaissIvfStore(FaissCandidates):
    """IVF over 1-bit RaBitQ codes: ``dim`` / 8 and some 20 bytes a vector.

    ``nlist``: number of lists, 0 for about 4 sqrt(n) as a power of two. At search, ``nprobe`` is the number of lists
    that are looked through and ``refine`` the number of candidates that are scored exactly.
    """

    name = "faiss-ivf"
    effort = "nprobe"
    kind = "IndexIVFRaBitQFastScan"
    spare = 4.0

    def __init__(self, dim: int, nlist: int = 0, nprobe: int = 16, refine: int = 100) -> None:
        if nlist < 0:
            raise InputError(f"store {self.name!r}: nlist is {nlist}: give a whole number above 0, or 0")
        self._nlist = nlist
        super().__init__(dim, {"nprobe": nprobe, "refine": refine})

    def outgrown(self, size: int) -> bool:
        """Whether the lists have become twice as long as they would be in a new store."""
        return not self._nlist and self.slots > 0 and self._index.nlist * 2 < self._lists(size)

    def sample(self, size: int) -> int:
        """As many vectors as k-means needs for the lists of ``size`` vectors."""
        return min(size, POINTS * self._lists(size))

    def _lists(self, size: int) -> int:
        wanted = self._nlist or 2 ** round(math.log2(4 * math.sqrt(max(size, 1))))
        return max(1, min(wanted, size // POINTS))

    def _made(self, sample: Float32, size: int) -> Any:
        faiss = require("faiss", "faiss")
        lists = max(1, min(self._lists(size), len(sample) // POINTS))
        quantizer = faiss.IndexFlatIP(self.dim)
        index = faiss.IndexIVFRaBitQFastScan(quantizer, self.dim, lists, faiss.METRIC_INNER_PRODUCT)
        index.own_fields = True  # the quantizer is the index's now, not Python's
        quantizer.this.disown()
        index.train(sample if len(sample) else np.eye(1, self.dim, dtype=np.float32))
        return index

    def _parameters(self, depth: int, wide: bool) -> Any:
        # a wide look takes the share of the lists that holds depth vectors twice over
        share = math.ceil(2 * depth / max(self.slots, 1) * self._index.nlist) if wide else 0
        nprobe = min(max(self.settings["nprobe"], share), self._index.nlist)
        return require("faiss", "faiss").IVFSearchParameters(nprobe=nprobe)
