"""``ragvlm regions``."""

from __future__ import annotations

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def regions(index_dir: arg.IndexFolder, as_json: arg.Json = False) -> None:
    """Gather the regions of an index whose corpus has boxes, and say how well they are found.

    `ragvlm ground` does so by itself the first time. From then on `ragvlm describe` counts in the picture.
    """
    from ragvlm.index import Index
    from ragvlm.regions.learn import regions_of

    with out.progress("Gathering regions") as progress:
        found = regions_of(Index.open(index_dir), progress)
    if as_json:
        out.print_json({"index": str(index_dir), "pictures": len(found.record_ids), "labels": found.measured})
        return
    typer.echo(f"{len(found.record_ids)} pictures; each was asked without itself:")
    for label, told in found.measured.items():
        typer.echo(
            f"  {label}: {told['boxes']:.0f} boxes, F1 {told['f1']:.3f} (precision {told['precision']:.3f}, recall "
            f"{told['recall']:.3f}) at IoU 0.5; count off by {told['count_error']:.2f}, that of the picture most alike "
            f"by {told['neighbour_error']:.2f}"
        )
