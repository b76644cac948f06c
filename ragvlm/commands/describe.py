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
    images: Annotated[list[Path], typer.Argument(help="Pictures to describe, or folders of them.", metavar="IMAGE...")],
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
    combine: arg.Combine = "consensus",
    samples: arg.Samples = 1,
    counts: Annotated[
        bool, typer.Option("--counts/--no-counts", help="Count in the picture, where `ragvlm regions` was run.")
    ] = True,
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
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Write JSON lines to this file; the same command goes on.", metavar="OUT.jsonl"),
    ] = None,
    as_json: arg.Json = False,
) -> None:
    """Describe pictures with evidence, or abstain.

    With --json one object a line is printed for each picture. Of several pictures those that can't be read are named
    and the others described; the exit code is then 2.
    """
    from ragvlm.describe import Describer
    from ragvlm.index.manifest import read_manifest
    from ragvlm.manypictures import expand
    from ragvlm.paths import check_writable

    if to and report:
        raise InputError("--report shows what one run describes, --out gathers several: give one of them")
    encoder = read_manifest(index_dir).encoder
    both = arg.shared(encoder, generator, device=device, trust_remote_code=trust_remote_code)
    describer = Describer(
        index_dir,
        generator,
        k,
        alpha=alpha,
        template=template,
        max_chars=max_chars,
        threshold=threshold,
        keep_unsupported=keep_unsupported,
        counts=counts,
        mode=mode,
        fusion=fusion,
        duplicates=duplicates,
        diversity=diversity,
        exclude_subject=not keep_subject,
        exclude_ids=frozenset(exclude_id or ()),
        where=where,
        weights=arg.weights(weight),
        generator_options={"combine": combine, "samples": samples}
        | arg.options(generator_option, "--generator-option", dtype=dtype, **both["generators"]),
        encoder_options=arg.options(encoder_option, "--encoder-option", **both["encoders"]),
    )
    if report:
        check_writable(report)
    view: dict[str, str | float | None] = {"window": window, "slices": slices, "axis": axis}
    view["mask"] = "text" if mask_burned_in else None
    view |= {"channel": channel, "projection": projection, "tile": tile, "mpp": mpp, "tissue": tissue}
    known = {"subject_id": subject_id, "metadata": arg.pairs(metadata, "--metadata"), "regions": regions}
    pictures = [arg.placed(picture, **view) for picture in expand(images)]
    asked: dict[str, Any] = {"question": question, **known}
    if to:
        skipped = _gather(describer, pictures, to, asked)
    else:
        found, skipped = _show(describer, pictures, asked, as_json)
    if report:
        from ragvlm.report import write_report

        write_report(found, describer.index, report)
        out.say(f"report: {report}")
    if skipped:
        raise typer.Exit(2)


def _show(
    describer: Describer, pictures: list[str], asked: dict[str, Any], as_json: bool
) -> tuple[list[Description], int]:
    """Describe ``pictures`` and print each description as soon as it is there; the descriptions and who has none."""
    found: list[Description] = []
    skip = out.Skip(alone=len(pictures) == 1)
    with out.progress("Describing", quiet=len(pictures) < 2) as progress:
        for batch in describer.batches(pictures, skip=skip, **asked):
            found += batch
            progress(len(found) + skip.count, len(pictures))
            for description in batch:
                out.print_json(description.to_dict()) if as_json else out.terminal().show_description(description)
    return found, skip.count


def _gather(describer: Describer, pictures: list[str], to: Path, asked: dict[str, Any]) -> int:
    """Describe those of ``pictures`` that the file ``to`` lacks, batch by batch; how many can't be read."""
    from ragvlm.manypictures import DescriptionFile

    file = DescriptionFile(to, describer.settings(asked["question"]))
    left = [picture for picture in pictures if picture not in file.done]
    skip, done = out.Skip(), len(pictures) - len(left)
    with out.progress("Describing") as progress:
        for batch in describer.batches(left, skip=skip, **asked):
            file.append([description.to_dict() for description in batch])
            done += len(batch)
            progress(done + skip.count, len(pictures))
    out.say(f"{to}: {done} of {len(pictures)} pictures" + (f", {skip.count} can't be read" if skip.count else ""))
    return skip.count
