"""Is an index what was written? Checksums, counts, and stores against segments; and mending what can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ragvlm.errors import StoreError
from ragvlm.index.checks import RETRIES, damage
from ragvlm.index.derived import differs, needed, without
from ragvlm.index.finish import finish, leftovers, tidied
from ragvlm.index.ledger import Ledger
from ragvlm.index.lock import writing
from ragvlm.index.manifest import NAME, Manifest, read_manifest


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file, and what mends it; ``derived`` says that ``repair`` can."""

    file: str
    problem: str
    remedy: str
    derived: bool

    def __str__(self) -> str:
        return f"{self.file} {self.problem}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was looked at and what is wrong with it now; ``repaired`` was wrong before.

    ``leftovers`` are files that a killed run left (or that another process writes just now); they do no harm.
    """

    path: str
    files: int
    records: int
    findings: tuple[Finding, ...]
    leftovers: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The object that ``ragvlm verify --json`` prints."""
        return {
            "path": self.path,
            "sound": self.sound,
            "files": self.files,
            "records": self.records,
            "damaged": [{"file": f.file, "problem": f.problem, "remedy": f.remedy} for f in self.findings],
            "leftovers": list(self.leftovers),
            "repaired": list(self.repaired),
        }

    def __str__(self) -> str:
        lines = [f"damaged: {finding}" for finding in self.findings]
        lines += [f"repaired: {file}" for file in self.repaired]
        lines += [f"left by a run that was killed: {file}" for file in self.leftovers]
        state = "sound" if self.sound else f"{len(self.findings)} damaged"
        return "\n".join([*lines, f"{self.path}: {self.records} records in {self.files} files: {state}"])


def verify(root: Path, progress: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Compare all files of the index ``root`` with their checksums, its counts and its stores with its segments.

    Reads all of it, and writes nothing; ``progress`` is called with the bytes compared and all bytes. Raises
    StoreError where ``root`` is no index at all.
    """
    for _ in range(RETRIES):
        report, generation = _look(root, progress)
        if report.sound or generation is None or read_manifest(root).generation == generation:
            break  # else another process wrote beside us, and what was looked at is gone
    return report


def repair(root: Path, progress: Callable[[int, int], None] | None = None, *, wait: bool = False) -> VerifyReport:
    """Make what is derived from the segments again where it is damaged, and remove leftovers; then ``verify``.

    Raises StoreError where another process writes the index.
    """
    first = verify(root, progress)
    if any(finding.file == NAME for finding in first.findings):
        return first
    with writing(root, wait=wait), tidied(root):
        first = verify(root)
        broken = {finding.file for finding in first.findings if finding.derived}
        manifest = read_manifest(root)
        if manifest.vanished is not None and manifest.vanished.file in broken:
            manifest = replace(manifest, vanished=None)
        whole = all(finding.derived for finding in first.findings)
        manifest = replace(manifest, derived=without(manifest, broken))
        finish(root, manifest, derive=whole and any(not file.startswith("vanished") for file in broken))
        last = verify(root)
    repaired = sorted({finding.file for finding in first.findings} - {finding.file for finding in last.findings})
    return replace(last, repaired=tuple(repaired))


def _look(root: Path, progress: Callable[[int, int], None] | None) -> tuple[VerifyReport, int | None]:
    try:
        manifest = read_manifest(root)
    except StoreError as error:
        if not (root / NAME).exists() and not (root / "segments").is_dir():
            raise
        finding = Finding(NAME, f"can't be used ({error})", "nothing else says what the index is made of", False)
        return VerifyReport(str(root), 0, 0, (finding,)), None
    problems: dict[str, str | None] = {}
    total, done = sum(item.bytes for item in manifest.files), 0
    for item in manifest.files:
        problems[item.file] = damage(root, item, checksums=True)
        done += item.bytes
        if progress is not None:
            progress(done, total)
    found = [*_segments(root, manifest, problems)]
    if not found:
        found += _counts(root, manifest)
    found += _derived(root, manifest, problems, whole=not found)
    rest = tuple(path.relative_to(root).as_posix() for path in leftovers(root, manifest))
    records, files = manifest.counts.records, len(manifest.files) + 1
    return VerifyReport(str(root), files, records, tuple(found), rest), manifest.generation


def _segments(root: Path, manifest: Manifest, problems: Mapping[str, str | None]) -> Iterator[Finding]:
    for segment in manifest.segments:
        problem = problems[segment.file]
        if problem is None:
            continue
        remedy = (
            f"copy it again, or encode its {segment.rows} records again (those still in the corpus): "
            f"ragvlm index {manifest.corpus_root} --out {root} --rehash"
        )
        yield Finding(segment.file, problem, remedy, False)


def _counts(root: Path, manifest: Manifest) -> Iterator[Finding]:
    try:
        counts = Ledger.read(root, manifest).counts
    except StoreError as error:
        yield Finding(NAME, f"names a segment that can't be used ({error})", "index again into another --out", False)
        return
    if counts != manifest.counts:
        problem = f"counts {manifest.counts.records} records, the segments hold {counts.records} or others"
        yield Finding(NAME, problem, f"index again: ragvlm index {manifest.corpus_root} --out {root} --rehash", False)


def _derived(root: Path, manifest: Manifest, problems: Mapping[str, str | None], *, whole: bool) -> Iterator[Finding]:
    remedy = f"make it again: ragvlm verify {root} --repair" if whole else "mend the segments first"
    for kind in needed(manifest) if manifest.complete else ():
        if manifest.derived_of(kind) is None:
            yield Finding(f"{kind} file", "is not there", remedy, True)
    for item in manifest.derived:
        problem = problems[item.file]
        if problem is None and whole and manifest.complete:
            problem = differs(root, manifest, item)
        if problem:
            yield Finding(item.file, problem, remedy, True)
    if manifest.vanished and (problem := problems[manifest.vanished.file]):
        remedy = f"the next run marks again what left the corpus; drop the list: ragvlm verify {root} --repair"
        yield Finding(manifest.vanished.file, problem, remedy, True)
