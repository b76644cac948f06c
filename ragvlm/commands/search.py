"""``ragvlm search``."""

from __future__ import annotations

from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def search(
    query: Annotated[str, typer.Argument(help="A picture's path, or words.")],
    index_dir: arg.IndexDir,
    k: Annotated[int, typer.Option("-k", help="How many references.")] = 10,
    mode: Annotated[str, typer.Option(help="auto, image, text or fused.")] = "auto",
    fusion: arg.Fusion = "rrf",
    duplicates: arg.Duplicates = "report",
    diversity: arg.Diversity = 0.0,
    subject_id: arg.Subject = None,
    keep_subject: arg.KeepSubject = False,
    exclude_id: arg.ExcludeId = None,
    where: arg.Where = None,
    window: arg.Window = None,
    slices: arg.Slices = None,
    axis: arg.Axis = None,
    mask_burned_in: arg.MaskBurnedIn = False,
    all_slices: Annotated[
        bool, typer.Option("--all-slices", help="Find slices of a volume each by itself, not the nearest alone.")
    ] = False,
    channel: arg.Channel = None,
    projection: arg.Projection = None,
    tile: arg.Tile = None,
    mpp: arg.Mpp = None,
    tissue: arg.Tissue = None,
    metadata: arg.Metadata = None,
    regions: arg.Regions = None,
    weight: arg.Weights = None,
    encoder_option: arg.EncoderOptions = None,
    device: arg.Device = None,
    trust_remote_code: arg.Trust = False,
    as_json: arg.Json = False,
) -> None:
    """Find the references nearest to a picture or words."""
    from ragvlm.index import Index
    from ragvlm.results import hit_to_dict

    chosen = arg.options(encoder_option, "--encoder-option", device=device, trust_remote_code=trust_remote_code)
    view: dict[str, str | float | None] = {"window": window, "slices": slices, "axis": axis}
    view |= {"mask": "text" if mask_burned_in else None, "channel": channel, "projection": projection}
    asked = arg.placed(query, **view, tile=tile, mpp=mpp, tissue=tissue)
    hits = Index.open(index_dir, encoder_options=chosen).search(
        asked,
        k,
        mode,
        fusion=fusion,
        duplicates=duplicates,
        diversity=diversity,
        subject_id=subject_id,
        exclude_subject=not keep_subject,
        exclude_ids=frozenset(exclude_id or ()),
        where=where,
        slices="all" if all_slices else "best",
        weights=arg.weights(weight),
        metadata=arg.pairs(metadata, "--metadata"),
        regions=regions,
    )
    if as_json:
        out.print_json({"query": query, "hits": [hit_to_dict(hit) for hit in hits]})
    else:
        out.terminal().hits_table(hits)
