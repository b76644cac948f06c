"""How fast pictures become an index, beside the encoder's own speed and other programs with the same tower.

    python benchmarks/indexing.py
    python benchmarks/indexing.py --pictures 500 --turns 3 --peers .venv-peers/bin/python

The tower is CLIP ViT-B/32 with random weights (times don't depend on their values; **cosines do**), saved once for
transformers and once for open_clip. The JPEGs are simulated micrographs, enlarged, with grain. Every way runs in a
process of its own that loads its tower before the clock starts; the ways take turns, so that a busy machine slows all
alike: read the ratios, which are medians over the turns. **Beside other heavy programs the ratios to torch mean
nothing**, wall and CPU alike: torch's waiting threads spin, those of ragvlm sleep.

Other programs run where they are installed: in the environment of --peers (by default this one; pip install
langchain-community langchain-experimental sentence-transformers llama-index-core), in that of --clip-retrieval (pip
install clip-retrieval "numpy<2" "setuptools<81"). One that is not, or fails to start, is named as absent.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
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
from threading import Timer
from typing import Any

import numpy as np
from indexing_ways import WAYS
from machine import machine
from onnx_towers import random_vit_b32
from PIL import Image

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "indexing.json"
SIZES = ((1024, 768), (2000, 1500))
PATIENCE = 180  # seconds for one folder, or to start
NEEDS = {
    "LangChain": ("langchain_experimental", "langchain_community"),
    "sentence-transformers": ("sentence_transformers",),
    "LlamaIndex": ("llama_index.core",),
    "clip-retrieval": ("clip_retrieval",),
}
GOALS = {  # times the images/s of another way, by size
    ("ragvlm fp32", "encoder alone fp32"): (0.95, 0.95),
    ("ragvlm int8", "encoder alone int8"): (0.95, 0.95),
    ("ragvlm fp32", "LangChain"): (1.2, 1.4),
    ("ragvlm int8", "LangChain"): (1.7, 2.0),
}


def main() -> None:
    """Measure, print, write benchmarks/results/indexing.json."""
    options = _options()
    with tempfile.TemporaryDirectory() as name:
        folder = options.work or Path(name)
        os.environ["RAGVLM_CACHE"] = str(folder / "cache")
        tower, weights = _towers(folder)
        sets = {size: _pictures(folder / f"{size[0]}x{size[1]}", size, options.pictures) for size in SIZES}
        small = _pictures(folder / "warm", (320, 240), 16)
        workers, absent = _start(tower, weights, small, options)
        turns = []
        try:
            for turn in range(options.turns):
                print(f"turn {turn + 1} of {options.turns}", file=sys.stderr)
                turns.append({size: {way: workers[way].ask(sets[size]) for way in workers} for size in SIZES})
            likeness = {way: _likeness(workers, way) for way in workers}
        finally:
            for worker in workers.values():
                worker.end()
    report = _report(turns, absent, likeness, options)
    _print(report)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=64, help="JPEGs of each size (default 64)")
    parser.add_argument("--turns", type=int, default=3, help="counted turns (default 3)")
    parser.add_argument("--peers", help="the Python in which other programs are installed (default: this one)")
    parser.add_argument("--clip-retrieval", help="the Python of clip-retrieval, which needs an older numpy")
    parser.add_argument("--work", type=Path, help="a folder that keeps towers and pictures for a second run")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file to write")
    options = parser.parse_args()
    options.peers = options.peers or os.environ.get("RAGVLM_BENCH_PEERS") or sys.executable
    options.clip_retrieval = options.clip_retrieval or os.environ.get("RAGVLM_BENCH_CLIP_RETRIEVAL") or options.peers
    return options


def _towers(folder: Path) -> tuple[str, str]:
    """The checkpoint for transformers, exported to ONNX in both precisions, and the same weights for open_clip."""
    from ragvlm.encoders import export_towers

    tower, weights = folder / "vit-b32", folder / "vit-b32.pt"
    if weights.exists():
        return str(tower), str(weights)
    random_vit_b32(tower)
    for precision in ("fp32", "int8"):
        export_towers(f"transformers:{tower}", precision=precision)
    import torch
    from safetensors.torch import load_file

    torch.save(_for_open_clip(load_file(tower / "model.safetensors")), weights)
    return str(tower), str(weights)


def _for_open_clip(theirs: dict[str, Any]) -> dict[str, Any]:
    """The state dict of open_clip's CLIP with the weights of transformers' CLIPModel."""
    import torch

    ours = {"logit_scale": theirs["logit_scale"], "text_projection": theirs["text_projection.weight"].T.contiguous()}
    ours |= {"visual.proj": theirs["visual_projection.weight"].T.contiguous()}
    eyes, words = "vision_model.embeddings.", "text_model.embeddings."
    ours |= {"visual.conv1.weight": theirs[f"{eyes}patch_embedding.weight"]}
    ours |= {"visual.class_embedding": theirs[f"{eyes}class_embedding"]}
    ours |= {"visual.positional_embedding": theirs[f"{eyes}position_embedding.weight"]}
    ours |= {"token_embedding.weight": theirs[f"{words}token_embedding.weight"]}
    ours |= {"positional_embedding": theirs[f"{words}position_embedding.weight"]}
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    parts |= {"self_attn.out_proj": "attn.out_proj"}
    for kind in ("weight", "bias"):
        for mine, other in (
            ("ln_final", "text_model.final_layer_norm"),
            ("visual.ln_pre", "vision_model.pre_layrnorm"),
        ):
            ours[f"{mine}.{kind}"] = theirs[f"{other}.{kind}"]
        ours[f"visual.ln_post.{kind}"] = theirs[f"vision_model.post_layernorm.{kind}"]
        for mine, other in (("visual.transformer", "vision_model"), ("transformer", "text_model")):
            for i in range(12):
                block, layer = f"{mine}.resblocks.{i}", f"{other}.encoder.layers.{i}"
                heads = [theirs[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                ours[f"{block}.attn.in_proj_{kind}"] = torch.cat(heads)
                ours |= {f"{block}.{b}.{kind}": theirs[f"{layer}.{a}.{kind}"] for a, b in parts.items()}
    return ours


def _pictures(folder: Path, size: tuple[int, int], n: int) -> Path:
    """``n`` JPEGs at quality 90 of different simulated micrographs, enlarged to ``size``, with grain."""
    from ragvlm.simulate import simulate_corpus

    if folder.exists() and len(list(folder.iterdir())) == n:
        return folder
    source = folder.parent / "simulated"
    if not source.exists():
        simulate_corpus(source, n=20, seed=0)
    drawn = [Image.open(path).convert("RGB") for path in sorted((source / "images").iterdir())]
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 3, (size[1], size[0], 1)).astype(np.float32)
    for i in range(n):
        picture = drawn[i % len(drawn)].rotate(180 * (i // len(drawn) % 2)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.asarray(picture, np.float32) + np.roll(grain, 37 * i, axis=1)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i:04d}.jpg", quality=90)
    return folder


class Worker:
    """A process that runs one way."""

    def __init__(self, python: str, way: str, tower: str, weights: str, out: Path) -> None:
        self.out = out / way.replace(" ", "-")
        command = [python, "-W", "ignore", str(HERE / "indexing_ways.py"), way, tower, weights]
        environment = os.environ | {
            "PYTHONPATH": str(HERE.parent),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.errors = (out / f"{self.out.name}.log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )
        self._answer()

    def ask(self, pictures: Path) -> dict[str, float]:
        """Seconds and memory for the pictures in a folder."""
        self.process.stdin.write(json.dumps([str(pictures), str(self.out)]) + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return dict(json.loads(self._answer()))

    def end(self) -> None:
        """End the process."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(timeout=60)
        self.process.stdout.close()  # type: ignore[union-attr]
        self.errors.close()

    def _answer(self) -> str:
        patience = Timer(PATIENCE, self.process.kill)
        patience.start()
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        patience.cancel()
        if not line:
            self.errors.seek(0)
            raise RuntimeError(self.errors.read()[-2000:].strip() or f"no answer within {PATIENCE} seconds")
        return line


def _start(
    tower: str, weights: str, small: Path, options: argparse.Namespace
) -> tuple[dict[str, Worker], dict[str, str]]:
    """The ways that work, warmed up on a few small pictures, and why others are left out."""
    workers, absent = {}, {}
    for way in WAYS:
        python = (
            options.clip_retrieval if way == "clip-retrieval" else options.peers if way in NEEDS else sys.executable
        )
        missing = [package for package in NEEDS.get(way, ()) if not _has(python, package)]
        if missing:
            absent[way] = f"not installed: {', '.join(missing)}"
            continue
        try:
            worker = Worker(python, way, tower, weights, Path(tower).parent)
            worker.ask(small)
            workers[way] = worker
        except RuntimeError as error:
            if way not in NEEDS:
                raise
            absent[way] = f"fails: {str(error).splitlines()[-1]}"
    return workers, absent


def _has(python: str, package: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package.partition('.')[0]!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def _likeness(workers: dict[str, Worker], way: str) -> dict[str, float] | None:
    """Least and mean cosine of a way's vectors to ours in fp32: that all ran the same tower."""
    ours, theirs = (np_load(workers[name].out / "vectors.npy") for name in ("ragvlm fp32", way))
    if theirs is None or ours is None:
        return None
    rows = np.einsum("nd,nd->n", ours, theirs / np.linalg.norm(theirs, axis=1, keepdims=True))
    return {"least": round(float(rows.min()), 5), "mean": round(float(rows.mean()), 5)}


def np_load(path: Path) -> Any:
    """An array, or None where there is none."""
    return np.load(path, allow_pickle=False) if path.exists() else None


def _report(
    turns: list[dict[Any, Any]], absent: dict[str, str], likeness: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    ways = list(turns[0][SIZES[0]])
    return {
        "command": shlex.join(["python", "benchmarks/indexing.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | _versions(options),
        "tower": "CLIP ViT-B/32, random weights; batches of 16; ragvlm on ONNX Runtime, others on torch",
        "pictures": options.pictures,
        "turns": options.turns,
        "absent": absent,
        "cosine_to_ragvlm_fp32": likeness,
        "results": {
            f"{size[0]}x{size[1]}": {way: _row([turn[size] for turn in turns], way, options.pictures) for way in ways}
            for size in SIZES
        },
        "goals": _goals(turns, ways),
    }


def _row(turns: list[dict[str, dict[str, float]]], way: str, n: int) -> dict[str, float]:
    own = [turn[way] for turn in turns]
    row = {
        "images_per_s": round(statistics.median(n / one["wall_s"] for one in own), 2),
        "cpu_ms_per_image": round(statistics.median(1000 * one["cpu_s"] / n for one in own), 1),
        "wall_s": round(statistics.median(one["wall_s"] for one in own), 2),
        "peak_MB": round(max(one["peak_bytes"] for one in own) / 1e6),
    }
    if "LangChain" in turns[0]:
        row["times_the_speed_of_LangChain"] = _ratio(turns, way, "LangChain", "wall_s")
        row["CPU_of_LangChain_over_this"] = _ratio(turns, way, "LangChain", "cpu_s")
    return row


def _ratio(turns: list[dict[str, dict[str, float]]], way: str, other: str, what: str) -> float:
    return round(statistics.median(turn[other][what] / turn[way][what] for turn in turns), 3)


def _goals(turns: list[dict[Any, Any]], ways: list[str]) -> list[dict[str, Any]]:
    found = []
    for (way, other), goals in GOALS.items():
        for size, goal in zip(SIZES, goals, strict=True):
            if other in ways:
                own = [turn[size] for turn in turns]
                ratio = _ratio(own, way, other, "wall_s")
                found.append(
                    {"way": way, "against": other, "size": f"{size[0]}x{size[1]}", "goal": goal, "speed": ratio}
                    | {"met": ratio >= goal, "cpu": _ratio(own, way, other, "cpu_s")}
                )
    return found


def _versions(options: argparse.Namespace) -> dict[str, str]:
    names = ("ragvlm", "numpy", "pillow", "onnxruntime", "torch", "transformers", "open_clip_torch", "faiss-cpu")
    here = {dist.name.lower(): dist.version for dist in importlib.metadata.distributions()}
    found = {name: here[name.lower()] for name in names if name.lower() in here}
    code = (
        "import importlib.metadata as m, json\n"
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    )
    for python, others in (
        (options.peers, ("langchain-experimental", "langchain-community", "sentence-transformers", "llama-index-core")),
        (options.clip_retrieval, ("clip-retrieval",)),
    ):
        there = json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout)
        found |= {name: there[name] for name in others if name in there}
    return found


def _print(report: dict[str, Any]) -> None:
    for size, rows in report["results"].items():
        head = f"{'':24}{'img/s':>8}{'CPU ms':>8}{'MB':>8}{'x LangChain':>13}{'CPU x':>8}"
        print(f"{size}, {report['pictures']} pictures\n{head}")
        for way, row in rows.items():
            times = row.get("times_the_speed_of_LangChain", float("nan"))
            cpu = row.get("CPU_of_LangChain_over_this", float("nan"))
            print(
                f"{way:24}{row['images_per_s']:8.1f}{row['cpu_ms_per_image']:8.1f}{row['peak_MB']:8}{times:13.2f}{cpu:8.2f}"
            )
    for way, why in report["absent"].items():
        print(f"{way}: left out, {why}")
    for goal in report["goals"]:
        print({True: "met   ", False: "missed"}[goal["met"]], goal)


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s in all")
