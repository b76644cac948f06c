"""Which store serves how many vectors; the bounds are choices, argued in docs/search.md."""

from __future__ import annotations

from ragvlm.registry import find

AUTO = "auto"
EXACT_TO = 20_000  # looking at all is fast enough, and always right
APPROXIMATE = frozenset({"faiss-hnsw", "faiss-ivf"})
GRAPH_TO = 400_000  # beyond, a graph takes long to build and much memory


def chosen(name: str, size: int) -> str:
    """The store that ``name`` stands for with ``size`` vectors: itself, unless it is "auto"."""
    if name != AUTO:
        return name
    if find("stores", "faiss").missing:
        return "numpy"
    return "faiss" if size <= EXACT_TO else "faiss-hnsw" if size <= GRAPH_TO else "faiss-ivf"
