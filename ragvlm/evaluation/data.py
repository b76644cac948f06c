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
from ragvlm.evaluation.sources import Source
from ragvlm.evaluation.suite import Suite
from ragvlm.paths import cache_dir

VARIABLE = "RAGVLM_DATA"


def place(suite: Suite, source: Source | None = None) -> Path | None:
    """Where ``source`` lies (default: the suite's corpus), whether or not it is there.

    Simulated ones are in ``<cache>/simulated``. None where ``$RAGVLM_DATA`` would say it and isn't set.
    """
    source = source or suite.corpus
    if source.simulate is not None:
        recipe = json.dumps([__version__, dict(source.simulate)], sort_keys=True)
        return cache_dir() / "simulated" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    if source.path is not None:
        return suite.file.absolute().parent / Path(source.path).expanduser()
    root = os.environ.get(VARIABLE)
    return Path(root).expanduser().absolute() / str(source.data) if root else None


def absent(suite: Suite) -> str | None:
    """One line that says what is missing and where to get it; None where all is there or is simulated."""
    other = suite.foreign.source if suite.foreign else None
    for source in filter(None, (suite.corpus, other)):
        found = place(suite, source)
        if source.simulate is None and (found is None or not found.exists()):
            missing = (
                f"{found} is not there" if found else f"${VARIABLE} is not set (the folder that holds {source.data})"
            )
            return f"suite {suite.name!r} is skipped: {missing}; {source.get}"
    return None


def load_corpus(
    suite: Suite, progress: Callable[[int, int], None] | None = None, source: Source | None = None
) -> Corpus:
    """Read ``source`` (default: the suite's corpus).

    A simulated one is drawn first, once, with ``progress(done, of)`` after each picture. Raises CorpusError with the
    line of ``absent`` where something isn't there, else what ``Corpus.load`` and ``simulate_corpus`` raise.
    """
    source = source or suite.corpus
    found, line = place(suite, source), absent(suite)
    if found is None or line is not None:
        raise CorpusError(str(line))
    if source.simulate is not None:
        _simulated(source, found, progress)
    return Corpus.load(found, columns=source.columns, reader=source.reader, strict=True)


def _simulated(source: Source, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    from filelock import FileLock

    from ragvlm.simulate import simulate_corpus

    arguments = dict(source.simulate or {})
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        simulate_corpus(folder, arguments.pop("n"), arguments.pop("seed"), progress=progress, **arguments)
