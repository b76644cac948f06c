"""Do metadata and regions find better references than pictures and captions do, and do learned weights?

    python benchmarks/fusion.py SHARED_DATA WORK_FOLDER

SHARED_DATA holds blood-cells, cell-assays and vqa-rad; what is missing is left out. WORK_FOLDER keeps corpora and
indexes, so that a run goes on where it stopped. Each record asks for the others, without its own subject: the figure is
the mean cosine of the captions of its top five references to its own caption, or, where a label is named, the share of
them that have its label (which then is no metadata). Differences to the pictures alone are
paired, with 95 % intervals by subject; the learned weights are those of the other folds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ragvlm as rv
from ragvlm.measures.base import Statistics
from ragvlm.modalities.regions import with_regions
from ragvlm.modalities.spaces import MODALITIES
from ragvlm.simulate import KINDS
from ragvlm.simulate.plan import plan
from ragvlm.statistics import holm, interval, paired
from ragvlm.weights import cross_validated, held_out_scores, simplex, trial

RESULTS = Path(__file__).parent / "results" / "fusion.json"
SIMULATED = 210
LABELS = {"cell-assays": ("assay",), "vqa-rad": ("organ",)}
NOTED = ("stain", "specimen")  # what a laboratory knows of a picture before anybody looks


def simulated(folder: Path) -> rv.Corpus:
    """Simulated micrographs with the masks that they were drawn from; of the labels those NOTED alone."""
    folder.mkdir(parents=True, exist_ok=True)
    return rv.Corpus.from_records(list(_drawn(folder)), root=folder, name="simulated")


def _drawn(folder: Path) -> Iterator[rv.Record]:
    for number in range(SIMULATED):
        planned = plan(0, KINDS, number)
        card = folder / f"{planned.id}.json"
        if not card.is_file():
            picture = planned.draw()
            Image.fromarray(picture.pixels).save(folder / f"{planned.id}.png")
            layers = list(picture.masks.values())
            union = np.zeros(picture.pixels.shape[:2], np.int32)
            for layer in layers:
                union = np.where(layer > 0, layer + union.max(), union)
            Image.fromarray(union.astype(np.uint16)).save(folder / f"{planned.id}.mask.png")
            known = {name: picture.labels[name] for name in NOTED if name in picture.labels}
            card.write_text(json.dumps({"caption": picture.caption, "modality": picture.modality, "labels": known}))
        row = json.loads(card.read_text())
        yield rv.Record(
            id=planned.id,
            image=f"{planned.id}.png",
            caption=row["caption"],
            subject_id=planned.subject_id,
            modality=row["modality"],
            labels=row["labels"],
            extra={"mask": f"{planned.id}.mask.png"},
        )


def blood_cells(folder: Path) -> rv.Corpus:
    """Boxes as regions; the counts, from which the captions were written, are left out."""
    corpus = rv.Corpus.load(folder)
    kept = ("boxes", "width", "height")
    records = [
        replace(record, labels={}, extra={name: record.extra[name] for name in kept if name in record.extra})
        for record in corpus
    ]
    return replace(corpus, records=tuple(records))


def cell_assays(folder: Path) -> rv.Corpus:
    """The assay as metadata."""
    return rv.Corpus.load(folder)


def vqa_rad(folder: Path) -> rv.Corpus:
    """The organ as metadata; the questions with their answers stand for a caption."""
    corpus = rv.Corpus.load(folder / "metadata.jsonl", reader="jsonl")
    records = []
    for record in corpus:
        asked = record.extra.get("questions") or []
        caption = " ".join(f"{row['question']} {row['answer']}." for row in asked)
        organ = record.extra.get("organ") or record.labels.get("organ")
        records.append(replace(record, caption=caption or None, labels={"organ": organ}, extra={}))
    return replace(corpus, records=tuple(records))


def measure(index: rv.Index, objective: str) -> dict[str, Any]:
    """Figures of the pictures alone, of equal weights with one modality more at a time, and of the learned weights."""
    found = trial(index, objective)
    names = [name for name in MODALITIES if name in found.shares]
    systems: dict[str, Mapping[str, float]] = {
        " + ".join(names[: count + 1]): dict.fromkeys(names[: count + 1], 1 / (count + 1))
        for count in range(len(names))
    }
    systems |= {f"image + {name}": {"image": 0.5, name: 0.5} for name in names[2:]}
    values = {name: found.score(weights) for name, weights in systems.items()}
    grid = simplex(names)
    values["learned (held out)"], _ = held_out_scores(found, grid, np.array([found.score(w) for w in grid]))
    alone = Statistics.of_scores(values["image"])
    rows, p_values = {}, []
    for name, scores in values.items():
        stats = Statistics.of_scores(scores)
        rows[name] = interval(stats, found.subjects).to_dict()
        if name != "image":
            difference = paired(stats, alone, found.subjects)
            rows[name]["minus image"] = difference.to_dict()
            p_values.append(difference.p)
    for name, p in zip([name for name in rows if name != "image"], holm(p_values), strict=True):
        rows[name]["minus image"]["p_holm"] = round(float(p), 6)
    return {"records": len(found.ids), "systems": rows, "learned": cross_validated(found)}


def main(shared: Path, work: Path) -> None:
    corpora: dict[str, rv.Corpus] = {}
    for name, load in (("cell-assays", cell_assays), ("blood-cells", blood_cells), ("vqa-rad", vqa_rad)):
        if (shared / name).is_dir():
            corpora[name] = load(shared / name)
    corpora["simulated"] = simulated(work / "simulated")
    results = {}
    for name, corpus in corpora.items():
        has_regions = any({"mask", "boxes"} & record.extra.keys() for record in corpus)
        described = with_regions(corpus) if has_regions else corpus
        index = rv.Index.build(
            described, work / f"index-{name}", encoder="embedded", hash_subject=False, calibrate=False
        )
        for objective in ("caption", *LABELS.get(name, ())):
            results[f"{name}, {objective}"] = measure(index, objective)
            print(name, objective, json.dumps(results[f"{name}, {objective}"]["learned"]), file=sys.stderr)
    document = {"command": "python benchmarks/fusion.py SHARED_DATA WORK_FOLDER", "corpora": results}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for name, result in results.items():
        for system, row in result["systems"].items():
            more = row.get("minus image", {})
            shown = f"{more['difference']:+.4f} [{more['low']:+.4f}, {more['high']:+.4f}]" if more else ""
            print(f"{name}\t{system}\t{row['value']:.4f}\t{shown}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
