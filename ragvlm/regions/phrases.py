"""Words -> a label of an index's regions: by name, by another name for it, or by the text tower; or none of them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from ragvlm.language.labels import label_words
from ragvlm.types import Float32

LEAST = 0.6  # cosine of the text tower below which words mean no label
CLEAR = 0.06  # by which the likest label must be ahead


def label_for(phrase: str, labels: Sequence[str], encode: Callable[[list[str]], Float32]) -> str | None:
    """The one of ``labels`` that ``phrase`` means, None where it means none or might mean several.

    ``encode`` gives unit vectors, float32 (n, dim), of texts; it is called where no name is equal.
    """
    asked = _plain(phrase)
    for label in labels:
        if asked in {_plain(label), _plain(label_words(label))}:
            return label
    if not asked or not labels:
        return None
    vectors = encode([phrase, *(label_words(label) for label in labels)])
    likeness = vectors[1:] @ vectors[0]
    order = np.argsort(-likeness, kind="stable")
    second = float(likeness[order[1]]) if len(order) > 1 else -1.0
    best = float(likeness[order[0]])
    return labels[int(order[0])] if best >= LEAST and best - second >= CLEAR else None


def same_words(one: str, other: str) -> bool:
    """Whether two labels mean the same by their names: "WBC" and "white_cells"."""
    return _plain(label_words(one)) == _plain(label_words(other))


def names_of(words: str) -> list[str]:
    """Singular and plural of all names of what ``words`` name: "white blood cell", "white blood cells", "wbc", ..."""
    plain = _plain(words)
    names = [plain, *(other for other, name in _same().items() if name == plain)]
    return list(dict.fromkeys(form for name in names for form in (name, name if name.endswith("i") else f"{name}s")))


def _plain(text: str) -> str:
    words = " ".join(text.replace("_", " ").lower().split())
    single = words[:-1] if words.endswith("s") and not words.endswith("ss") else words
    return _same().get(single, _same().get(words, single))


@cache
def _same() -> dict[str, str]:
    table = tomllib.loads(files("ragvlm").joinpath("data/regions.toml").read_text(encoding="utf-8"))["same"]
    return {other: name for name, others in table.items() for other in others}
