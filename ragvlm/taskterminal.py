"""What a person sees of answers and comparisons in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ragvlm.errors import one_line
from ragvlm.results import Answer, ImageComparison
from ragvlm.types import Description, Evidence


def show_answer(found: Answer, top: int) -> None:
    """The answer with its shares, then the ``top`` neighbours that weigh most."""
    console = Console(highlight=False)
    wrap = not console.is_terminal
    console.print(f"[bold]{escape(one_line(found.query_id))}[/bold]", soft_wrap=True)
    console.print(escape(one_line(found.question)), soft_wrap=wrap)
    if found.abstained:
        console.print(f"[yellow]Abstained:[/yellow] {escape(one_line(found.reason or ''))}", soft_wrap=wrap)
    else:
        console.print(f"[bold]{escape(one_line(found.answer))}[/bold]", soft_wrap=wrap)
        for line in (found.contradiction, found.slice and f"decided by {found.slice}"):
            if line:
                console.print(escape(one_line(line)), soft_wrap=wrap)
        console.print(f"[dim]confidence {found.confidence:.2f}[/dim]")
    for neighbour in found.neighbours[:top]:
        copy = f" ({neighbour.duplicate} duplicate)" if neighbour.duplicate else ""
        line = one_line(f"  {neighbour.weight:.3f}  {neighbour.record_id}{copy}  {neighbour.told}")
        shape: dict[str, Any] = {"soft_wrap": True} if wrap else {"no_wrap": True, "overflow": "ellipsis"}
        console.print(Text(line), **shape)
    if (more := len(found.neighbours) - top) > 0:
        console.print(Text(f"  and {more} more that vote", style="dim"))
    console.print()


def show_image_comparison(found: ImageComparison) -> None:
    """What differs, a line a finding with the references of each side, then what both show."""
    console = Console(highlight=False)
    wrap = not console.is_terminal
    for title, side in (("first", found.a), ("second", found.b)):
        console.print(f"[bold]{title}[/bold]  {escape(one_line(side.query_id))}", soft_wrap=True)
    if found.abstained:
        console.print(f"[yellow]Abstained:[/yellow] {escape(one_line(found.reason or ''))}", soft_wrap=wrap)
        return
    for difference in found.differences:
        console.print(f"[dim]differs, confidence {difference.confidence:.2f}[/dim]")
        for title, words, evidence, side in (
            ("first ", difference.a, difference.evidence_a, found.a),
            ("second", difference.b, difference.evidence_b, found.b),
        ):
            if words and evidence:
                console.print(f"  {title}  {escape(one_line(words))}{escape(_marks(evidence, side))}", soft_wrap=wrap)
    for own, other in found.shared:
        marks = f"first{_marks(own, found.a)}, second{_marks(other, found.b)}"
        console.print(f"both: {escape(one_line(own.sentence))} {escape(marks)}", soft_wrap=wrap)
    if not found.differences:
        console.print("The references tell no difference.")


def _marks(evidence: Evidence, side: Description) -> str:
    rank = {hit.record.id: hit.rank for hit in side.context.hits}
    return " " + "".join(f"[{rank[name]}]" for name in evidence.record_ids if name in rank)
