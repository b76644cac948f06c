"""Zero-shot classification whose probabilities are calibrated on the labelled records of an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ragvlm.classifiers.indexed import IndexClassifier, Judgement
from ragvlm.classifiers.labelled import Labelled, NoLabelsError
from ragvlm.classifiers.zero_shot import ZeroShotClassifier
from ragvlm.errors import InputError
from ragvlm.index import Index
from ragvlm.labelsets import LabelSet, as_label_set
from ragvlm.types import Classifier, Float32, Int64, Query


class IndexZeroShotClassifier(IndexClassifier):
    """ZeroShotClassifier with the encoder of ``index``, by the rule "softmax": one of the labels is the right one.

    The records teach it nothing but the temperature and, with ``alpha``, the threshold of prediction sets. ``labels``
    and ``templates`` are those of ZeroShotClassifier, and must stand in the index. Raises what ZeroShotClassifier and
    IndexClassifier raise.
    """

    name = "zero-shot"

    def __init__(
        self,
        index: Index | str | Path,
        labels: str | Path | Sequence[str] | LabelSet,
        *,
        templates: str | Sequence[str] | None = None,
        alpha: float | None = None,
        calibrate: bool = True,
        seed: int = 0,
    ) -> None:
        self.templates, self.asked = templates, labels
        super().__init__(index, labels, alpha=alpha, calibrate=calibrate, seed=seed)

    @property
    def provenance(self) -> dict[str, Any]:
        """Of both parents."""
        return super().provenance | self._model.provenance

    def _fit(self) -> None:
        words = as_label_set(self.asked, self.templates)
        if words.names != self.labels:  # a column was named: its values are the labels
            words = replace(as_label_set(list(self.labels)), templates=words.templates)
        self._model = ZeroShotClassifier(words, encoder=self.index.encoder, rule="softmax")

    def _crossed(self) -> tuple[Float32, Int64]:
        return self._of(self.data), self.data.truth

    def _of(self, others: Labelled) -> Float32:
        return self._model.of_vectors(others.vectors)

    def _judge(self, queries: Sequence[Query]) -> list[Judgement]:
        return [Judgement(row) for row in self._model.of_vectors(self.encoded(queries))]


def zero_shot(index: Index | str | Path, labels: Any = (), **options: Any) -> Classifier:
    """Calibrated where the records of ``index`` bear the labels, plain with its encoder where they don't.

    Raises InputError where prediction sets (``alpha``) are asked of labels that no record bears.
    """
    opened = (
        index if isinstance(index, Index) else Index.open(index, encoder_options=options.pop("encoder_options", None))
    )
    options.pop("encoder_options", None)
    if "encoder" in options:
        raise InputError("give an encoder or an index, not both: an index brings its own encoder")
    if options.get("rule") != "sigmoid":
        try:
            return IndexZeroShotClassifier(opened, labels, **{k: v for k, v in options.items() if k != "rule"})
        except NoLabelsError:
            if "alpha" in options:
                raise
    options = {name: value for name, value in options.items() if name in ("templates", "rule")}
    return cast("Classifier", ZeroShotClassifier(labels, encoder=opened.encoder, **options))
