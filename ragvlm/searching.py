"""What a search may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ragvlm.errors import InputError
from ragvlm.filters import Filter

MODES = ("auto", "image", "text", "fused")
FUSIONS = ("rrf", "score", "learned")
DUPLICATES = ("report", "exclude", "off")
SLICES = ("best", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How to search; every field can be given to ``Index.search``, ``Describer`` and the command alike.

    mode: which ranking ("auto": pictures rank pictures, words rank captions, both together are fused).
    fusion: "rrf" (reciprocal rank) or "score" (mean of the two similarities, each on the scale
    of the corpus' own), "learned" (all that the query has, metadata and regions too, by the weights that
    ``ragvlm.weights`` found, or by ``weights``: a mapping from "image", "caption", "metadata" and "regions").
    duplicates: what becomes of references that show the query's own picture: "report" marks them in
    ``Hit.duplicate``, "exclude" leaves them out, "off" doesn't look.
    exclude_subject: leave out references of the query's own subject, before the cut to k.
    exclude_ids: ids of records to leave out. diversity: 0 ranks by similarity alone, towards 1 by difference
    from what stands above (maximal marginal relevance, Carbonell and Goldstein 1998, doi 10.1145/290941.291025).
    with_text: keep only references that have a caption or labels. slices: "best" lets a volume be found once, as a
    whole or by its nearest slice; "all" finds all its slices. where: keep only references that a ``Filter``
    allows; a mapping such as {"stain": "DAPI", "nuclei": {2, 3}} or words such as ["stain=DAPI"] become one in ``of``.
    """

    mode: str = "auto"
    fusion: str = "rrf"
    duplicates: str = "report"
    exclude_subject: bool = True
    exclude_ids: frozenset[str] = frozenset()
    diversity: float = 0.0
    with_text: bool = False
    slices: str = "best"
    where: Filter = field(default_factory=Filter)
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, **options: Any) -> SearchOptions:
        """The options by name. Raises InputError for a name that is none."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise InputError(f"there is no option {name!r}: choose among {', '.join(known)}")
        return cls(**options | {"where": Filter.of(options.get("where"))})

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON types."""
        return asdict(self) | {"exclude_ids": sorted(self.exclude_ids), "where": self.where.to_dict()}

    def __post_init__(self) -> None:
        for name, known in (("mode", MODES), ("fusion", FUSIONS), ("duplicates", DUPLICATES), ("slices", SLICES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} {getattr(self, name)!r} is unknown: choose one of {', '.join(known)}")
        if not 0 <= self.diversity < 1:
            raise InputError(f"diversity is {self.diversity}: choose a number from 0 to below 1")
