"""``ragvlm describe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragvlm import arguments as arg
from ragvlm import output as out
from ragvlm.errors import InputError

if TYPE_CHECKING:
    from ragvlm.describe import Describer
    from ragvlm.types import Description


def describe(
    images: Annotated[list[Path], typer.Argument(help="Pictures to describe.", metavar="IMAGE...")],
    index_dir: arg.IndexDir,
    generator: Annotated[str, typer.Option("--generator", "-g", help="See `ragvlm models`.")] = "consensus",
    k: Annotated[int, typer.Option("-k", help="How many references the generator sees.")] = 5,
    alpha: Annotated[float, typer.Option(help="Level of the abstention test; 0 never abstains.")] = 0.05,
    mode: Annotated[str, typer.Option(help="image or fused.")] = "image",
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
    question: Annotated[
        str | None, typer.Option(help="Ask this of each picture; needs a generator that hears.")
    ] = None,
    template: Annotated[
        str,
        typer.Option(
            help="describe, few-shot, few-shot-pictures, findings-impression, zero-shot or your own .jinja file."
        ),
    ] = "describe",
    max_chars: Annotated[int | None, typer.Option(help="Bound on a prompt [what the generator can hold].")] = None,
    threshold: arg.Threshold = None,
    keep_unsupported: arg.KeepUnsupported = False,
    generator_option: arg.GeneratorOptions = None,
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
    dtype: Annotated[
        str | None, typer.Option(help="Number type of the generator [what the device is good at].")
    ] = None,
    trust_remote_code: arg.Trust = False,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.", metavar="OUT.html")] = None,
    as_json: arg.Json = False,
) -> None:
    """Describe pictures with evidence, or abstain.

    With --json one object a line is printed for each picture.
    """
    from ragvlm.describe import Describer
    from ragvlm.index.manifest import read_manifest
    from ragvlm.paths import check_writable

    encoder = read_manifest(index_dir).encoder
    both = _shared(encoder, generator, device=device, trust_remote_code=trust_remote_code)
    describer = Describer(
        index_dir,
        generator,
        k,
        alpha=alpha,
        template=template,
        max_chars=max_chars,
        threshold=threshold,
        keep_unsupported=keep_unsupported,
        mode=mode,
        fusion=fusion,
        duplicates=duplicates,
        diversity=diversity,
        exclude_subject=not keep_subject,
        exclude_ids=frozenset(exclude_id or ()),
        where=where,
        weights=arg.weights(weight),
        generator_options=arg.options(generator_option, "--generator-option", dtype=dtype, **both["generators"]),
        encoder_options=arg.options(encoder_option, "--encoder-option", **both["encoders"]),
    )
    if report:
        check_writable(report)
    view: dict[str, str | float | None] = {"window": window, "slices": slices, "axis": axis}
    view["mask"] = "text" if mask_burned_in else None
    view |= {"channel": channel, "projection": projection, "tile": tile, "mpp": mpp, "tissue": tissue}
    known = {"subject_id": subject_id, "metadata": arg.pairs(metadata, "--metadata"), "regions": regions}
    found = _show(describer, [arg.placed(str(path), **view) for path in images], question, as_json, known)
    if report:
        from ragvlm.report import write_report

        write_report(found, describer.index, report)
        out.say(f"report: {report}")


def _shared(encoder: str, generator: str, **given: str | bool | None) -> dict[str, dict[str, str | bool]]:
    """What was ``given`` for encoder and generator alike, for those that take it; InputError where neither does."""
    from ragvlm.registry import takes

    found: dict[str, dict[str, str | bool]] = {"encoders": {}, "generators": {}}
    for option, value in given.items():
        takers = [kind for kind, name in zip(found, (encoder, generator), strict=True) if takes(kind, name, option)]
        if value and not takers:
            flag = option.replace("_", "-")
            raise InputError(f"--{flag}: neither encoder {encoder!r} nor generator {generator!r} has it: leave it out")
        found |= {kind: found[kind] | {option: value} for kind in takers if value}
    return found


def _show(
    describer: Describer, images: list[str], question: str | None, as_json: bool, known: dict[str, Any]
) -> list[Description]:
    """Describe ``images`` and print each description as soon as it is there."""
    found: list[Description] = []
    with out.progress("Describing", quiet=len(images) < 2) as progress:
        for batch in describer.batches(images, question=question, **known):
            found += batch
            progress(len(found), len(images))
            for description in batch:
                out.print_json(description.to_dict()) if as_json else out.terminal().show_description(description)
    return found
