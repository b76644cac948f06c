"""What a person sees in the terminal: tables, descriptions, a progress bar. Rich does the drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ragvlm.agreement import Agreement
from ragvlm.doctor import Examination
from ragvlm.errors import one_line
from ragvlm.evaluation.compare import Compared, Comparison
from ragvlm.evaluation.results import Results
from ragvlm.evaluation.score import Scored
from ragvlm.registry import Entry
from ragvlm.results import Classification, region_words
from ragvlm.statistics import Difference, Interval
from ragvlm.types import Description, Hit


def hits_table(hits: Sequence[Hit]) -> None:
    """One row a hit: rank, score, id, caption; in a pipe a line each, with tabs between."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for hit in hits:
            console.file.write(f"{hit.rank}\t{hit.score:.3f}\t{_name(hit)}\t{_words(hit)}\n")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("rank", justify="right", style="bold")
    table.add_column("score", justify="right")
    table.add_column("id", overflow="fold", style="cyan")
    table.add_column("caption", overflow="fold")
    for hit in hits:
        table.add_row(str(hit.rank), f"{hit.score:.3f}", escape(_name(hit)), escape(_words(hit)))
    console.print(table)


def show_description(description: Description) -> None:
    """The text with its citations, then the references, or the reason for abstaining."""
    console = Console(highlight=False)
    # a pipe has no width: there every line is whole
    wrap = not console.is_terminal
    console.print(f"[bold]{escape(one_line(description.query_id))}[/bold]", soft_wrap=True)
    if description.abstained:
        console.print(f"[yellow]Abstained:[/yellow] {escape(one_line(description.reason or ''))}", soft_wrap=wrap)
    else:
        console.print(escape(one_line(description.cited_text)), soft_wrap=wrap)
        console.print(f"[dim]confidence {description.confidence:.2f}[/dim]")
    cited = {i for item in description.evidence for i in item.record_ids}
    for hit in description.context.hits:
        style = "" if hit.record.id in cited else "dim"
        line = f"  [{hit.rank}] {hit.score:.3f}  {_name(hit)}  {_words(hit)}"
        if wrap:
            console.print(Text(line), soft_wrap=True)
        else:
            console.print(Text(line, style=style), no_wrap=True, overflow="ellipsis")
    console.print()


def show_classification(found: Classification, top: int) -> None:
    """The picture, then its ``top`` most probable labels, a line each, highest first."""
    console = Console(highlight=False)
    console.print(f"[bold]{escape(one_line(found.query_id))}[/bold]", soft_wrap=True)
    width = len(f"{found.top[1]:.2%}")
    for position, (label, probability) in enumerate(found.ranked[:top]):
        line = f"  {probability:{width}.2%}  {one_line(label)}"
        console.print(Text(line, style="" if position else "bold"), soft_wrap=True)
    more = len(found.labels) - top
    if more > 0:
        console.print(Text(f"  {'...':>{width}}  and {more} more", style="dim"))
    if found.slice is not None:
        console.print(Text(f"  mean over the slices; likeliest in {one_line(found.slice)}", style="dim"))
    if found.set_words:
        console.print(Text(f"  {one_line(found.set_words)}"), soft_wrap=True)
    for hit in found.neighbours:
        line = f"  [{hit.rank}] {hit.score:.3f}  {one_line(found.label_of(hit) or '')}  {_name(hit)}"
        console.print(Text(line, style="dim"), soft_wrap=True)


def show_rule(found: Classification) -> None:
    """How the numbers came about, in one line."""
    says = {
        "softmax": f"softmax: shares of the {len(found.labels)} labels, which add up to 100%",
        "sigmoid": "sigmoid: each label by itself, so they need not add up to 100%",
    }
    encoder = found.provenance.get("encoder")
    by = f"{found.classifier} with {encoder['name']}" if encoder else found.classifier
    how = f"calibrated (temperature {found.temperature:.2f})" if found.temperature is not None else "not calibrated"
    line = f"{says.get(found.rule, found.rule)}; {by}; {how}"
    Console(highlight=False).print(Text(one_line(line), style="dim"), soft_wrap=True)


def models_table(entries: Sequence[Entry]) -> None:
    """One row a plug-in; what is missing stands with the command that brings it."""
    table = Table(box=None, pad_edge=False)
    for column in ("kind", "name", "usable", "what it is"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        usable = "no" if entry.missing else "once fetched" if entry.command else "[green]yes[/green]"
        about = entry.summary + (f" (hub: {entry.hub_id})" if entry.hub_id else "")
        if entry.command:
            about += f"\n{entry.command}"
        table.add_row(entry.kind.removesuffix("s"), f"[bold]{entry.name}[/bold]", usable, escape(about))
    Console(highlight=False).print(table)


def show_results(results: Results) -> None:
    """A line for each system and measure: the figure with its interval; in a pipe with tabs between."""
    console = Console(highlight=False)
    head, *lines = str(results).splitlines()
    if not console.is_terminal:
        console.file.write("\n".join([head, *lines]) + "\n")
        return
    table = Table(box=None, pad_edge=False, title=escape(head), title_justify="left")
    for column in ("system", "measure", "figure [95% interval]"):
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*(escape(cell) for cell in line.split("\t")))
    console.print(table)


def show_comparison(found: Comparison) -> None:
    """A table for each pair, a row a measure; the systems' own intervals where the terminal is wide enough."""
    console = Console(highlight=False)
    if not console.is_terminal:
        lines = ["\t".join(map(one_line, ("a", "b", "measure", "value of a", "value of b", *_HEAD[2:])))]
        lines += ["\t".join(map(one_line, (row.a, row.b, row.measure, *_figures(row, True)))) for row in found.rows]
        console.file.write("\n".join([*lines, *found.remarks]) + "\n")
        return
    for a, b in dict.fromkeys((row.a, row.b) for row in found.rows):
        console.print(Text(f"a: {one_line(a)}\nb: {one_line(b)}", style="bold"))
        table = Table(box=None, pad_edge=False)
        table.add_column("measure", overflow="fold")
        for title in _HEAD:
            table.add_column(title, no_wrap=True)
        for row in found.rows:
            if (row.a, row.b) == (a, b) and row.difference.value == row.difference.value:
                way = " ↓" if row.higher_is_better is False else ""
                style = "bold" if row.p_holm < 0.05 else ""
                cells = _figures(row, console.width >= _WIDE)
                table.add_row(escape(one_line(row.measure) + way), *map(escape, cells), style=style)
        console.print(table)
        console.print()
    console.print(Text("\n".join(found.remarks), style="dim"))


def show_scores(found: Scored) -> None:
    """A row a measure and group: figure, interval, number of items; a table a system, in a pipe tabs between."""
    console = Console(highlight=False)
    if not console.is_terminal:
        lines = ["\t".join(("system", "measure", "group", "value", "low", "high", "n"))]
        for row in found.rows:
            figures = ("-" if row[name] is None else f"{row[name]:.4f}" for name in ("value", "low", "high"))
            words = (one_line(row[name]) for name in ("system", "measure", "group"))
            lines.append("\t".join((*words, *figures, str(row["n"]))))
        console.file.write("\n".join([*lines, *found.remarks]) + "\n")
        return
    for system in dict.fromkeys(row["system"] for row in found.rows):
        table = Table(box=None, pad_edge=False, title=escape(one_line(system)), title_justify="left")
        table.add_column("measure", overflow="fold")
        table.add_column("figure [95%]", no_wrap=True)
        table.add_column("n", justify="right")
        for row in (row for row in found.rows if row["system"] == system):
            way = "" if row["higher_is_better"] else " ↓"
            name = f"  {one_line(row['group'])}" if row["group"] else one_line(row["measure"]) + way
            table.add_row(escape(name), escape(_shown(row)), str(row["n"]), style="dim" if row["group"] else "")
        console.print(table)
    console.print(Text("\n".join(found.remarks), style="dim"))


def _shown(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return "-"
    return f"{row['value']:.3f}" + ("" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]")


_HEAD = ("a", "b", "a - b [95%]", "p (Holm)")
_WIDE = 120


def _figures(row: Compared, wide: bool) -> tuple[str, ...]:
    sides = (_limits(value, wide) for value in (row.value_a, row.value_b))
    p = "-" if row.p_holm != row.p_holm else "<0.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}"
    return (*sides, _limits(row.difference, True), p)


def _limits(figure: Interval | Difference, wide: bool) -> str:
    if figure.value != figure.value:
        return "-"
    if not wide or figure.low != figure.low:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def show_agreement(found: Agreement) -> None:
    """What a precision changes, with the recommendation as the last line."""
    mean, least = found.cosine
    show_mapping(
        {
            "encoder": f"{found.encoder} in {found.precision}, beside fp32",
            "pictures": f"{found.pictures}" + (f" ({found.skipped} can't be read)" if found.skipped else ""),
            f"overlap@{found.k} [95%]": _limits(found.overlap, True),
            "same nearest [95%]": _limits(found.first, True),
            "rank correlation [95%]": _limits(found.order, True),
            "cosine of the vectors": f"mean {mean:.4f}, least {least:.4f}",
            "speed": f"{found.speed:.2f} times fp32 (CPU of the image tower)",
            "advice": found.advice,
        }
    )


def show_examination(found: Examination) -> None:
    """The machine, a line an extra with what is missing of it, then what is wrong."""
    show_mapping(found.machine | {"settings": ", ".join(found.machine["settings"]) or "none"})
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for title in ("extra", "state", "missing", "what brings it"):
        table.add_column(title, overflow="fold")
    for part in found.parts:
        state = "[yellow]not whole[/yellow]" if part.lacking else "[green]complete[/green]"
        missing = ", ".join(
            f"{package.name} ({package.told})" if package.version else package.name for package in part.lacking
        )
        table.add_row(part.extra or "ragvlm", state, missing, escape(part.command) if part.lacking else "")
    console.print(table)
    for line in found.findings:
        console.print(f"[red]![/red] {escape(one_line(line))}", soft_wrap=True)


def show_mapping(facts: Mapping[str, Any]) -> None:
    """Name and value, a line each."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), escape(_plain(value)))
    Console(highlight=False).print(table)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None]]:
    """A bar on stderr with count, rate and time left; yields ``update(done, total, note)``."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total, note="": progress.update(
            task, completed=done, total=total, description=f"{title} {note}".rstrip()
        )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "-/s", style="dim")


def _name(hit: Hit) -> str:
    notes = [f"{hit.duplicate} duplicate"] if hit.duplicate else []
    notes += [words] if (words := region_words(hit.record)) else []
    notes += [f"slice {hit.slice}"] if hit.slice is not None else []
    notes += [f"nearest to the query's {hit.query_slice}"] if hit.query_slice else []
    return one_line(hit.record.id) + (f" ({'; '.join(notes)})" if notes else "")


def _words(hit: Hit) -> str:
    labels = ", ".join(f"{k}: {v}" for k, v in hit.record.labels.items())
    return one_line(hit.record.caption or labels or "(no caption)")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k or '(unstated)'}: {_plain(v)}" for k, v in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return "; ".join(_plain(v) for v in value) or "-"
    return "-" if value is None else one_line(str(value))
