"""What a tuned classifier's folder says of its own probabilities: temperature and conformal scores."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ragvlm.classifiers.calibrate import conformal_threshold
from ragvlm.errors import InputError, RagvlmError

NAME = "calibration.json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """``temperature`` fitted on the validation part; ``scores`` (n,), 1 - probability of the right label, of the test
    part, whose ``groups`` (n,) number the subjects; the log loss of the validation part ``before`` and ``after``."""

    temperature: float
    scores: tuple[float, ...]
    groups: tuple[int, ...]
    before: float = 0.0
    after: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> Calibration | None:
        """None where ``folder`` has none. Raises RagvlmError for a damaged one."""
        try:
            table = json.loads((folder / NAME).read_text(encoding="utf-8"))
            scores, groups = (tuple(table[name]) for name in ("scores", "groups"))
            return cls(float(table["temperature"]), scores, groups, float(table["before"]), float(table["after"]))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RagvlmError(f"{folder / NAME} can't be read ({error}): tune it again, or remove the file") from error

    def write(self, folder: Path) -> None:
        """Into ``folder``."""
        (folder / NAME).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    def threshold(self, alpha: float) -> float:
        """See ``conformal_threshold``."""
        return conformal_threshold(self.scores, self.groups, alpha)


def threshold_of(calibration: Calibration | None, alpha: float | None, model: str) -> float | None:
    """The threshold for ``alpha``; None where none is asked for. Raises InputError where it can't be had."""
    if alpha is None:
        return None
    if calibration is None or not calibration.scores:
        raise InputError(f"{model} has no held-out scores for --alpha: tune it with a test part, or use knn or probe")
    return calibration.threshold(alpha)
