"""BERTScore by hand, against the package bert-score's frozen scores, and with a RoBERTa of random weights."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco import coco_items, items

from ragvlm.errors import InputError, RagvlmError
from ragvlm.measures import measure, statistics
from ragvlm.measures.bertscore import BertScore, _idf, _Model, _score, _Words

FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("data").joinpath("bert_scores.json").read_text())


def test_by_hand() -> None:
    # two words against three, in the plane: cosines 1, 0, 0.6 and 0, 1, 0.8
    mine = _Words(np.array([1, 2]), np.array([[1, 0], [0, 1]], dtype=np.float32))
    theirs = _Words(np.array([1, 2, 3]), np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32))
    precision, recall = 1.0, (1 + 1 + 0.8) / 3
    plain: defaultdict[int, float] = defaultdict(lambda: 1.0)
    assert _score(mine, theirs, plain) == pytest.approx((precision, recall, 2 * recall / (1 + recall)))
    # the third word weighs twice as much
    assert _score(mine, theirs, plain | {3: 2.0})[1] == pytest.approx((1 + 1 + 2 * 0.8) / 4)
    # no word counts
    assert _score(mine, theirs, {1: 0.0, 2: 0.0, 3: 0.0}) == (0, 0, 0)


def test_idf_by_hand() -> None:
    class Letters:
        def ids(self, texts: list[str]) -> list[list[int]]:
            return [[ord(c) for c in text] for text in texts]

    weights = _idf(Letters(), [("ab", "a"), ("aac",)])  # type: ignore[arg-type]
    assert weights[ord("a")] == 0  # in all of three: log(4 / 4)
    assert weights[ord("b")] == pytest.approx(math.log(4 / 2))
    assert weights[ord("z")] == pytest.approx(math.log(4))


@pytest.mark.parametrize("part", ["precision", "recall", "F1"])
@pytest.mark.parametrize(("weights", "idf"), [("plain", ""), ("idf", " (idf)")])
def test_agrees_with_bert_score(weights: str, idf: str, part: str) -> None:
    found = statistics(measure(f"BERTScore {part}{idf}"), coco_items()[::4])
    assert found.scores == pytest.approx(FROZEN[weights][part], abs=1e-5)


def test_scores_do_not_depend_on_what_else_is_scored() -> None:
    pairs = [("red cells", "red blood cells"), ("worms", "a long caption of many worms on a bright ground")]
    alone = [statistics(BertScore(), items(pair)).value for pair in pairs]
    assert statistics(BertScore(), items(*pairs)).scores == pytest.approx(alone, abs=1e-5)


def test_empty_texts_score_nothing() -> None:
    assert statistics(BertScore(), items(("", "red cells"))).value == 0
    assert math.isnan(statistics(BertScore(), []).value)


def test_the_name_tells_model_layer_weights_and_part() -> None:
    assert measure("bertscore") == BertScore()
    made = measure("BERTScore recall (idf) layer 3 [org/Name@v1]")
    assert made == BertScore(part="recall", idf=True, layer=3, model="org/Name@v1")
    assert made.name == "BERTScore recall (idf) layer 3 [org/Name@v1]"
    assert "all-MiniLM-L6-v2" in BertScore().source
    assert "without baseline rescaling" in BertScore().source


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa of two layers that reads 20 tokens, in a folder."""
    from tinyparts import tokenizer
    from transformers import RobertaConfig, RobertaModel

    folder = tmp_path_factory.mktemp("roberta")
    words = tokenizer("<s>", "<pad>", "</s>", cls="<s>", pad="<pad>", sep="</s>")
    words.save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = RobertaConfig(vocab_size=len(words), max_position_embeddings=22, pad_token_id=1, **sizes)
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def test_any_local_encoder_serves(roberta: Path) -> None:
    long = "red cells in a stained blood smear " * 9
    found = statistics(measure(f"BERTScore [{roberta}]"), items((long, long), ("red cells", "two white cells")))
    assert found.scores is not None
    assert found.scores[0] == pytest.approx(1, abs=1e-5)
    assert found.scores[1] < 0.999
    first = statistics(measure(f"BERTScore layer 1 [{roberta}]"), items(("red cells", "two white cells")))
    assert first.value != pytest.approx(found.scores[1], abs=1e-4)
    assert roberta.name in BertScore(model=str(roberta)).source


def test_a_model_that_cannot_serve_is_one_error(roberta: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"layer is 3: .* has layers 1 to 2"):
        statistics(BertScore(model=str(roberta), layer=3), items(("a", "b")))
    with pytest.raises(InputError, match="neither a folder nor a hub id"):
        statistics(BertScore(model="no such model"), items(("a", "b")))
    with pytest.raises(RagvlmError, match=r"holds no config\.json"):
        statistics(BertScore(model=str(tmp_path)), items(("a", "b")))


def test_the_encoder_is_loaded_once() -> None:
    assert _Model.load("embedded", None) is _Model.load("embedded", None)
