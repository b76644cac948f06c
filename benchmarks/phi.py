"""How well identifiers of persons are found in the made-up reports of tests/data/phi, and in what is no report at all.

    python benchmarks/phi.py [--presidio spacy_model_package] [metadata.jsonl ...]

With ``--presidio`` the same reports are read by presidio-analyzer with a spaCy model that a package brings: neither is
a dependency of ragvlm, so install them into an environment of their own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import phireports  # noqa: E402

from ragvlm import phi  # noqa: E402


def reports() -> None:
    for name in ("tuned.txt", "heldout.txt"):
        score = phireports.score(phireports.lines(name))
        right = score.found / (score.found + score.false)
        print(f"{name}: recall {score.found}/{score.marked} = {score.found / score.marked:.3f}, precision {right:.3f}, "
              f"{score.changed} of {score.clean} lines without identifiers changed")  # fmt: skip
        print(f"  missed {score.missed}\n  wrong {score.wrong}")


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def corpus(path: Path) -> None:
    found: Counter[str] = Counter()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    all_texts = [text for row in rows for text in texts(row)]
    started = time.process_time()
    for text in all_texts:
        found.update(phi.redact(text)[1])
    each = (time.process_time() - started) / len(all_texts) * 1e6
    print(f"{path}: {len(all_texts)} texts, found {dict(found)}, {each:.0f} us of CPU a text")


def presidio(model: str) -> None:
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine()
    engine.nlp = {"en": importlib.import_module(model).load()}
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])

    def find(text: str) -> list[phi.Finding]:
        return [phi.Finding(f.entity_type, f.start, f.end) for f in analyzer.analyze(text, language="en")]

    phi.find = find
    reports()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metadata", nargs="*", type=Path)
    parser.add_argument("--presidio", metavar="MODEL")
    arguments = parser.parse_args()
    reports()
    for path in arguments.metadata:
        corpus(path)
    if arguments.presidio:
        presidio(arguments.presidio)
