"""Hostile bytes for the readers, the decoders, the manifest, the suites and the JSON that the command takes.

A RagvlmError of one line is the only error that may come out. ``tests/fuzz.py`` goes on where these examples end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from fuzztargets import TARGETS, call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what decoders say of broken files

NASTY = (
    *(b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\n", b"\r", b'"'),
    *(b"[" * 3000, b'{"a":' * 3000, b"1e999", b"-1", b"9" * 400, b"NaN", b"../", b"\x1b[2J", b"=" * 10),
)


@st.composite
def mutated(draw, seeds):
    """One of ``seeds`` cut, with parts exchanged for nasty or random ones; or nothing but those."""
    data = bytearray(draw(st.sampled_from((*seeds, b""))))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, min(12, len(data) - start)))
        data[start : start + length] = draw(st.sampled_from(NASTY) | st.binary(max_size=12))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.integers(0, 3)) == 0 else bytes(data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_hostile_bytes_end_in_one_line(name, data):
    content = data.draw(mutated(TARGETS[name][1]))
    with tempfile.TemporaryDirectory() as folder:
        call(name, content, Path(folder))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"a=" + b"[" * 100_000, b"\0" * 100, b""])
def test_deep_nesting_ends_in_one_line(name, content, tmp_path):
    call(name, content, tmp_path)
