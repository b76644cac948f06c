"""How well sentences are tied to evidence: true support of rewordings, false support of flipped facts.

    python benchmarks/evidence.py CORPUS [CORPUS ...]

CORPUS is a folder with a ``metadata.jsonl`` whose lines have a ``caption``. One half of its distinct captions
calibrates the threshold, the other half is the test: each of its sentences is reworded by rule (should be supported
by its own caption), has one fact flipped (should not be), and is held against all other captions of the half (should
not be, where they don't contain it). Each is judged with the fact check and by the cosine alone at one threshold.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ragvlm.encoders import load_encoder
from ragvlm.evidence import EvidenceChecker
from ragvlm.language.facts import stem
from ragvlm.language.numbers import parse_number, spell
from ragvlm.language.sentences import bare, normalise, split_sentences
from ragvlm.threshold import calibrate_threshold
from ragvlm.types import Context, Hit, Query, Record

RESULTS = Path(__file__).parent / "results" / "evidence.json"
OTHER_SIDE = {
    a: b
    for x, y in (
        ("left", "right"),
        ("upper", "lower"),
        ("centre", "left"),
        ("anterior", "posterior"),
        ("medial", "lateral"),
        ("superior", "inferior"),
    )
    for a, b in ((x, y), (y, x))
}
NUMBER = re.compile(
    r"(?<![\w.,-])(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?![\w-]|[.,]\d)"
)


def announced(text: str, _: random.Random) -> str:
    return f"The image shows {text[:1].lower()}{text[1:]}"


def placed(text: str, _: random.Random) -> str:
    return f"{text.rstrip('.')} in this image."


def without_articles(text: str, _: random.Random) -> str:
    return re.sub(r"\b(?:the|a|an) ", "", text, flags=re.IGNORECASE)


def other_digits(text: str, _: random.Random) -> str:
    return NUMBER.sub(lambda m: spell(int(m[0])) if m[0].isdigit() else str(_value(m[0])), text)


def singular(text: str, _: random.Random) -> str:
    for match in re.finditer(r"\b[a-z]{4,}\b", text):
        counted = NUMBER.search(" ".join(text[: match.start()].split()[-4:]))
        if stem(match[0]) != match[0] and not counted:
            return text[: match.start()] + stem(match[0]) + text[match.end() :]
    return text


def number_changed(text: str, rng: random.Random) -> str:
    found = list(NUMBER.finditer(text))
    if not found:
        return text
    match = rng.choice(found)
    value = _value(match[0]) + rng.choice((1, 2, 3, 5))
    return text[: match.start()] + (str(value) if match[0].isdigit() else spell(value)) + text[match.end() :]


def side_flipped(text: str, _: random.Random) -> str:
    return re.sub(rf"\b(?:{'|'.join(OTHER_SIDE)})\b", lambda m: OTHER_SIDE[m[0]], text, count=1)


def negation_flipped(text: str, _: random.Random) -> str:
    for pattern, new in (
        (r"\bno\b", "two"),
        (r"\bwithout\b", "with"),
        (r"\b(is|are|lies)\b", r"\1 not"),
        (r"\bwith\b", "without"),
    ):
        if re.search(pattern, text):
            return re.sub(pattern, new, text, count=1)
    return text


REWORDINGS: list[Callable[[str, random.Random], str]] = [announced, placed, without_articles, other_digits, singular]
FLIPS: list[Callable[[str, random.Random], str]] = [number_changed, side_flipped, negation_flipped]


def _value(word: str) -> int:
    found = parse_number([word.lower()])
    return int(found[0]) if found else 0


def context_of(captions: list[str]) -> Context:
    hits = (Hit(Record(str(i), caption=caption), 1.0, i) for i, caption in enumerate(captions, 1))
    return Context(Query("test"), tuple(hits))


def share(yes: list[bool]) -> dict[str, Any]:
    return {"n": len(yes), "supported": sum(yes), "share": round(sum(yes) / len(yes), 4) if yes else None}


class Bench:
    """One corpus: its two halves, the threshold of the first, the trials on the second."""

    def __init__(self, captions: list[str], encoder: Any, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        distinct = sorted(set(captions))
        self.rng.shuffle(distinct)
        self.captions, half = len(distinct), len(distinct) // 2
        self.calibration = calibrate_threshold(distinct[:half], encoder)
        self.test = distinct[half:]
        self.checker = EvidenceChecker(encoder, self.calibration["threshold"])
        owners = {sentence: caption for caption in self.test for sentence in split_sentences(caption)}
        self.owners = dict(self.rng.sample(sorted(owners.items()), min(300, len(owners))))

    def run(self) -> dict[str, Any]:
        start = time.process_time()
        out: dict[str, Any] = {
            "captions": {"distinct": self.captions, "test": len(self.test)},
            "calibration": self.calibration,
        }
        out["reworded"] = {change.__name__: self.changed(change) for change in REWORDINGS}
        out["flipped"] = {change.__name__: self.changed(change) for change in FLIPS}
        out["other captions"] = self.others()
        return out | {"CPU seconds": round(time.process_time() - start, 1)}

    def changed(self, change: Callable[[str, random.Random], str]) -> dict[str, Any]:
        """Sentences changed by rule against their own captions; those that the rule leaves alone don't count."""
        pairs = [(change(sentence, self.rng), sentence, caption) for sentence, caption in self.owners.items()]
        pairs = [pair for pair in pairs if normalise(pair[0]) != normalise(pair[1])]
        if not pairs:
            return {"facts and cosine": share([]), "cosine alone": share([])}
        found = self.checker.check_many([text for text, _, _ in pairs], [context_of([own]) for _, _, own in pairs])
        return {
            "facts and cosine": share([all(item.supported for item in items) for items in found]),
            "cosine alone": share([self.similar(text, own) for text, _, own in pairs]),
        }

    def others(self) -> dict[str, Any]:
        """Sentences against the captions of the half that don't contain them."""
        kept, alone = [], []
        for sentence in self.owners:
            rest = [c for c in self.test if normalise(sentence) not in map(normalise, split_sentences(c))]
            kept.append(all(item.supported for item in self.checker.check(sentence, context_of(rest))))
            alone.append(any(self.similar(sentence, caption) for caption in rest))
        return {"facts and cosine": share(kept), "cosine alone": share(alone)}

    def similar(self, text: str, caption: str) -> bool:
        claim, *sentences = map(bare, [text, *split_sentences(caption)])
        self.checker.vectors.add([claim, *sentences])
        return max(self.checker.vectors.cosine(claim, sentence) for sentence in sentences) >= self.checker.threshold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", type=Path, metavar="CORPUS")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    encoder = load_encoder(args.encoder)
    found = {}
    for folder in args.corpora:
        lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        found[folder.name] = Bench([json.loads(line)["caption"] for line in lines], encoder).run()
        print(folder.name, json.dumps(found[folder.name], indent=2))
    result = {
        "command": "python benchmarks/evidence.py CORPUS ...",
        "encoder": args.encoder,
        "python": platform.python_version(),
        "corpora": found,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
