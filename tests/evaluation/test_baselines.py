"""The committed figures of the embedded default are still what it scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ragvlm as rv

ROOT = Path(__file__).resolve().parents[2]
ABSOLUTE, RELATIVE = 0.03, 0.1  # see eval/baselines/README.md


def test_the_small_simulated_suite_scores_as_committed(tmp_path: Path) -> None:
    committed = json.loads((ROOT / "eval" / "baselines" / "simulated-small" / "metrics.json").read_text())
    suite = ROOT / "eval" / "simulated-small.toml"
    found = rv.evaluate(suite=suite, out=tmp_path / "run", resamples=10).metrics
    assert (found["n"], found["clusters"]) == (committed["n"], committed["clusters"])
    compared = 0
    for system, measures in committed["systems"].items():
        for name in measures if committed["about"][system]["role"] != "control" else ():
            wanted, value = measures[name]["value"], found["systems"][system][name]["value"]
            if wanted is None:
                assert value is None
                continue
            tolerance = {"rel": RELATIVE, "abs": 0.1} if name == "CIDEr-D" else {"abs": ABSOLUTE}
            assert value == pytest.approx(wanted, **tolerance), (system, name)
            compared += 1
    assert compared > 50


def test_committed_figures_have_intervals_and_controls() -> None:
    for folder in sorted((ROOT / "eval" / "baselines").glob("*/metrics.json")):
        metrics = json.loads(folder.read_text())
        assert metrics["resamples"] == 2000
        figure = metrics["systems"]["consensus"]["ROUGE-L"]
        assert figure["low"] < figure["value"] < figure["high"]
        shown = {row["shows"] for row in metrics["differences"] if row["a"] == "consensus"}
        assert shown >= {"baseline", "picture", "retrieval"}
