"""Makes coco_scores.json: captions and what pycocoevalcap, which needs Java, scores them.

Run once; tests only read the file. Two steps, since the two programs need not live in one environment:

    python tests/measures/data/make_coco_scores.py texts     where ragvlm[simulate] is installed
    python tests/measures/data/make_coco_scores.py scores    where pycocoevalcap 1.2 and a Java runtime are installed

The texts are captions of simulated micrographs, altered copies of them, and lines written for this file.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PATH = Path(__file__).with_name("coco_scores.json")
COMMAND = "python tests/measures/data/make_coco_scores.py scores"
SWAPS = (
    ("bright", "shining"),
    ("picture", "image"),
    ("cells", "cell bodies"),
    ("small", "tiny"),
    ("nuclei", "nucleus"),
    ("shows", "displays"),
    ("several", "many"),
    ("left", "right"),
    ("upper", "lower"),
    ("with", "without"),
    (" two ", " three "),
    ("stained", "labelled"),
    ("crowded", "dense"),
)
# prediction, references: what the rules of tokens are about, and what is hard to score
BY_HAND: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Nuclei.", ("A few nuclei.", "Bright nuclei on a dark field")),
    ("red cells", ("Red cells and one white cell.",)),
    (
        "one white blood cell",
        ("A single white blood cell among 19 red blood cells.", "One leukocyte, many erythrocytes."),
    ),
    ("There are 12 nuclei.", ("There are 12 nuclei.",)),
    ("There are 12 nuclei.", ("No nuclei are visible here.",)),
    ("Worms", ("Agar plate with 1,200 colonies.",)),
    (
        "The cells' nuclei (DAPI) aren't round; it's the cell's edge that can't be seen.",
        ("The nuclei (DAPI) are not round, and the edge of the cell cannot be seen.",),
    ),
    ("A 12.5 um bar, 0.5-um beads at 40x and 3/4 of the field.", ("Beads of 0.5 µm at 40x; the bar is 12.5 µm.",)),
    (
        "H&E-stained tissue, approx. 5-10 glands, e.g. a crypt.",
        ("H&E stained tissue with about 5-10 glands (e.g. crypts).",),
    ),
    (
        "C. elegans in a 24-well plate, i.e. twelve worms.",
        ("Twelve C. elegans worms in a 24-well plate.", "C. elegans, 12 adults."),
    ),
    ("Ki-67-positive nuclei: 14 of 40 (35%).", ("Of 40 nuclei, 14 (35 %) are Ki-67 positive.",)),
    ('A so-called "comet" with a tail of 5–10 µm — no damage elsewhere...', ("A comet whose tail is 5-10 um long.",)),
    ("Colonies, colonies, colonies and colonies", ("Sixteen colonies in a grid.", "A 4x4 grid of colonies.")),
    ("a a a a a a a a a a", ("A dish of agar with a colony.",)),
    # before a caption with "The": after any other word Stanford's tokenizer takes "h." for an abbreviation
    (
        "Phase contrast of cells at 37°C, 5 % CO2, after 24 h.",
        ("Phase-contrast picture of cells after 24 h at 37 °C.",),
    ),
    ("The grey centre is labelled in green colour.", ("The gray center is labeled in green color.",)),
    (
        "Wound edges are 200 um apart, left and right.",
        (
            "The edges of the wound lie 200 um apart.",
            "A scratch, 200 um wide.",
            "Two sheets of cells with a gap between.",
            "A gap in a cell layer.",
            "Wound of 200 um.",
        ),
    ),
    ("Cells!!", ("Cells?", "Cells.")),
    ("The stain is DAPI. The stain is DAPI. The stain is DAPI.", ("The stain is DAPI.",)),
    ("Membranes stained brown (DAB), score 3+; nuclei blue.", ("Brown membranes [3+] and blue nuclei.",)),
)


def texts(n: int = 64) -> list[dict[str, object]]:
    """``n`` predictions with one to five references from the simulator, and those by hand."""
    import numpy as np

    from ragvlm.simulate import KINDS, painter

    def caption(kind: str, slide: int, field: int) -> str:
        return painter(kind)(np.random.default_rng(slide), np.random.default_rng([slide, field])).caption

    rng, items = random.Random(20), []
    for i in range(n):
        kind, many = KINDS[i % len(KINDS)], 1 + i % 5
        drawn = [caption(kind, i // 3, field) for field in range(many + 1)]
        truth, others = drawn[0], drawn[1:]
        references = [truth, *(alter(truth, rng) if j % 2 else others[j] for j in range(many - 1))]
        prediction = [others[-1], alter(truth, rng), alter(others[-1], rng), shuffle(truth, rng)][i % 4]
        items.append({"id": f"sim{i:02}", "prediction": prediction, "references": references})
    hand = [{"id": f"hand{i:02}", "prediction": p, "references": list(r)} for i, (p, r) in enumerate(BY_HAND)]
    return items + hand


def alter(text: str, rng: random.Random) -> str:
    """``text`` with some words swapped and others left out."""
    for old, new in rng.sample(SWAPS, 6):
        text = text.replace(old, new)
    return " ".join(word for word in text.split() if rng.random() > 0.08)


def shuffle(text: str, rng: random.Random) -> str:
    """``text`` with its sentences in another order, without the last."""
    parts = [part.strip(" .") + "." for part in text.split(". ")]
    rng.shuffle(parts)
    return " ".join(parts[:-1] or parts)


def scores(items: list[dict[str, object]]) -> dict[str, object]:
    """What pycocoevalcap says of ``items``: the tokens, the scores of each item and of the corpus."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenize = PTBTokenizer().tokenize
    found = tokenize({item["id"]: [{"caption": item["prediction"]}] for item in items})
    truth = tokenize({item["id"]: [{"caption": text} for text in item["references"]] for item in items})
    corpus, per_item = {}, {}
    corpus_bleu, item_bleu = Bleu(4).compute_score(truth, found, verbose=0)
    for n in range(4):
        corpus[f"BLEU-{n + 1}"], per_item[f"BLEU-{n + 1}"] = corpus_bleu[n], list(map(float, item_bleu[n]))
    for name, scorer in (("METEOR", Meteor()), ("ROUGE_L", Rouge()), ("CIDEr-D", Cider())):
        value, each = scorer.compute_score(truth, found)
        corpus[name], per_item[name] = float(value), list(map(float, each))
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.splitlines()[0]
    return {
        "made_with": {
            "command": COMMAND,
            "pycocoevalcap": version("pycocoevalcap"),
            "java": java,
            "jars": ["stanford-corenlp-3.4.1.jar", "meteor-1.5.jar"],
            "python": sys.version.split()[0],
            "numpy": version("numpy"),
        },
        "corpus": {name: round(float(value), 8) for name, value in corpus.items()},
        "per_item": {name: [round(value, 8) for value in each] for name, each in per_item.items()},
        "tokens": {item["id"]: [found[item["id"]][0], *truth[item["id"]]] for item in items},
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["texts"]:
        PATH.write_text(json.dumps({"items": texts()}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    elif sys.argv[1:] == ["scores"]:
        known = json.loads(PATH.read_text(encoding="utf-8"))["items"]
        result = {**scores(known), "items": known}
        PATH.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        sys.exit(__doc__)
