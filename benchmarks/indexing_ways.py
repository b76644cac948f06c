"""The ways that benchmarks/indexing.py compares, each run in a process of its own: ``python indexing_ways.py WAY ...``.

A process loads its tower once, prints "ready", and then answers every folder of pictures on stdin by one line of JSON:
wall and CPU seconds to embed and store its pictures, and the most memory held so far.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import peak_bytes
from PIL import Image

ARCHITECTURE = "ViT-B-32-quickgelu"
BATCH = 16

Run = Callable[
    [list[str], Path], Any
]  # pictures, an empty folder -> float (n, dim), or nothing that is worth comparing


def ragvlm(tower: str, _: str, **options: Any) -> Run:
    """What ``ragvlm index`` does: scan, hash, decode, encode, write segments, derive the store, calibrate."""
    from ragvlm.encoders import load_encoder
    from ragvlm.index import Index

    encoder = load_encoder(f"transformers:{tower}", **options)

    def run(pictures: list[str], out: Path) -> Any:
        # a corpus reads its folder by itself
        index = Index.build(Path(pictures[0]).parent, out / "index", encoder=encoder)
        return index.image_embeddings(range(len(index)))

    return run


def encoder_alone(tower: str, _: str, **options: Any) -> Run:
    """The encoder's own speed on inputs that lie in memory; only the call that follows the first is measured."""
    from ragvlm.encoders import load_encoder
    from ragvlm.images import open_image

    encoder: Any = load_encoder(f"transformers:{tower}", **options)
    kept: dict[str, Any] = {}

    def run(pictures: list[str], out: Path) -> Any:
        for path in pictures:
            if path not in kept:
                kept[path] = encoder.image_input(open_image(path, side=encoder.input_size))
        start = usage()
        vectors = encoder.encode_inputs([kept[path] for path in pictures])
        return vectors, start

    return run


def plain_loop(_: str, weights: str) -> Run:
    """open_clip's documented use with batches: open, preprocess, encode, FAISS."""
    import faiss
    import torch

    model, preprocess = open_clip_model(weights)

    def run(pictures: list[str], out: Path) -> Any:
        rows = []
        for start in range(0, len(pictures), BATCH):
            batch = torch.stack([preprocess(Image.open(path)) for path in pictures[start : start + BATCH]])
            with torch.inference_mode():
                rows.append(torch.nn.functional.normalize(model.encode_image(batch)).numpy())
        vectors = np.concatenate(rows)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, str(out / "index.faiss"))
        return vectors

    return run


def langchain(_: str, weights: str) -> Run:
    """langchain-experimental's OpenCLIPEmbeddings with langchain-community's FAISS store."""
    patched_torchvision()
    from langchain_community.vectorstores import FAISS
    from langchain_experimental.open_clip import OpenCLIPEmbeddings

    embeddings = OpenCLIPEmbeddings(
        model=None, preprocess=None, tokenizer=None, model_name=ARCHITECTURE, checkpoint=weights
    )

    def run(pictures: list[str], out: Path) -> Any:
        vectors = embeddings.embed_image(pictures)
        FAISS.from_embeddings(zip(pictures, vectors, strict=True), embeddings).save_local(str(out))
        return vectors

    return run


def sentence_transformers(tower: str, _: str) -> Run:
    """sentence-transformers' encode, with FAISS."""
    patched_torchvision()
    import faiss
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(tower, device="cpu")

    def run(pictures: list[str], out: Path) -> Any:
        images = [Image.open(path) for path in pictures]
        vectors = model.encode(images, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, str(out / "index.faiss"))
        return vectors

    return run


def llama_index(_: str, weights: str) -> Run:
    """LlamaIndex's MultiModalVectorStoreIndex with an embedding class of this file (its own is built on git)."""
    from llama_index.core import StorageContext
    from llama_index.core.embeddings import MultiModalEmbedding
    from llama_index.core.embeddings.mock_embed_model import MockEmbedding
    from llama_index.core.indices import MultiModalVectorStoreIndex
    from llama_index.core.schema import ImageNode

    model, preprocess = open_clip_model(weights)

    class OpenClip(MultiModalEmbedding):  # type: ignore[misc]
        def _get_image_embedding(self, img_file_path: Any) -> list[float]:
            import torch

            with torch.inference_mode():
                vectors = model.encode_image(preprocess(Image.open(img_file_path))[None])
                return torch.nn.functional.normalize(vectors)[0].tolist()  # type: ignore[no-any-return]

        async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
            return self._get_image_embedding(img_file_path)

        def _get_text_embedding(self, text: str) -> list[float]:
            raise NotImplementedError

        def _get_query_embedding(self, query: str) -> list[float]:
            raise NotImplementedError

        async def _aget_query_embedding(self, query: str) -> list[float]:
            raise NotImplementedError

    def run(pictures: list[str], out: Path) -> Any:
        # a node without a text would be left out
        nodes = [ImageNode(text=Path(path).name, image_path=path) for path in pictures]
        index = MultiModalVectorStoreIndex(
            nodes=nodes,
            embed_model=MockEmbedding(embed_dim=1),
            image_embed_model=OpenClip(embed_batch_size=BATCH),
            storage_context=StorageContext.from_defaults(),
        )
        index.storage_context.persist(str(out))

    return run


def clip_retrieval(_: str, weights: str) -> Run:
    """clip-retrieval's clip_inference with one reader process; its index by autofaiss is left out."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import open_clip
    from clip_retrieval.clip_inference.main import main

    real = open_clip.create_model_and_transforms

    def made(name: str, pretrained: str | None = None, **options: Any) -> Any:
        # its option for a model can't carry a path
        return real(name, pretrained=weights, **{k: v for k, v in options.items() if k != "cache_dir"})

    open_clip.create_model_and_transforms = made

    def run(pictures: list[str], out: Path) -> Any:
        main(
            input_dataset=str(Path(pictures[0]).parent),
            output_folder=str(out / "embeddings"),
            input_format="files",
            enable_text=False,
            enable_metadata=False,
            clip_model=f"open_clip:{ARCHITECTURE}",
            use_jit=False,
            batch_size=BATCH,
            num_prepro_workers=2,
            write_batch_size=len(pictures),
            distribution_strategy="sequential",
        )
        return np.concatenate(
            [np.load(path, allow_pickle=False) for path in sorted((out / "embeddings").rglob("*.npy"))]
        )

    return run


def open_clip_model(weights: str) -> tuple[Any, Any]:
    patched_torchvision()
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=weights)
    return model.eval(), preprocess


def patched_torchvision() -> None:
    """torchvision of another build than torch's can be imported after this (see ragvlm.encoders.vision_ops)."""
    from ragvlm.encoders.vision_ops import import_torchvision

    import_torchvision()


WAYS: dict[str, tuple[Callable[..., Run], dict[str, Any]]] = {
    "ragvlm fp32": (ragvlm, {"runtime": "onnx"}),
    "ragvlm int8": (ragvlm, {"precision": "int8"}),
    "ragvlm fp32 on torch": (ragvlm, {"runtime": "torch", "device": "cpu", "dtype": "float32"}),
    "encoder alone fp32": (encoder_alone, {"runtime": "onnx"}),
    "encoder alone int8": (encoder_alone, {"precision": "int8"}),
    "plain loop": (plain_loop, {}),
    "LangChain": (langchain, {}),
    "sentence-transformers": (sentence_transformers, {}),
    "LlamaIndex": (llama_index, {}),
    "clip-retrieval": (clip_retrieval, {}),
}


def usage() -> tuple[float, float]:
    """Wall seconds, and CPU seconds of this process and its children that ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in both)


def main() -> None:
    """Answer folders until stdin ends."""
    way, tower, weights = sys.argv[1:4]
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    make, options = WAYS[way]
    run = make(tower, weights, **options)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        folder, out = json.loads(line)
        pictures = sorted(str(path) for path in Path(folder).iterdir())
        shutil.rmtree(out, ignore_errors=True)
        Path(out).mkdir(parents=True)
        start = usage()
        found = run(pictures, Path(out))
        if isinstance(found, tuple):  # the way knows itself when it began
            found, start = found
        end = usage()
        if found is not None:
            np.save(Path(out) / "vectors.npy", np.asarray(found, np.float32))
        answer = {"wall_s": end[0] - start[0], "cpu_s": end[1] - start[1], "peak_bytes": peak_bytes()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
