"""Measures by their names. A module a family; this table says which names it makes."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ragvlm.errors import InputError
from ragvlm.measures.base import TASKS, Float64, Item, Measure, Progress, Statistics

__all__ = ["TASKS", "Float64", "Item", "Measure", "Progress", "Statistics", "measure", "measures", "statistics"]


@dataclass(frozen=True, slots=True)
class Family:
    """Names that one factory makes.

    ``pattern`` matches a whole name, upper or lower case; its named groups (digits become int) and ``options`` are the
    arguments of ``target``, "module:factory". ``shown`` is how a list of known names writes the family, ``defaults``
    the names that ``measures(task)`` gives.
    """

    task: str
    pattern: str
    target: str
    shown: str
    defaults: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, name: str) -> Measure | None:
        """The measure ``name``, or None where it isn't of this family."""
        match = re.fullmatch(self.pattern, name, flags=re.IGNORECASE)
        if match is None:
            return None
        module, _, factory = self.target.partition(":")
        found = {key: int(value) if value.isdigit() else value for key, value in match.groupdict().items() if value}
        made = getattr(importlib.import_module(module), factory)(**found, **self.options)
        return cast("Measure", made)


_TEXT = "ragvlm.measures.text:"
_PARTS = ("precision", "recall", "F1")
_FACTS = tuple(
    Family(
        "describe",
        f"{kind} {part}",
        "ragvlm.measures.facts:Agreement",
        f"{kind} precision|recall|F1",
        (f"{kind} {part}",) if kind in {"numbers", "laterality", "negation"} else (),
        {"kind": kind, "part": part},
    )
    for kind in ("numbers", "laterality", "negation", "places", "facts")
    for part in _PARTS
)
_LABELS = tuple(
    Family(
        "describe",
        f"labels {part}",
        "ragvlm.measures.labels:LabelAgreement",
        "labels precision|recall|F1",
        (f"labels {part}",),
        {"part": part},
    )
    for part in _PARTS
)
_MODULE = "ragvlm.measures."
_IOU = r"(?P<threshold>\d?\.\d+|1)"
_RANKED = Family(
    "retrieve",
    r"(?P<kind>mAP|Recall|Precision|nDCG|MRR|hit)(@(?P<k>\d+))?",
    f"{_MODULE}retrieval:retrieval",
    "mAP|nDCG|MRR, mAP|Recall|Precision|nDCG|MRR|hit@K",
    ("nDCG@10", "mAP@10", "MRR", "Recall@1", "Recall@5", "Recall@10", "Precision@5", "hit@1", "hit@5"),
)
_CLASSIFICATION = (
    Family(
        "classify",
        r"(?P<name>accuracy|balanced accuracy|(macro|weighted) (precision|recall|F1))",
        f"{_MODULE}classification:agreement",
        "accuracy, balanced accuracy, macro|weighted precision|recall|F1",
        ("accuracy", "balanced accuracy", "macro precision", "macro recall", "macro F1", "weighted F1"),
    ),
    Family(
        "classify",
        r"(?P<kind>AUROC|AUPRC)( \((?P<label>.+)\))?",
        f"{_MODULE}classification:area",
        "AUROC|AUPRC, AUROC|AUPRC (LABEL)",
        ("AUROC", "AUPRC"),
    ),
    Family("classify", "quadratic kappa", f"{_MODULE}classification:Kappa", "quadratic kappa", ("quadratic kappa",)),
    Family(
        "classify",
        r"ECE( \((?P<bins>\d+) bins\))?",
        f"{_MODULE}classification:CalibrationError",
        "ECE, ECE (N bins)",
        ("ECE (15 bins)",),
    ),
)
_ANSWERS = (
    Family("vqa", "Exact Match", f"{_MODULE}qa:ExactMatch", "Exact Match", ("Exact Match",)),
    Family("vqa", "token F1", f"{_MODULE}qa:TokenF1", "token F1", ("token F1",)),
    Family("vqa", "closed accuracy", f"{_MODULE}qa:ClosedAccuracy", "closed accuracy", ("closed accuracy",)),
    Family("vqa", r"BLEU-(?P<order>[1-4])", f"{_TEXT}Bleu", "BLEU-1..4", ("BLEU-1",), {"task": "vqa"}),
    Family(
        "vqa",
        r"METEOR \(exact, stem\)",
        f"{_TEXT}Meteor",
        "METEOR (exact, stem)",
        ("METEOR (exact, stem)",),
        {"task": "vqa"},
    ),
    Family(
        "vqa",
        r"METEOR \(exact, stem, synonym\)",
        f"{_TEXT}Meteor",
        "METEOR (exact, stem, synonym)",
        options={"task": "vqa", "synonyms": True},
    ),
    Family("vqa", r"(?P<figure>.+) \((?P<group>open|closed)\)", f"{_MODULE}qa:of_group", "any of these (open|closed)"),
)
_REGIONS = (
    Family("ground", "(?P<name>IoU|Dice)", f"{_MODULE}regions:overlap", "IoU, Dice", ("IoU", "Dice")),
    Family("ground", f"Acc@IoU{_IOU}", f"{_MODULE}regions:reached", "Acc@IoU0.5", ("Acc@IoU0.5",)),
    Family(
        "ground",
        f"(?P<kind>Precision|Recall|F1)@IoU{_IOU}",
        f"{_MODULE}detection:matched",
        "Precision|Recall|F1@IoU0.5",
        ("Precision@IoU0.5", "Recall@IoU0.5"),
    ),
    Family(
        "ground",
        rf"mAP@(\[\.5:\.95\]|IoU{_IOU})",
        f"{_MODULE}detection:mean_average_precision",
        "mAP@[.5:.95], mAP@IoU0.5",
        ("mAP@[.5:.95]", "mAP@IoU0.5"),
    ),
    Family("ground", "pointing game", f"{_MODULE}regions:PointingGame", "pointing game", ("pointing game",)),
)
_PICTURES = (
    Family("pictures", "SSIM", f"{_MODULE}pictures:Ssim", "SSIM", ("SSIM",)),
    Family("pictures", "PSNR", f"{_MODULE}pictures:Psnr", "PSNR", ("PSNR",)),
    Family(
        "pictures",
        r"Fr[eé]chet distance( \((?P<encoder>.+)\))?",
        f"{_MODULE}pictures:FrechetDistance",
        "Frechet distance (ENCODER)",
        ("Frechet distance (embedded)",),
    ),
    Family(
        "pictures",
        r"KID( \((?P<encoder>.+)\))?",
        f"{_MODULE}pictures:KernelDistance",
        "KID (ENCODER)",
        ("KID (embedded)",),
    ),
)
_EVIDENCE = (
    Family(
        "describe",
        "unsupported sentences",
        f"{_MODULE}evidence:Unsupported",
        "unsupported sentences",
        ("unsupported sentences",),
    ),
    Family(
        "describe",
        r"citation (?P<kind>recall|precision)( \((?P<judge>words|checker)\))?",
        f"{_MODULE}evidence:citations",
        "citation recall|precision (words|checker)",
        ("citation recall (words)", "citation precision (words)"),
    ),
    Family(
        "describe",
        r"AUROC in-corpus( \((?P<by>\w+)\))?",
        f"{_MODULE}abstention:Foreign",
        "AUROC in-corpus (p_value|nonconformity)",
    ),
    Family(
        "describe",
        r"refused (?P<side>in-corpus|foreign)( \(p_value < (?P<alpha>0?\.\d+)\))?",
        f"{_MODULE}abstention:refused",
        "refused in-corpus|foreign (p_value < ALPHA)",
    ),
)
_AREAS = tuple(
    Family(
        task,
        r"AURC(?P<foreign> with foreign)? \((?P<figure>.+) by (?P<by>\w+)\)",
        f"{_MODULE}abstention:aurc",
        "AURC [with foreign] (MEASURE by confidence|p_value)",
        defaults,
        {"task": task},
    )
    for task, defaults in (
        ("describe", ("AURC (ROUGE-L by confidence)",)),
        ("vqa", ()),
        ("classify", ("AURC (accuracy by confidence)",)),
    )
)
FAMILIES: tuple[Family, ...] = (
    Family("describe", r"BLEU-(?P<order>[1-4])", f"{_TEXT}Bleu", "BLEU-1..4", ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")),
    Family("describe", r"ROUGE-L", f"{_TEXT}RougeL", "ROUGE-L", ("ROUGE-L",)),
    Family("describe", r"ROUGE-L \(beta 1\.2\)", f"{_TEXT}RougeL", "ROUGE-L (beta 1.2)", options={"coco": True}),
    Family("describe", r"METEOR \(exact, stem\)", f"{_TEXT}Meteor", "METEOR (exact, stem)", ("METEOR (exact, stem)",)),
    Family(
        "describe",
        r"METEOR \(exact, stem, synonym\)",
        f"{_TEXT}Meteor",
        "METEOR (exact, stem, synonym)",
        options={"synonyms": True},
    ),
    Family("describe", r"CIDEr-D", "ragvlm.measures.cider:CiderD", "CIDEr-D", ("CIDEr-D",)),
    Family("describe", r"chrF", f"{_TEXT}ChrF", "chrF", ("chrF",)),
    Family(
        "describe",
        r"BERTScore( (?P<part>precision|recall|F1))?(?P<idf> \(idf\))?( layer (?P<layer>\d+))?( \[(?P<model>.+)\])?",
        "ragvlm.measures.bertscore:bert_score",
        "BERTScore [precision|recall] [(idf)] [layer N] [[MODEL]]",
    ),
    *_FACTS,
    *_LABELS,
    *_EVIDENCE,
    *_ANSWERS,
    *_CLASSIFICATION,
    *_AREAS,
    _RANKED,
    *_REGIONS,
    *_PICTURES,
)


def measure(name: str, task: str | None = None) -> Measure:
    """The measure ``name`` of ``task``; without ``task``, of the first task that has one of that name.

    Raises InputError that lists the known names.
    """
    families = [family for family in FAMILIES if task in (None, family.task)]
    for family in families:
        if made := family.make(" ".join(name.split())):
            return made
    of_task = f" of task {task!r}" if task else ""
    raise InputError(f"unknown measure {name!r}{of_task}: choose one of {', '.join(_shown(families)) or 'none'}")


def measures(task: str) -> tuple[Measure, ...]:
    """The measures that ``task`` is scored by where nothing else is asked for. Raises InputError for another task."""
    if task not in TASKS:
        raise InputError(f"unknown task {task!r}: choose one of {', '.join(TASKS)}")
    return tuple(measure(name, task) for family in FAMILIES if family.task == task for name in family.defaults)


def statistics(measure: Measure, items: Sequence[Item], progress: Progress | None = None) -> Statistics:
    """``measure.statistics(items)``; ``progress`` is called with (items done, items) by measures that take seconds."""
    if progress is not None and "progress" in inspect.signature(measure.statistics).parameters:
        return cast("Any", measure).statistics(items, progress=progress)  # type: ignore[no-any-return]
    return measure.statistics(items)


def _shown(families: list[Family]) -> list[str]:
    return list(dict.fromkeys(family.shown for family in families))
