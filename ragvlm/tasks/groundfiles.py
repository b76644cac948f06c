"""What grounding and segmentation write: a page, a mask, COCO's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ragvlm.errors import InputError
from ragvlm.images import thumbnail_data_uri
from ragvlm.notebook import lines, table
from ragvlm.paths import atomic_path
from ragvlm.regions.coco import write_coco
from ragvlm.regions.drawing import write_mask
from ragvlm.regions.found import Grounding

SIDE = 960
_STYLE = "body{font:16px/1.5 system-ui,sans-serif;max-width:1000px;margin:24px auto;padding:0 16px}img{max-width:100%}"


def write_files(
    found: Grounding, *, report: Path | None = None, coco: Path | None = None, out: Path | None = None
) -> list[str]:
    """Write what is asked for; a line for each file. A mask of a volume is that of the deciding slice.

    Raises InputError for a mask that isn't .png, StoreError where a file can't be written.
    """
    said = []
    if out is not None:
        if found.abstained:
            raise InputError(f"{out}: there is no mask to write, the question can't be answered: {found.reason}")
        write_mask(found.mask(found.regions[0].part if found.regions else None), out)
        said.append(f"mask: {out}")
    if coco is not None:
        write_coco([found], coco)
        said.append(f"COCO: {coco}")
    if report is not None:
        with atomic_path(report) as temporary:
            temporary.write_text(render_page([found]), encoding="utf-8")
        said.append(f"report: {report}")
    return said


def render_page(found: Sequence[Grounding]) -> str:
    """One self-contained page: each picture with its regions drawn, and a table of them."""
    body = "".join(_section(one) for one in found)
    head = f'<meta charset="utf-8"><title>Regions</title><style>{_STYLE}</style>'
    note = "<p>For research, not for clinical use.</p>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>Regions</h1>{body}{note}</body></html>\n'


def _section(found: Grounding) -> str:
    drawn = found.drawn()
    picture = "" if drawn is None else f'<img src="{thumbnail_data_uri(drawn, SIDE)}" alt="{escape(found.phrase)}">'
    if found.abstained:
        said = lines(f"Abstained: {found.reason}")
    else:
        said = lines(f"{found.phrase}: {found.count}", found.reason or "")
    um = ("µm",) if found.pixel_um else ()
    head = ("score", "label", "x", "y", *um, "like regions of")
    rows = []
    for region in found.regions:
        left, top, right, bottom = region.box
        size: tuple[str, ...] = ()
        if found.pixel_um:
            size = (f"{(right - left) * found.pixel_um[0]:.1f} x {(bottom - top) * found.pixel_um[1]:.1f}",)
        where = (f"{left:.0f} to {right:.0f}", f"{top:.0f} to {bottom:.0f}")
        rows.append((f"{region.score:.2f}", region.label, *where, *size, ", ".join(region.record_ids)))
    return f"<section><h2>{escape(found.query_id)}</h2>{picture}{said}{table(head, rows) if rows else ''}</section>"
