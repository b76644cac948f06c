"""A store grows whatever else was imported."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

BESIDE = """
import faiss
import SimpleITK  # its std::vector<unsigned char> is what SWIG takes FAISS's for from now on
import sys
from pathlib import Path
import numpy as np
from ragvlm.stores import load_store
from ragvlm.stores.exact import ArrayVectors
rows = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
store = load_store("faiss-hnsw")(16)
store.add(rows[:500])
store.save(Path(sys.argv[1]))
mapped = load_store("faiss-hnsw").load(Path(sys.argv[1]))
mapped.attach(ArrayVectors(16, rows))
mapped.add(rows[500:])
assert mapped.slots == 600
assert mapped.search(rows[590:591], 3)[1][0][0] == 590
"""


@pytest.mark.skipif(importlib.util.find_spec("SimpleITK") is None, reason="SimpleITK is not installed")
def test_a_mapped_store_grows_beside_another_library_of_swig(tmp_path):
    done = subprocess.run([sys.executable, "-c", BESIDE, str(tmp_path / "s.faiss")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
