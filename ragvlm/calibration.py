"""What an index measures on its own corpus once it is built, for abstention, score fusion and evidence."""

from __future__ import annotations

from typing import Any

from ragvlm.abstain import calibrate
from ragvlm.index import Index
from ragvlm.threshold import calibrate_threshold


def calibrate_index(index: Index) -> dict[str, Any]:
    """The JSON object kept as ``manifest.calibration``: see ``ragvlm.abstain`` and ``ragvlm.threshold``."""
    captions = [record.caption for record in index.records if record.caption]
    return calibrate(index) | {"evidence": calibrate_threshold(captions, index.encoder)}
