"""``ragvlm ask``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragvlm import arguments as arg
from ragvlm import output as out


def ask(
    image: Annotated[Path, typer.Argument(help="The picture that is asked about.", metavar="IMAGE")],
    question: Annotated[str, typer.Argument(help="What is asked.", metavar="QUESTION")],
    index_dir: arg.IndexDir,
    generator: Annotated[
        str, typer.Option("--generator", "-g", help="consensus (a vote), nearest, or one that writes.")
    ] = "consensus",
    options: Annotated[
        str | None,
        typer.Option(help="The answers that are allowed [yes,no or 'A or B' as asked]; '' for any.", metavar="A,B,..."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many references a generator sees.")] = 5,
    voters: Annotated[int, typer.Option(help="How many answered questions vote.")] = 40,
    picture_weight: Annotated[float, typer.Option(help="What the picture counts beside the question's words.")] = 0.75,
    alpha: Annotated[float, typer.Option(help="Level of the abstention test; 0 never abstains.")] = 0.05,
    duplicates: arg.Duplicates = "report",
    subject_id: arg.Subject = None,
    keep_subject: arg.KeepSubject = False,
    exclude_id: arg.ExcludeId = None,
    where: arg.Where = None,
    window: arg.Window = None,
    slices: arg.Slices = None,
    axis: arg.Axis = None,
    mask_burned_in: arg.MaskBurnedIn = False,
    max_chars: Annotated[int | None, typer.Option(help="Bound on a prompt [what the generator can hold].")] = None,
    threshold: arg.Threshold = None,
    keep_unsupported: Annotated[
        bool, typer.Option("--keep-unsupported", help="Give an answer that no reference supports.")
    ] = False,
    combine: arg.Combine = "consensus",
    samples: arg.Samples = 1,
    generator_option: arg.GeneratorOptions = None,
    encoder_option: arg.EncoderOptions = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    trust_remote_code: arg.Trust = False,
    as_json: arg.Json = False,
) -> None:
    """Answer a question about a picture from the references nearest to both, with evidence, or abstain.

    In a corpus of questions those that are alike vote with their answers; else the answer is read from captions.
    """
    from ragvlm.describe import Describer
    from ragvlm.index.manifest import read_manifest
    from ragvlm.tasks.ask import Asker, checked_options

    allowed = None if options is None else [option for option in options.split(",") if option.strip()]
    checked_options(question, allowed)  # told before weights are loaded
    both = arg.shared(read_manifest(index_dir).encoder, generator, device=device, trust_remote_code=trust_remote_code)
    describer = Describer(
        index_dir,
        generator,
        k,
        alpha=alpha,
        max_chars=max_chars,
        threshold=threshold,
        keep_unsupported=keep_unsupported,
        duplicates=duplicates,
        exclude_subject=not keep_subject,
        exclude_ids=frozenset(exclude_id or ()),
        where=where,
        generator_options={"combine": combine, "samples": samples}
        | arg.options(generator_option, "--generator-option", dtype=dtype, **both["generators"]),
        encoder_options=arg.options(encoder_option, "--encoder-option", **both["encoders"]),
    )
    view: dict[str, str | float | None] = {"window": window, "slices": slices, "axis": axis}
    view["mask"] = "text" if mask_burned_in else None
    with out.progress("Encoding questions") as progress:
        asker = Asker(describer, voters=voters, picture_weight=picture_weight, progress=progress)
        found = asker(arg.placed(str(image), **view), question, allowed, subject_id=subject_id)
    if as_json:
        out.print_json(found.to_dict())
    else:
        from ragvlm.taskterminal import show_answer

        show_answer(found, max(k, 1))
