"""Suite -> run: a folder with what was predicted, how it scored, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ragvlm
from ragvlm.corpus import Corpus
from ragvlm.errors import InputError
from ragvlm.evaluation import folder as files
from ragvlm.evaluation import foreign
from ragvlm.evaluation.bench import Bench
from ragvlm.evaluation.cases import Case, cases_of
from ragvlm.evaluation.data import load_corpus
from ragvlm.evaluation.guard import look
from ragvlm.evaluation.predicting import Progress, predict, systems_of
from ragvlm.evaluation.report import write_report
from ragvlm.evaluation.results import Results
from ragvlm.evaluation.scoring import check_measures, score
from ragvlm.evaluation.split import Parts, parts_of
from ragvlm.evaluation.suite import Suite, load_suite
from ragvlm.generators import names_of, plug_in_of
from ragvlm.index import Index
from ragvlm.registry import find, split
from ragvlm.statistics import RESAMPLES
from ragvlm.types import Classifier, Encoder, Generator

if TYPE_CHECKING:
    from ragvlm.describe import Describer

RUNS = Path("eval/runs")
SEARCHES = ("image", "fused")
DEFAULT_SYSTEMS = {"describe": ("consensus",), "vqa": ("consensus",), "ground": ("neighbours",)}


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is asked to do beside its suite: see ``evaluate``."""

    systems: tuple[str | Generator | Classifier | Describer, ...] = ()
    index: Index | None = None
    encoder: str | Encoder | None = None
    controls: bool = False
    limit: int | None = None
    keep_leaks: bool = False
    keep_subject: bool = False
    resamples: int = RESAMPLES
    progress: Progress = field(default=lambda title: nullcontext(lambda done, total: None))

    @property
    def describers(self) -> list[Describer]:
        """Those of the systems that are Describers."""
        return describers_of(self.systems)


def evaluate(
    systems: str | Generator | Classifier | Describer | Sequence[str | Generator | Classifier | Describer] = (),
    *,
    suite: str | Path | Suite,
    index: Index | str | Path | None = None,
    encoder: str | Encoder | None = None,
    out: str | Path | None = None,
    controls: bool = False,
    limit: int | None = None,
    keep_leaks: bool = False,
    keep_subject: bool = False,
    seed: int | None = None,
    resamples: int = RESAMPLES,
    progress: Progress | None = None,
) -> Results:
    """Run ``suite`` (a TOML file) in the folder ``out`` (default: eval/runs/NAME), and give its figures.

    What was predicted before the process ended is kept: the same call goes on from there, and a finished run called
    again gives the same files.

    Args:
        systems: generators by name or object, or Describers, whose index and k are then taken (describe, vqa);
            classifiers (classify); modes of search (retrieve). Default: the suite's, else consensus for descriptions.
            The mandatory baselines come by themselves.
        index: what is retrieved from; default: one of the suite's own corpus, built in the run's folder.
        encoder: of that index; default: "embedded".
        controls: repeat all with a blank and a shuffled picture, with random neighbours and with those of another
            query.
        limit: ask about at most so many pictures, the same ones for the same suite.
        keep_leaks: keep queries that share a picture with the index; the results then say so loudly.
        keep_subject: let references of a query's own subject be retrieved, though the suite hides them; the results
            then say so loudly.
        seed: of random captions, controls and resamples; default: the suite's.
        resamples: of intervals and p-values.
        progress: a context manager of a stage's title that gives ``update(done, total)``.

    Raises InputError on one line for what doesn't go together and for a folder that holds another run; CorpusError
    where the data aren't there; MissingExtraError for a measure whose package is absent; and what its parts raise.
    """
    chosen = load_suite(suite) if isinstance(suite, str | Path) else suite
    many = systems if isinstance(systems, list | tuple) else [systems]
    asked: tuple[Any, ...] = tuple(many) or chosen.systems or DEFAULT_SYSTEMS.get(chosen.task, ())
    options = Options(
        asked,
        _index(asked, index),
        encoder,
        controls,
        limit,
        keep_leaks,
        keep_subject,
        resamples,
        **({} if progress is None else {"progress": progress}),
    )
    return _run(_adjusted(chosen, options, seed), options, Path(out) if out else RUNS / chosen.name)


def describers_of(systems: Sequence[Any]) -> list[Describer]:
    """Those of ``systems`` that are Describers."""
    from ragvlm.describe import Describer

    return [system for system in systems if isinstance(system, Describer)]


def _index(systems: Sequence[Any], index: Index | str | Path | None) -> Index | None:
    """The index that is given: by itself, or by Describers. Raises InputError where these disagree."""
    given = Index.open(index) if isinstance(index, str | Path) else index
    found = [*(describer.index for describer in describers_of(systems)), *([given] if given else [])]
    if len({one.fingerprint for one in found}) > 1:
        raise InputError("describers of several indexes can't be compared on the same items: give one index")
    return found[0] if found else None


def _adjusted(suite: Suite, options: Options, seed: int | None) -> Suite:
    """The suite with what the call decides. Raises InputError for values out of range."""
    if options.limit is not None and options.limit < 1:
        raise InputError(f"limit is {options.limit}: ask about at least 1 picture")
    if seed is not None and seed < 0:
        raise InputError(f"seed is {seed}: give 0 or more")
    _check_names(suite, options.systems)
    depths = {describer.k for describer in options.describers}
    if len(depths) > 1:
        raise InputError(f"describers with k {', '.join(map(str, sorted(depths)))}: give them the same k")
    if options.keep_subject and suite.split.by == "leave-one-out":
        raise InputError(f"{suite.file}: leaves one out, which would then be found: its own subject can't be kept")
    limits = [limit for limit in (options.limit, suite.split.limit) if limit is not None]
    return replace(
        suite,
        seed=suite.seed if seed is None else seed,
        k=tuple(depths) or suite.k,
        split=replace(
            suite.split,
            limit=min(limits, default=None),
            own_subject="keep" if options.keep_subject else suite.split.own_subject,
        ),
    )


def _check_names(suite: Suite, systems: Sequence[Any]) -> None:
    """Refuse names that aren't known before long work begins."""
    names = [system for system in systems if isinstance(system, str)]
    if suite.task == "ground":
        return  # its one way is checked where the systems are made
    if suite.task == "retrieve":
        if wrong := [name for name in names if name not in SEARCHES]:
            raise InputError(f"unknown mode of search {wrong[0]!r}: choose one of {', '.join(SEARCHES)}")
        return
    if suite.task == "classify":
        for name in names:
            find("classifiers", split(name)[0])
        return
    for name in (one for several in names for one in names_of(several)):
        find("generators", plug_in_of(name))


def _run(suite: Suite, options: Options, out: Path) -> Results:
    with options.progress("Reading the corpus") as update:
        corpus = load_corpus(suite, update)
    parts = parts_of(suite, corpus)
    cases = cases_of(suite, parts)
    measures = check_measures(suite, cases)
    with files.claimed(out, suite.file.read_bytes(), _settings(suite, options, corpus)):
        if not (out / files.MACHINE).exists():
            files.write_json(out / files.MACHINE, files.machine())
        index = options.index or _built(suite, options, corpus, parts, out)
        _note_index(out, index)
        bench = Bench(suite, corpus, cases, index, own=parts.own, search=_search(options), seed=suite.seed)
        bench = _without_leaks(bench, options, out)
        strangers = _strangers(bench, options, out)
        systems = systems_of(bench, options.systems, parts.index, controls=options.controls)
        predict(bench, systems, out, options.progress)
        if strangers is not None:
            foreign.ask(strangers, systems, out, options.progress)
        metrics = score(bench, systems, measures, out, options.resamples, options.progress, strangers)
        write_report(out, corpus=corpus, index=index)
    return Results(out, metrics)


def _built(suite: Suite, options: Options, corpus: Corpus, parts: Parts, out: Path) -> Index:
    indexed = Corpus.from_records(parts.index, root=corpus.root, name=suite.name)
    with options.progress("Indexing") as update:
        return Index.build(indexed, out / files.INDEX, encoder=options.encoder, progress=update)


def _note_index(out: Path, index: Index) -> None:
    """Keep in config.json which index it is. Raises InputError where it was another one before."""
    config = files.read_json(out / files.CONFIG)
    manifest = index.manifest
    found = {
        "fingerprint": index.fingerprint,
        "records": len(index),
        "encoder": manifest.encoder,
        "encoder_fingerprint": manifest.encoder_fingerprint,
        "skipped": manifest.skipped,
    }
    if config.get("index") not in (None, found):
        raise InputError(f"{out} holds a run with another index ({index.path} changed since): choose another --out")
    files.write_json(out / files.CONFIG, config | {"index": found})


def _search(options: Options) -> Any:
    """The search options of a given Describer, else those of descriptions."""
    return next((describer.search for describer in options.describers), None)


def _without_leaks(bench: Bench, options: Options, out: Path) -> Bench:
    """The bench without the cases that the guard excludes; writes leakage.json.

    Raises InputError where none is left.
    """
    if not (out / files.LEAKAGE).exists():
        with options.progress("Looking for leaks") as update:
            files.write_json(out / files.LEAKAGE, look(bench, keep=options.keep_leaks, progress=update))
    excluded = set(files.read_json(out / files.LEAKAGE)["excluded"])
    kept: list[Case] = [case for case in bench.cases if case.record.id not in excluded]
    if not kept:
        raise InputError(
            f"all {len(bench.records)} queries share a subject or a picture with the index ({out / files.LEAKAGE} "
            "lists them): index another corpus, or keep them with --keep-leaks"
        )
    return bench if len(kept) == len(bench.cases) else bench.only(kept)


def _strangers(bench: Bench, options: Options, out: Path) -> Bench | None:
    """The foreign queries of the suite, without those that the index holds after all; None where it has none.

    Raises InputError where none is left.
    """
    suite = bench.suite
    if suite.foreign is None:
        return None
    with options.progress("Reading foreign queries") as update:
        corpus = load_corpus(suite, update, suite.foreign.source) if suite.foreign.source else bench.corpus
    found = Bench(
        suite, corpus, foreign.foreign_cases(suite, corpus), bench.index, search=bench.search, seed=bench.seed
    )
    leakage = files.read_json(out / files.LEAKAGE)
    if "foreign" not in leakage:
        with options.progress("Looking for leaks of foreign queries") as update:
            leakage["foreign"] = look(found, keep=False, progress=update)
        files.write_json(out / files.LEAKAGE, leakage)
    excluded = set(leakage["foreign"]["excluded"])
    kept = [case for case in found.cases if case.id not in excluded]
    if not kept:
        raise InputError(f"{suite.file}: foreign: the index holds a picture of each of them; name another corpus")
    return found.only(kept)


def _settings(suite: Suite, options: Options, corpus: Corpus) -> dict[str, Any]:
    """What decides the files of a run."""
    given = options.index
    encoder = options.encoder if isinstance(options.encoder, str | None) else options.encoder.name
    return {
        "suite": suite.name,
        "task": suite.task,
        "corpus": corpus.fingerprint,
        "split": asdict(suite.split),
        "k": list(suite.k),
        "systems": [_described(system) for system in options.systems],
        "controls": list(suite.controls) if options.controls else [],
        "keep_leaks": options.keep_leaks,
        "seed": suite.seed,
        "resamples": options.resamples,
        "given_index": given.fingerprint if given is not None else None,
        "encoder": encoder,
        "ragvlm": ragvlm.__version__,
    }


def _described(system: Any) -> Any:
    """A system as JSON types: its name, and the options of a Describer."""
    if isinstance(system, str):
        return system
    if not hasattr(system, "from_retrieved"):
        return system.name
    search = system.search.to_dict()
    options = {name: getattr(system, name) for name in ("k", "alpha", "keep_unsupported")}
    writing = {"template": system.writer.template.name, "max_chars": system.writer.max_chars}
    return {"generator": system.generator.name, **options, **writing, **search, "threshold": system.checker.threshold}
