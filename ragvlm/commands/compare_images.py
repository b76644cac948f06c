"""``ragvlm compare-images``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def compare_images(
    first: Annotated[Path, typer.Argument(help="A picture.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="The picture to compare it with.", metavar="B")],
    index_dir: arg.IndexDir,
    generator: Annotated[str, typer.Option("--generator", "-g", help="See `ragvlm models`.")] = "consensus",
    k: Annotated[int, typer.Option("-k", help="How many references of each picture are compared.")] = 5,
    alpha: Annotated[float, typer.Option(help="Level of the abstention test; 0 never abstains.")] = 0.05,
    duplicates: arg.Duplicates = "report",
    subject_id: arg.Subject = None,
    keep_subject: arg.KeepSubject = False,
    exclude_id: arg.ExcludeId = None,
    where: arg.Where = None,
    window: arg.Window = None,
    slices: arg.Slices = None,
    axis: arg.Axis = None,
    threshold: arg.Threshold = None,
    generator_option: arg.GeneratorOptions = None,
    encoder_option: arg.EncoderOptions = None,
    device: arg.Device = None,
    trust_remote_code: arg.Trust = False,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.", metavar="OUT.html")] = None,
    as_json: arg.Json = False,
) -> None:
    """Say what differs between two pictures, with evidence from the references of each, or abstain."""
    from ragvlm.describe import Describer
    from ragvlm.index.manifest import read_manifest
    from ragvlm.paths import check_writable
    from ragvlm.tasks.compare_images import compare_images as compare

    both = arg.shared(read_manifest(index_dir).encoder, generator, device=device, trust_remote_code=trust_remote_code)
    describer = Describer(
        index_dir,
        generator,
        k,
        alpha=alpha,
        threshold=threshold,
        duplicates=duplicates,
        exclude_subject=not keep_subject,
        exclude_ids=frozenset(exclude_id or ()),
        where=where,
        generator_options=arg.options(generator_option, "--generator-option", **both["generators"]),
        encoder_options=arg.options(encoder_option, "--encoder-option", **both["encoders"]),
    )
    if report:
        check_writable(report)
    view: dict[str, str | float | None] = {"window": window, "slices": slices, "axis": axis}
    found = compare(describer, arg.placed(str(first), **view), arg.placed(str(second), **view), subject_id=subject_id)
    if as_json:
        out.print_json(found.to_dict())
    else:
        from ragvlm.taskterminal import show_image_comparison

        show_image_comparison(found)
    if report:
        from ragvlm.report import write_comparison

        write_comparison(found, describer.index, report)
        out.say(f"report: {report}")
