"""report.html: a run as one self-contained page that can be read, checked and printed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ragvlm.errors import MissingExtraError
from ragvlm.evaluation.folder import INDEX, write_text
from ragvlm.evaluation.page import figures, strangers, tables, words
from ragvlm.evaluation.page.reading import Run
from ragvlm.evaluation.page.showcase import Pictures, sections

if TYPE_CHECKING:
    from ragvlm.corpus import Corpus
    from ragvlm.index import Index

_MOST_LEAKS = 50


def write_report(folder: Path, *, corpus: Corpus | None = None, index: Index | None = None) -> Path:
    """Write the page of the finished run in ``folder`` and give its path.

    The page holds what the folder holds. Pictures come from ``corpus`` (those asked about) and ``index`` (neighbours;
    default: the folder's own); without them it has none. Without matplotlib (``ragvlm[eval]``) it has no plots.
    Raises InputError where the run isn't finished, StoreError where the page can't be written.
    """
    write_text(folder / "report.html", render_report(folder, corpus=corpus, index=index))
    return folder / "report.html"


def render_report(folder: Path, *, corpus: Corpus | None = None, index: Index | None = None) -> str:
    """The page as a string, the same for the same folder. Raises InputError where the run isn't finished."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("ragvlm").joinpath("data/run.html.jinja").read_text(encoding="utf-8")
    run = Run.open(folder)
    return environment.from_string(source).render(
        metrics=run.metrics,
        warning=run.results.warning,
        facts=_facts(run),
        summary=[*words.summary(run), *strangers.stranger_summary(run)],
        **_tables(run),
        **_plots(run),
        leakage=_leakage(run),
        notes=[(name, about["note"]) for name, about in run.metrics["about"].items() if about["note"]],
        literature=[row | {"link": _link(row)} for row in run.metrics.get("literature", [])],
        sections=sections(run, Pictures(corpus, index or _own_index(folder))),
        definitions=words.definitions(run),
    )


def _own_index(folder: Path) -> Index | None:
    from ragvlm.index import Index

    return Index.open(folder / INDEX) if (folder / INDEX).is_dir() else None


def _tables(run: Run) -> dict[str, Any]:
    rest = [name for name in run.measures if name not in run.headlines]
    compared = ("system", "baseline")
    return {
        "measure_tables": tables.measure_tables(run, run.headlines),
        "more_measures": tables.measure_tables(run, rest),
        "group_tables": tables.group_tables(run, run.headlines[:1]),
        "more_groups": tables.group_tables(run, run.headlines[1:]),
        "difference_tables": tables.difference_tables(run, run.headlines[:2], *compared),
        "more_differences": tables.difference_tables(run, [*run.headlines[2:], *rest], *compared),
        "control_tables": tables.control_tables(run, run.headlines[:2]),
        "more_controls": tables.control_tables(run, [*run.headlines[2:], *rest]),
        "stranger_tables": strangers.stranger_tables(run),
    }


def _plots(run: Run) -> dict[str, Any]:
    """All plots; none, and a line that says so, without matplotlib."""
    none: dict[str, Any] = dict.fromkeys(("measure_plots", "answer_plots", "control_plots", "stranger_plots"), ())
    if not run.headlines:
        return none | {"no_plots": ""}
    try:
        return {
            "measure_plots": [*figures.measure_plots(run), *figures.group_plots(run)],
            "answer_plots": [*figures.retrieval_plots(run), *figures.risk_plots(run), *figures.class_plots(run)],
            "control_plots": figures.control_plots(run),
            "stranger_plots": strangers.stranger_plots(run),
            "no_plots": "",
        }
    except MissingExtraError as error:
        return none | {"no_plots": str(error)}


def _facts(run: Run) -> list[tuple[str, str]]:
    """What was evaluated on what: names and values, those that the folder holds."""
    config, machine, suite = run.config, run.machine, run.suite
    index = config.get("index") or {}
    split = config.get("split") or {}
    packages = ", ".join(f"{name} {version}" for name, version in (machine.get("packages") or {}).items())
    found = {
        "Suite": f"{run.metrics['suite']} ({run.task})",
        "Data": suite.source if suite else "",
        "Licence": suite.licence if suite else "",
        "DOI": (suite.doi or "") if suite else "",
        "Items": f"{run.metrics['n']} of {run.metrics['clusters']} subjects",
        "Systems": ", ".join(run.systems("system")),
        "Split": split.get("by", "") and f"by {split['by']}; references of a query's own subject: {_own(run)}",
        "References retrieved": ", ".join(map(str, config.get("k", []))),
        "Index": f"{index['records']} records, fingerprint {index['fingerprint'][:16]}" if index else "",
        "Encoder": f"{index['encoder']}, fingerprint {index['encoder_fingerprint'][:16]}" if index else "",
        "Corpus": str(config.get("corpus", ""))[:16] and f"fingerprint {config['corpus'][:16]}",
        "Seed and resamples": f"{run.metrics['seed']}; {run.metrics['resamples']} by subject",
        "Versions": ", ".join(filter(None, [f"ragvlm {run.metrics['ragvlm']}", _python(machine), packages])),
        "Machine": ", ".join(filter(None, [machine.get("processor"), _cores(machine), machine.get("platform")])),
    }
    return [(name, value) for name, value in found.items() if value]


def _own(run: Run) -> str:
    own = str(run.metrics["leakage"]["own_subject"])
    return {"hide": "hidden from it", "keep": "kept", "wanted": "wanted, being what is looked for"}.get(own, own)


def _python(machine: dict[str, Any]) -> str:
    return f"Python {machine['python']}" if "python" in machine else ""


def _cores(machine: dict[str, Any]) -> str:
    return f"{machine['cores']} cores" if machine.get("cores") else ""


def _leakage(run: Run) -> dict[str, Any] | None:
    """What the guard found, with the first leaks as rows; None where the folder doesn't say."""
    if not run.leakage:
        return None
    leaks, excluded = run.leakage["leaks"], set(run.leakage["excluded"])
    rows = [leak | {"left_out": leak["id"] in excluded} for leak in leaks[:_MOST_LEAKS]]
    return run.leakage | {"rows": rows, "more": len(leaks) - len(rows), "left_out": len(excluded)}


def _link(row: dict[str, Any]) -> str | None:
    """Where a published figure can be looked up; None where nothing safe is given."""
    url = f"https://doi.org/{row['doi']}" if row.get("doi") else row.get("url")
    return url if url and urlsplit(url).scheme in ("http", "https") else None
