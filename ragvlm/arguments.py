"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ragvlm.errors import InputError

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
IndexDir = Annotated[Path, typer.Option("--index", "-i", help="An index folder.", metavar="DIR")]
IndexFolder = Annotated[Path, typer.Argument(help="An index folder.", metavar="DIR")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for another process that writes the index.")]
Subject = Annotated[
    str | None,
    typer.Option("--subject-id", help="Subject of the query: its own references are left out.", metavar="ID"),
]
Fusion = Annotated[str, typer.Option(help="How rankings are fused: rrf, score, or learned (see `ragvlm fuse`).")]
Duplicates = Annotated[str, typer.Option(help="References that show the query's own picture: report, exclude or off.")]
Diversity = Annotated[float, typer.Option(help="0 ranks by similarity alone, towards 1 by difference.")]
KeepSubject = Annotated[bool, typer.Option("--keep-subject", help="Keep references of the query's own subject.")]
ExcludeId = Annotated[list[str] | None, typer.Option(help="Leave out this record; may be repeated.", metavar="ID")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help="Only references with this modality, source, licence, label or column; repeated: of one name any value, "
        "of several names all.",
        metavar="NAME=VALUE",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", "-c", help="FIELD=COLUMN, e.g. caption=report or labels=wbc,rbc.", metavar="FIELD=COLUMN"),
]
Channel = Annotated[
    str | None, typer.Option(help="Channels of microscope stacks and slides, by name or number: DAPI,GFP [all].")
]
Projection = Annotated[str | None, typer.Option(help="What becomes of a stack's depth: max, mean or middle [max].")]
Tile = Annotated[int | None, typer.Option(help="Cut whole slides into tiles of so many pixels a side.")]
Mpp = Annotated[float | None, typer.Option(help="Micrometres a pixel at which tiles are cut [the slide's own].")]
Tissue = Annotated[float | None, typer.Option(help="Least share of a tile that must be tissue; 0 keeps all [0.25].")]
Metadata = Annotated[
    list[str] | None,
    typer.Option(help="What is known of the query, for --fusion learned; may be repeated.", metavar="NAME=VALUE"),
]
Regions = Annotated[
    Path | None, typer.Option(help="A mask of the query's regions, for --fusion learned.", metavar="MASK")
]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", help="In place of a learned weight: image=1, caption=, metadata=, regions=."),
]
Threshold = Annotated[float | None, typer.Option(help="Support from which a reference counts [as calibrated].")]
KeepUnsupported = Annotated[
    bool, typer.Option("--keep-unsupported", help="Mark unsupported sentences instead of dropping them.")
]
Combine = Annotated[
    str, typer.Option(help="Of several generators (-g a,b) or samples: consensus or vote.", metavar="HOW")
]
Samples = Annotated[int, typer.Option(help="Draw so many texts and combine them; for generators that sample.")]
GeneratorOptions = Annotated[
    list[str] | None,
    typer.Option("--generator-option", help="An option of the generator; may be repeated.", metavar="NAME=VALUE"),
]
EncoderOptions = Annotated[
    list[str] | None,
    typer.Option("--encoder-option", help="An option of the encoder; may be repeated.", metavar="NAME=VALUE"),
]
Store = Annotated[
    str,
    typer.Option(help="faiss or numpy (exact), faiss-hnsw, faiss-ivf (fast), milvus (a server); auto chooses by size."),
]
StoreOptions = Annotated[
    list[str] | None,
    typer.Option("--store-option", help="An option of the store, as m=48; may be repeated.", metavar="NAME=VALUE"),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ... [what is there].")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 [what the device is good at].")]
Precision = Annotated[str | None, typer.Option(help="fp32 or int8, where the encoder has both [fp32].")]
Trust = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the Python code that a model brings, with your rights.")
]
Window = Annotated[
    str | None,
    typer.Option(help="CT window: lung, bone, brain, ..., or centre,width in HU [the file's own]."),
]
Slices = Annotated[str | None, typer.Option(help="Slices of a volume: a number, all or every=K [16].")]
Axis = Annotated[str | None, typer.Option(help="Slices of NIfTI volumes: axial, coronal or sagittal [axial].")]
MaskBurnedIn = Annotated[
    bool, typer.Option("--mask-burned-in", help="Paint over text that is burnt into the border of pictures.")
]
MaxPixels = Annotated[int | None, typer.Option(help="Refuse pictures with more pixels than this.")]


def pairs(items: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE items as a dict; ``option`` is named in the InputError for one that is neither."""
    pairs = dict(item.partition("=")[::2] for item in items or [])
    if not all(pairs.values()):
        raise InputError(f"{option} takes NAME=VALUE, not {next(n for n in pairs if not pairs[n])!r}")
    return pairs


def options(items: list[str] | None, option: str, **common: str | int | bool | None) -> dict[str, Any]:
    """The options of a plug-in: those of ``common`` that were given, and the NAME=VALUE ``items`` of ``option``."""
    given = {name: chosen for name, chosen in common.items() if chosen}
    return given | {name: value(text) for name, text in pairs(items, option).items()}


def shared(encoder: str, generator: str, **given: str | bool | None) -> dict[str, dict[str, str | bool]]:
    """What was ``given`` for encoder and generator alike, for those that take it; InputError where neither does."""
    from ragvlm.generators import names_of, takes_option
    from ragvlm.registry import takes

    found: dict[str, dict[str, str | bool]] = {"encoders": {}, "generators": {}}
    for option, value in given.items():
        takers = ["encoders"] if takes("encoders", encoder, option) else []
        takers += ["generators"] if any(takes_option(name, option) for name in names_of(generator)) else []
        if value and not takers:
            flag = option.replace("_", "-")
            raise InputError(f"--{flag}: neither encoder {encoder!r} nor generator {generator!r} has it: leave it out")
        found |= {kind: found[kind] | {option: value} for kind in takers if value}
    return found


def placed(picture: str, **parts: str | float | None) -> str:
    """``picture`` with the ``parts`` that were given: see ``ragvlm.locator``. Raises InputError for words."""
    given = {name: chosen for name, chosen in parts.items() if chosen is not None}
    if not given:
        return picture
    from ragvlm.locator import Locator

    place = Locator.of(picture)
    if not place.file.exists():
        raise InputError(f"--{next(iter(given))} needs a picture's path, not {picture!r}")
    return str(place.but(**{name: str(chosen) for name, chosen in given.items()}))


def weights(items: list[str] | None) -> dict[str, float]:
    """The NAME=NUMBER ``items`` of --weight. Raises InputError for what is no number."""
    try:
        return {name: float(text) for name, text in pairs(items, "--weight").items()}
    except ValueError as error:
        raise InputError(f"--weight takes NAME=NUMBER ({error})") from error


def value(text: str) -> Any:
    """A number, true or false as such, anything else as words."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def some(items: Sequence[str]) -> str:
    """The first five items and, where there are more, an ellipsis."""
    return ", ".join(items[:5]) + (", ..." if len(items) > 5 else "")
