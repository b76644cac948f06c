"""Which real pictures does an index of simulated micrographs describe, and which does it refuse?

    python benchmarks/real_pictures.py indexes/demo NAME=FOLDER ...

Each NAME=FOLDER is a set of pictures; scikit-image's own are always asked. Given are, by set, how many are described at
the default level, and the kinds of the nearest references.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ragvlm as rv
from ragvlm.images import SUPPORTED_SUFFIXES

RESULTS = Path(__file__).parent / "results" / "real_pictures.json"
MICROGRAPHS = ("cell.png", "ihc.png")
OTHERS = (
    *("microaneurysms.png", "retina.jpg", "coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "camera.png"),
    *("gravel.png", "coins.png", "moon.png", "page.png", "hubble_deep_field.jpg", "grass.png", "brick.png"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index")
    parser.add_argument("sets", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    spec = find_spec("skimage")
    shipped = Path(spec.origin if spec and spec.origin else "").parent / "data"
    sets = {"scikit-image, micrographs": [shipped / name for name in MICROGRAPHS]}
    sets["scikit-image, others"] = [shipped / name for name in OTHERS]
    for item in options.sets:
        name, _, folder = item.partition("=")
        sets[name] = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUPPORTED_SUFFIXES)
    describe = rv.Describer(options.index)
    result = {name: measure(describe, paths) for name, paths in sets.items()}
    for name, row in result.items():
        print(f"{name}: {row['described']} of {row['pictures']} described; nearest kinds {row['nearest kinds']}")
    document = {"index": describe.index.fingerprint, "ragvlm": rv.__version__, "sets": result}
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def measure(describe: rv.Describer, paths: list[Path]) -> dict[str, Any]:
    """Counts over one set, and each picture's p-value and nearest kind where the set is small."""
    found = [item for batch in describe.batches([str(path) for path in paths]) for item in batch]
    kinds = [item.context.hits[0].record.labels.get("kind") for item in found]
    rows = {
        path.name: {"p": round(item.provenance["abstention"]["p_value"], 3), "nearest kind": kind}
        for path, item, kind in zip(paths, found, kinds, strict=True)
    }
    return {
        "pictures": len(found),
        "described": sum(not item.abstained for item in found),
        "nearest kinds": dict(Counter(map(str, kinds)).most_common(5)),
        **({"by picture": rows} if len(rows) <= 50 else {}),
    }


if __name__ == "__main__":
    main()
