"""The corpus of a suite: where it lies, what to do where it is absent, and reading it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from ragvlm import __version__
from ragvlm.corpus import Corpus
from ragvlm.errors import CorpusError
from ragvlm.evaluation.suite import Suite
from ragvlm.paths import cache_dir

VARIABLE = "RAGVLM_DATA"


def place(suite: Suite) -> Path | None:
    """Where the suite's corpus lies, whether or not it is there; simulated ones in ``<cache>/simulated``.

    None where ``$RAGVLM_DATA`` would say it and isn't set.
    """
    source = suite.corpus
    if source.simulate is not None:
        recipe = json.dumps([__version__, dict(source.simulate)], sort_keys=True)
        return cache_dir() / "simulated" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if source.path is not None:
        return suite.file.absolute().parent / Path(source.path).expanduser()
    root = os.environ.get(VARIABLE)
    return Path(root).expanduser().absolute() / str(source.data) if root else None


def absent(suite: Suite) -> str | None:
    """One line that says what is missing and where to get it; None where the corpus is there or is simulated."""
    found = place(suite)
    if suite.corpus.simulate is not None or (found is not None and found.exists()):
        return None
    missing = (
        f"{found} is not there" if found else f"${VARIABLE} is not set (the folder that holds {suite.corpus.data})"
    )
    return f"suite {suite.name!r} is skipped: {missing}; {suite.corpus.get}"


def load_corpus(suite: Suite, progress: Callable[[int, int], None] | None = None) -> Corpus:
    """Read the suite's corpus; a simulated one is drawn first, once, with ``progress(done, of)`` after each picture.

    Raises CorpusError with the line of ``absent`` where it isn't there, else what ``Corpus.load`` and
    ``simulate_corpus`` raise.
    """
    found, line = place(suite), absent(suite)
    if found is None or line is not None:
        raise CorpusError(str(line))
    if suite.corpus.simulate is not None:
        _simulated(suite, found, progress)
    return Corpus.load(found, columns=suite.corpus.columns, reader=suite.corpus.reader, strict=True)


def _simulated(suite: Suite, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    from filelock import FileLock

    from ragvlm.simulate import simulate_corpus

    arguments = dict(suite.corpus.simulate or {})
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        simulate_corpus(folder, arguments.pop("n"), arguments.pop("seed"), progress=progress, **arguments)
