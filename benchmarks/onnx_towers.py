"""What ONNX Runtime saves a dual encoder: start-up of one query, pictures a second, and what int8 costs in likeness.

    python benchmarks/onnx_towers.py
    python benchmarks/onnx_towers.py --model openai/clip-vit-base-patch32

Without --model a checkpoint of CLIP ViT-B/32's true size is made with random weights: times don't depend on their
values, but **its cosines are those of random weights** and say nothing about trained ones. The ways take turns (torch,
ONNX, int8, torch, ...) so that a busy machine slows all alike; read the ratios, which are medians over the turns.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "onnx_towers.json"
WAYS = {
    "torch fp32": {"runtime": "torch", "device": "cpu", "dtype": "float32"},
    "ONNX fp32": {"runtime": "onnx"},
    "ONNX int8": {"precision": "int8"},
}
BATCHES = {1: 8, 16: 16}  # batch size -> pictures a turn
TEXT = "Light micrograph of a stained blood smear with one white cell."
QUERY = """
import json, sys
from PIL import Image
from ragvlm.encoders import load_encoder
encoder = load_encoder(sys.argv[1], **json.loads(sys.argv[2]))
encoder.encode_images([Image.open(sys.argv[3]).convert("RGB")])
encoder.encode_texts([sys.argv[4]])
"""


def main() -> None:
    """Measure, print, write benchmarks/results/onnx_towers.json."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["RAGVLM_CACHE"] = str(folder / "cache")
        model = options.model or str(random_vit_b32(folder / "vit-b32"))
        report: dict[str, Any] = {"model": options.model or "CLIP ViT-B/32's size, random weights", **_machine()}
        report["cosine_to_torch_fp32"] = _export(model)
        report["start_up_of_one_query"] = _start_up(model, folder / "picture.png", options.runs)
        report["pictures_per_s"] = _throughput(model, folder / "picture.png", options.runs)
    report["load_average"] = [round(value, 1) for value in os.getloadavg()]
    print(json.dumps(report, indent=2))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", help="a folder or ORG/NAME (default: random weights of ViT-B/32's size)")
    parser.add_argument("--runs", type=int, default=5, help="counted turns (default 5)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file to write")
    return parser.parse_args()


def random_vit_b32(folder: Path) -> Path:
    from ragvlm.encoders.torch_tools import import_package

    import_package("transformers", "transformers", "CLIPModel")
    import torch
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    ends = {"bos_token_id": len(pieces) - 2, "eos_token_id": len(pieces) - 1, "pad_token_id": len(pieces) - 1}
    torch.manual_seed(0)
    for part in (CLIPModel(CLIPConfig(text_config=ends)), CLIPImageProcessorPil(), tokenizer):
        part.save_pretrained(folder)
    return folder


def _export(model: str) -> dict[str, Any]:
    """Cosines and sizes; the checkpoint's and the exports' digests are remembered for what follows."""
    from ragvlm.encoders import export_towers

    found = {}
    for precision in ("fp32", "int8"):
        towers = export_towers(f"transformers:{model}", precision=precision).towers
        found[precision] = {
            t.tower: {"least": round(t.least_cosine, 6), "mean": round(t.mean_cosine, 6), "MB": round(t.bytes / 1e6, 1)}
            for t in towers
        }
    return found


def _start_up(model: str, picture: Path, runs: int) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    time.sleep(3)  # what was just written isn't remembered yet
    python = [sys.executable, "-W", "ignore", "-c", QUERY, f"transformers:{model}"]
    commands = {way: [*python, json.dumps(chosen), str(picture), TEXT] for way, chosen in WAYS.items()}
    turns = _in_turns({way: lambda way=way: _cpu_and_wall(commands[way]) for way in WAYS}, runs)
    cpu = {way: [turn[way][0] for turn in turns] for way in WAYS}
    return {
        way: {
            "cpu_s": round(statistics.median(cpu[way]), 2),
            "wall_s": round(statistics.median(turn[way][1] for turn in turns), 2),
            "torch_cpu_over_this": _ratio(cpu["torch fp32"], cpu[way]),
        }
        for way in WAYS
    }


def _throughput(model: str, picture: Path, runs: int) -> dict[str, Any]:
    from ragvlm.encoders import load_encoder

    image, found = Image.open(picture).convert("RGB"), {}
    for batch, count in BATCHES.items():
        encoders = {way: load_encoder(f"transformers:{model}", batch_size=batch, **WAYS[way]) for way in WAYS}

        def seconds(way: str, encoders: dict[str, Any] = encoders, count: int = count) -> float:
            start = time.perf_counter()
            encoders[way].encode_images([image] * count)
            return time.perf_counter() - start

        turns = _in_turns({way: lambda way=way: seconds(way) for way in WAYS}, runs)
        times = {way: [turn[way] for turn in turns] for way in WAYS}
        found[f"batch {batch}"] = {
            way: {
                "pictures_per_s": round(count / statistics.median(times[way]), 1),
                "torch_time_over_this": _ratio(times["torch fp32"], times[way]),
            }
            for way in WAYS
        }
    return found


def _in_turns(ways: dict[str, Callable[[], Any]], runs: int) -> list[dict[str, Any]]:
    """``runs`` turns after two that aren't counted: they fill caches, and arrange weights."""
    return [{way: measure() for way, measure in ways.items()} for _ in range(runs + 2)][2:]


def _ratio(base: list[float], other: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(base, other, strict=True)), 2)


def _cpu_and_wall(command: list[str]) -> tuple[float, float]:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"a query failed: {command[-3]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start


def _machine() -> dict[str, Any]:
    names = ("ragvlm", "numpy", "onnxruntime", "tokenizers", "torch", "transformers")
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cpu": next((line.partition(": ")[2] for line in lines if line.startswith("model name")), ""),
            "cores": os.cpu_count(),
            "int8_instructions": sorted({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"} & set(flags)),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names},
    }


if __name__ == "__main__":
    main()
