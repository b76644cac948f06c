"""``ragvlm ground`` and ``ragvlm segment``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ragvlm import arguments as arg
from ragvlm import output as out

Picture = Annotated[str, typer.Argument(help="A picture, or a volume: then every slice is looked at.")]
Phrase = Annotated[str, typer.Argument(help='What to look for: "white blood cell", or a label of the index.')]
IndexDir = Annotated[
    Path | None,
    typer.Option("--index", "-i", help="An index whose corpus has boxes: regions like its own.", metavar="DIR"),
]
Encoder = Annotated[str | None, typer.Option(help="A CLIP or SigLIP with a ViT tower: words on its patches.")]
Generator = Annotated[str | None, typer.Option("--generator", "-g", help="PaliGemma: its own words detect, segment.")]
Method = Annotated[str | None, typer.Option(help="neighbours, words or generator [by what is given].")]
Threshold = Annotated[float | None, typer.Option(help="Least score of a region [as measured, for words 0.5].")]
Against = Annotated[
    list[str] | None,
    typer.Option(help="What the phrase is told from, with --encoder; may be repeated.", metavar="WORDS"),
]
Decoder = Annotated[
    Path | None,
    typer.Option("--mask-decoder", help="Weights of PaliGemma's mask decoder, vae-oid.npz.", metavar="FILE"),
]
Pixel = Annotated[float | None, typer.Option("--pixel-size", help="µm a pixel [as the file says].", metavar="UM")]
Report = Annotated[Path | None, typer.Option(help="Write a page with the regions drawn.", metavar="HTML")]
Coco = Annotated[Path | None, typer.Option(help="Write the regions as COCO's JSON.", metavar="JSON")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="An option of the encoder or generator; may be repeated.", metavar="NAME=VALUE"),
]


def ground(
    image: Picture,
    phrase: Phrase,
    index_dir: IndexDir = None,
    encoder: Encoder = None,
    generator: Generator = None,
    method: Method = None,
    threshold: Threshold = None,
    against: Against = None,
    pixel_size: Pixel = None,
    subject_id: arg.Subject = None,
    exclude_id: arg.ExcludeId = None,
    report: Report = None,
    coco: Coco = None,
    option: Options = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    as_json: arg.Json = False,
) -> None:
    """Say where words are on a picture: boxes with scores.

    By an index whose corpus has boxes (regions like its own), by the patches of a CLIP or SigLIP, or by PaliGemma.
    """
    chosen = arg.options(option, "--option", device=device, dtype=dtype)
    files = {"report": report, "coco": coco}
    known: dict[str, Any] = {"threshold": threshold, "against": against, "pixel_um": pixel_size}
    known |= {"subject_id": subject_id, "exclude_ids": exclude_id or ()}
    given = {"index": index_dir, "encoder": encoder, "generator": generator, "method": method}
    _run(image, phrase, {**given, **known, "options": chosen}, files, as_json)


def segment(
    image: Picture,
    phrase: Phrase,
    index_dir: IndexDir = None,
    encoder: Encoder = None,
    generator: Generator = None,
    method: Method = None,
    threshold: Threshold = None,
    against: Against = None,
    mask_decoder: Decoder = None,
    pixel_size: Pixel = None,
    subject_id: arg.Subject = None,
    exclude_id: arg.ExcludeId = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Write the mask: 0 is background, n the n-th region.", metavar="PNG")
    ] = None,
    report: Report = None,
    coco: Coco = None,
    option: Options = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    as_json: arg.Json = False,
) -> None:
    """Say which pixels of a picture words mean: masks, by the same ways as ground.

    Compare a mask with a reference by `ragvlm score` (IoU, Dice).
    """
    chosen = arg.options(option, "--option", device=device, dtype=dtype)
    files = {"report": report, "coco": coco, "out": to}
    known: dict[str, Any] = {"threshold": threshold, "against": against, "pixel_um": pixel_size}
    known["mask_decoder"] = mask_decoder
    known |= {"subject_id": subject_id, "exclude_ids": exclude_id or (), "masks": True}
    given = {"index": index_dir, "encoder": encoder, "generator": generator, "method": method}
    _run(image, phrase, {**given, **known, "options": chosen}, files, as_json)


def _run(image: str, phrase: str, asked: dict[str, Any], files: dict[str, Path | None], as_json: bool) -> None:
    from ragvlm.paths import check_writable
    from ragvlm.tasks.ground import ground
    from ragvlm.tasks.groundfiles import write_files

    for path in files.values():
        if path is not None:
            check_writable(path)
    with out.progress("Gathering regions") as progress:
        found = ground(image, phrase, progress=progress, **asked)
    out.print_json(found.to_dict()) if as_json else typer.echo(str(found))
    if found.reason and not found.abstained:
        out.say(found.reason)
    for line in write_files(found, **files):
        out.say(line)
