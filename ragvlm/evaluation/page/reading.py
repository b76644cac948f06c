"""A run's folder as the report reads it: metrics.json, and what else is there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ragvlm.errors import InputError
from ragvlm.evaluation import folder as files
from ragvlm.evaluation.results import Results
from ragvlm.evaluation.suite import Suite, load_suite
from ragvlm.measures.base import Item
from ragvlm.measures.trec import read_qrels

HEADLINES: Mapping[str, tuple[str, ...]] = {
    "describe": ("ROUGE-L", r"METEOR.*", "CIDEr-D", "BLEU-4", "labels F1", "numbers F1"),
    "vqa": ("token F1", "Exact Match", "closed accuracy", r"token F1 \(open\)", "BLEU-1", r"METEOR.*"),
    "classify": ("accuracy", "balanced accuracy", "macro F1", "AUROC", "quadratic kappa", r"ECE \(.*"),
    "retrieve": (r"nDCG@\d+", r"mAP@\d+", r"Recall@\d+", r"Precision@\d+", r"MRR.*", r"hit@\d+"),
}
"""Patterns of the measures that are shown first and plotted, by task; the first that scores items ranks the cases."""
MOST_HEADLINES = 6


@dataclass(frozen=True)
class Run:
    """A finished run in ``folder``; every file but metrics.json may be missing, and is then empty here."""

    folder: Path
    results: Results

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Raises InputError where the run isn't finished."""
        return cls(folder, Results.open(folder))

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json."""
        return self.results.metrics

    @property
    def task(self) -> str:
        """The suite's task."""
        return str(self.metrics["task"])

    @cached_property
    def suite(self) -> Suite | None:
        """The suite that was run."""
        path = self.folder / files.SUITE
        return load_suite(path) if path.is_file() else None

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json."""
        return self._object(files.CONFIG)

    @cached_property
    def machine(self) -> dict[str, Any]:
        """machine.json."""
        return self._object(files.MACHINE)

    @cached_property
    def leakage(self) -> dict[str, Any]:
        """leakage.json."""
        return self._object(files.LEAKAGE)

    @cached_property
    def references(self) -> dict[str, dict[str, Any]]:
        """By id, what is right, in the order of the run."""
        return {row["id"]: row for row in self._rows(files.REFERENCES)}

    @cached_property
    def predictions(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By system and id."""
        return _by_system(self._rows(files.PREDICTIONS))

    @cached_property
    def strangers(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By system and id, what was said of foreign queries."""
        return _by_system(self._rows(files.FOREIGN))

    @cached_property
    def scores(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """By system and id, the item's score of each measure that has one."""
        found = _by_system(self._rows(files.SCORES))
        return {system: {name: row["scores"] for name, row in rows.items()} for system, rows in found.items()}

    @cached_property
    def neighbours(self) -> dict[str, list[tuple[str, float]]]:
        """By the id of a record asked about: ids and similarities of what was retrieved for its own picture."""
        rows = self._rows(files.NEIGHBOURS)
        return {row["id"]: [(hit[0], hit[1]) for hit in row["hits"]] for row in rows if row["picture"] == "own"}

    @cached_property
    def qrels(self) -> dict[str, dict[str, int]]:
        """By query, the gains of its documents; ids as they were before they were encoded for TREC."""
        path = self.folder / "qrels.txt"
        if not path.is_file():
            return {}
        return {unquote(q): {unquote(d): gain for d, gain in found.items()} for q, found in read_qrels(path).items()}

    def systems(self, *roles: str) -> list[str]:
        """Names of the systems of these roles, as they were run."""
        about = self.metrics["about"]
        return [name for name in self.metrics["systems"] if about[name]["role"] in roles]

    @property
    def lead(self) -> str:
        """The system that the report tells most of: the first that was asked for, else the first baseline."""
        return (self.systems("system") or list(self.metrics["systems"]))[0]

    @cached_property
    def measures(self) -> list[str]:
        """All measures, those of HEADLINES first."""
        known = list(self.metrics["systems"][self.lead])
        return [*self.headlines, *(name for name in known if name not in self.headlines)]

    @cached_property
    def headlines(self) -> list[str]:
        """The measures that are shown first."""
        systems = self.metrics["systems"]
        known = [name for name in systems[self.lead] if any(of[name]["value"] is not None for of in systems.values())]
        patterns = HEADLINES.get(self.task, ())
        # of one measure at several depths the deepest
        found = [n for pattern in patterns for n in [name for name in known if re.fullmatch(pattern, name)][-1:]]
        return (list(dict.fromkeys(found)) or known)[:MOST_HEADLINES]

    @cached_property
    def ranking(self) -> str | None:
        """The measure that tells good cases from bad ones; None where no measure scores single items."""
        scored = next(iter(self.scores.get(self.lead, {}).values()), {})
        return next((name for name in self.measures if name in scored), None)

    def items(self, system: str) -> list[Item]:
        """What ``system`` predicted, beside what is right; empty where the folder doesn't hold both."""
        said = self.predictions.get(system, {})
        rows = [row for name, row in self.references.items() if name in said]
        return [
            Item(row["id"], row["subject_id"], said[row["id"]]["prediction"], self.right(row), facts=_classes(row))
            for row in rows
        ]

    def right(self, row: Mapping[str, Any]) -> Any:
        """The references of an item: see ``ragvlm.measures.Item``."""
        return row["references"] if "references" in row else self.qrels.get(row["id"], {})

    def _object(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return files.read_json(path) if path.is_file() else {}

    def _rows(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        if not path.is_file():
            return []
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: can't be read; run the suite again with another --out") from error


def _classes(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a confusion matrix is ordered by, where the suite says it."""
    return {"classes": row["classes"]} if "classes" in row else {}


def answers(run: Run, system: str) -> bool:
    """Whether ``system`` can answer at all: a generator that writes from references alone can't without them."""
    return not str(run.metrics["about"][system]["note"]).startswith("not possible")


def _by_system(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["system"], {})[row["id"]] = row
    return found
