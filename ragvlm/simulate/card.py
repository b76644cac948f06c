"""The corpus card that lies beside simulated pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_CARD = """# Simulated micrographs

{n} pictures made by a computer program. **No real specimen, patient or animal is shown**, and nothing in a picture may
be read as a medical or biological finding.

| kind | pictures |
| --- | --- |
{table}

## How it was made

    ragvlm corpus simulate DIR --n {n} --seed {seed}

with ragvlm {version} (kinds: {kinds}). Parametric cells and tissues are drawn, stained by a physical model (emission,
or absorption by the Beer-Lambert law), blurred by a lens and recorded by a noisy camera, in the manner of SIMCEP
(Lehmussola et al. 2007, IEEE Transactions on Medical Imaging, doi 10.1109/TMI.2007.896925). No pixel or texture comes
from a real picture. Pictures of one `subject_id` (a simulated slide) share stain, optics and camera.

## Fields of metadata.jsonl

`file_name`, `id`, `caption`, `subject_id`, `modality`, `labels`, `source`, `licence`. Captions and counts in `labels`
come from the simulation, not from an observer: an object counts when its centre lies inside the field, also where its
rim is cut off by the border. Density words follow the share of the field that is covered, size words the typical
diameter relative to the field.

## Licence

CC0-1.0: no rights reserved.
"""


def corpus_card(recipe: Mapping[str, Any], kinds: Sequence[str]) -> str:
    """Markdown text of the card for a recipe (seed, version, kinds, n) and the kinds of all its pictures."""
    table = "\n".join(f"| {kind} | {number} |" for kind, number in sorted(Counter(kinds).items()))
    return _CARD.format(
        n=recipe["n"],
        seed=recipe["seed"],
        version=recipe["version"],
        kinds=", ".join(recipe["kinds"]),
        table=table,
    )
