"""Fuzz the targets of ``fuzztargets.py`` by atheris (libFuzzer for Python), which is no dependency: pip install atheris

python tests/fuzz.py TARGET [SECONDS] [FOLDER FOR FINDINGS]
python tests/fuzz.py all 60 findings
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]


def run(name: str, seconds: int, findings: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["ragvlm"]):
        from fuzztargets import TARGETS, call

    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        seeds = Path(place, "seeds")
        seeds.mkdir()
        for number, seed in enumerate(TARGETS[name][1]):
            (seeds / str(number)).write_bytes(seed)
        folder = Path(place, "work")
        folder.mkdir()
        options = (
            f"-max_total_time={seconds}",
            "-timeout=20",
            "-rss_limit_mb=3000",
            f"-artifact_prefix={findings}/{name}-",
        )
        atheris.Setup(
            [sys.argv[0], *options, "-print_final_stats=1", str(seeds)], lambda data: call(name, data, folder)
        )
        atheris.Fuzz()


def main() -> None:
    name, seconds, findings = (*sys.argv[1:], *("all", "60", "findings")[len(sys.argv) - 1 :])
    if name != "all":
        run(name, int(seconds), Path(findings))
        return
    from fuzztargets import TARGETS

    for target in TARGETS:
        # libFuzzer ends its process
        done = subprocess.run([sys.executable, __file__, target, seconds, findings], capture_output=True, text=True)
        stats = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line or "peak_rss" in line]
        print(
            target,
            "found" if done.returncode else "clean",
            *(line.split(":")[-1].strip() for line in stats),
            flush=True,
        )


if __name__ == "__main__":
    main()
