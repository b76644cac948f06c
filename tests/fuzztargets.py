"""What is fed with hostile bytes: each target takes bytes and a folder of its own, and may raise RagvlmError alone.

``tests/test_fuzz.py`` calls them by hypothesis, ``tests/fuzz.py`` by atheris, for as long as one likes.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pictures import COLOUR, GREY, encoded, tiff_bytes

from ragvlm import arguments, phi
from ragvlm.corpus import Corpus
from ragvlm.errors import RagvlmError
from ragvlm.evaluation.filerows import read_rows
from ragvlm.evaluation.suite import load_suite
from ragvlm.images import image_info, open_image
from ragvlm.index.manifest import Manifest, read_manifest, seal
from ragvlm.labelsets import as_label_set
from ragvlm.locator import Locator
from ragvlm.prompt import build_prompt
from ragvlm.readers import find_reader
from ragvlm.types import Context, Query, Record

Target = Callable[[bytes, Path], None]
ROOT = Path(__file__).resolve().parents[1]
MANIFEST = Manifest(
    encoder="e", encoder_fingerprint="f", image_dim=4, text_dim=4, shared_space=True, encoder_options={}, corpus="c",
    corpus_root="/c", corpus_fingerprint="f", store="numpy", subject_key=None, created="x", updated="x",
)  # fmt: skip
_ROWS = [{"file_name": "a.png", "caption": "Two nuclei.", "n": 1, "labels": {"a": True}}]
_PARQUET = io.BytesIO()
pq.write_table(pa.Table.from_pylist(_ROWS), _PARQUET)
_NPZ = io.BytesIO()
np.savez(_NPZ, train_images=np.zeros((2, 4, 4), np.uint8), train_labels=np.zeros((2, 1), np.uint8))


def _picture(data: bytes, folder: Path) -> None:
    # both doors must be tried, whatever the first says
    for door in (open_image, image_info):
        try:
            door(data, max_pixels=1 << 20)
        except RagvlmError:
            continue


def _reader(name: str, reader: str | None = None) -> Target:
    def read(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        # each record by itself, and the corpus as a whole
        list(find_reader(path, reader).read(path, {}))
        Corpus.load(path, reader=reader)

    return read


def _listed(name: str) -> Target:
    """A file that a corpus names, whatever it holds: as a corpus, and each of its records as a picture."""

    def read(data: bytes, folder: Path) -> None:
        (folder / name).write_bytes(data)
        (folder / "metadata.jsonl").write_text(json.dumps({"file_name": name, "caption": "x"}))
        corpus = Corpus.load(folder, options={"slices": "3"})
        for record in corpus.records[:3]:
            open_image(corpus.image_path(record), max_pixels=1 << 20)

    return read


@cache
def _nifti(packed: bool) -> bytes:
    import nibabel

    data = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_bytes()
    return gzip.compress(data) if packed else data


def _dicom() -> bytes:
    import pydicom

    return (Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm").read_bytes()


def _manifest(data: bytes, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(data)
    read_manifest(folder)


def _sealed(data: bytes, folder: Path) -> None:
    """Whoever can write a manifest can seal it: what it says is checked as well."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(table, dict):
        (folder / "manifest.json").write_bytes(seal(table))
        read_manifest(folder)


def _file(name: str, read: Callable[[Path], object]) -> Target:
    def target(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        read(path)

    return target


def _words(use: Callable[[str], object]) -> Target:
    return lambda data, folder: (use(data.decode(errors="replace")), None)[1]


def _redact(text: str) -> None:
    once, counts = phi.redact(text)
    assert counts or once == text


def _prompt(text: str) -> None:
    build_prompt(Context(Query("q", text=text), ()), max_chars=10_000)
    Record("r", caption=text)


TARGETS: dict[str, tuple[Target, tuple[bytes, ...]]] = {
    "picture": (
        _picture,
        (
            *(encoded(COLOUR, form) for form in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")),
            tiff_bytes(GREY.astype(np.uint16)),
            tiff_bytes(np.zeros((3, 16, 16), np.uint16), ome=True),
        ),
    ),
    "dicom": (_listed("x.dcm"), (_dicom(),)),
    "nifti": (_listed("x.nii"), (_nifti(packed=False),)),
    "nifti-gz": (_listed("x.nii.gz"), (_nifti(packed=True), gzip.compress(bytes(1 << 24)))),
    "slide": (_listed("x.svs"), (tiff_bytes(np.zeros((64, 64, 3), np.uint8), tile=(16, 16), photometric="rgb"),)),
    "stack": (_listed("x.ome.tif"), (tiff_bytes(np.zeros((3, 16, 16), np.uint16), ome=True),)),
    "jsonl": (_reader("x.jsonl"), (json.dumps(_ROWS[0]).encode(), b'{"caption": "a"}\n{"caption": "b"}\n')),
    "csv": (_reader("x.csv"), (b"image,caption\na.png,x\n", b'id;caption\n1;"a\nb"\n')),
    "tsv": (_reader("x.tsv"), (b"image\tcaption\na.png\tx\n",)),
    "parquet": (_reader("x.parquet"), (_PARQUET.getvalue(),)),
    "npz": (_reader("x.npz"), (_NPZ.getvalue(),)),
    "tar": (_reader("x.tar"), (b"a.txt" + bytes(95) + b"0000644\0" + bytes(400),)),
    "questions": (_reader("x.jsonl", "vqa-table"), (b'{"image": "a.png", "question": "q", "answer": "no"}',)),
    "manifest": (_manifest, (seal(MANIFEST.to_dict()), b'{"format_version": 2}')),
    "sealed": (_sealed, (json.dumps(MANIFEST.to_dict()).encode(),)),
    "suite": (
        _file("x.toml", load_suite),
        tuple((ROOT / "eval" / name).read_bytes() for name in ("blood-cells.toml", "bloodmnist.toml")),
    ),
    "labels": (
        _file("x.toml", as_label_set),
        ((ROOT / "ragvlm" / "data" / "labels" / "diabetic-retinopathy.toml").read_bytes(),),
    ),
    "predictions": (
        _file("x.json", lambda path: read_rows(path, "predictions")),
        (b'[{"id": "a", "prediction": "x"}]',),
    ),
    "run": (_file("x.run", lambda path: read_rows(path, "predictions")), (b"q Q0 d 1 0.5 t\n",)),
    "option": (_words(lambda text: arguments.options([text], "--x")), (b"x=[1, 2]", b'x={"a": 1}')),
    "locator": (_words(Locator.of), (b"a.tif#page=2&channel=a%2Fb",)),
    "phi": (_words(_redact), (b"Seen by Dr. Anna Roth on 3 May 2019, MRN 00123.",)),
    "question": (_words(_prompt), (b"How many nuclei?",)),
}


def call(name: str, data: bytes, folder: Path) -> None:
    """Feed one target; an error that is no RagvlmError gets out."""
    try:
        TARGETS[name][0](data, folder)
    except RagvlmError as error:
        assert "\n" not in str(error), f"an error of several lines: {error}"
