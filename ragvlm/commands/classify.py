"""``ragvlm classify``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ragvlm import arguments as arg
from ragvlm import output as out

if TYPE_CHECKING:
    from ragvlm.results import Classification
    from ragvlm.types import Classifier

ZERO_SHOT = "zero-shot"


class WordsCommand(TyperCommand):
    """A command whose option --labels takes all words up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give every word its own --labels, which is how the parser knows many values.

        Raises InputError for a picture among the labels, which would go unnoticed there.
        """
        from ragvlm.errors import InputError
        from ragvlm.images import SUPPORTED_SUFFIXES

        args = spread(args, "--labels")
        for before, word in pairwise(args):
            if before == "--labels" and Path(word).suffix.lower() in SUPPORTED_SUFFIXES and Path(word).is_file():
                raise InputError(f"picture {word} stands among the labels: give pictures before --labels")
        return super().parse_args(ctx, args)


def spread(args: list[str], option: str) -> list[str]:
    """``args`` with ``option`` before each of the words that follow it, up to the next option."""
    done: list[str] = []
    taking = bare = False
    for word in args:
        if word.startswith("-") and len(word) > 1:
            done += [option] if bare else []
            taking = bare = word == option
            done += [] if taking else [word]
        else:
            done += [option, word] if taking else [word]
            bare = False
    return [*done, option] if bare else done


def classify(
    images: Annotated[
        list[Path], typer.Argument(help="Pictures to classify, or folders; before --labels.", metavar="IMAGE...")
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Words, a .toml or .txt file, a label set's name, a column of the index, or a tuned model's folder.",
            metavar="LABEL...",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "--classifier",
            help="zero-shot, knn, probe, ...: see `ragvlm models` [knn where --labels is a column, else zero-shot].",
        ),
    ] = None,
    index_dir: Annotated[
        Path | None,
        typer.Option("--index", "-i", help="Labelled references, and their encoder.", metavar="DIR"),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Give sets of labels that miss the right one in at most this share of cases.")
    ] = None,
    subject_id: arg.Subject = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help='A sentence such as "a fundus photograph of {label}"; may be repeated.', metavar="TEXT"),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="Of zero-shot: see `ragvlm models` [biomedclip].")] = None,
    rule: Annotated[str | None, typer.Option(help="softmax or sigmoid [the encoder's own].")] = None,
    top: Annotated[int | None, typer.Option(help="Only the most probable labels [10; all with --json].")] = None,
    encoder_option: arg.EncoderOptions = None,
    method_option: Annotated[
        list[str] | None,
        typer.Option(
            "--method-option",
            "--classifier-option",
            help="An option of the method, as k=5; may be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    trust_remote_code: arg.Trust = False,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Write a table, a picture a row; the same command goes on.", metavar="OUT.csv"),
    ] = None,
    as_json: arg.Json = False,
) -> None:
    """Say how probable labels are for pictures.

    The labels are those of an index's references (knn, probe), words that an encoder compares with the pictures
    (zero-shot), or those of a trained model. With --json one object a line is printed for each picture.
    """
    from ragvlm.errors import InputError
    from ragvlm.manypictures import expand
    from ragvlm.tasks.classify import default_classifier

    if top is not None and top < 1:
        raise InputError(f"--top is {top}: ask for at least 1 label")
    named = expand(images)
    skip = out.Skip(alone=len(named) == 1)
    pictures = [path for path in named if _is_picture(path, skip)]
    words: Any = labels[0] if labels and len(labels) == 1 else labels
    if method is None and isinstance(words, str) and (Path(words) / "card.json").is_file():
        method, words = words, None
    name = method or default_classifier(words, index_dir)
    common: dict[str, Any] = {"device": device, "dtype": dtype, "trust_remote_code": trust_remote_code}
    given = {"labels": words, "templates": template, "rule": rule, "encoder": encoder, "index": index_dir}
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value}
    chosen |= {} if alpha is None else {"alpha": alpha}
    if name == ZERO_SHOT:
        chosen["encoder_options"] = arg.options(encoder_option, "--encoder-option", **common)
        common = {}
    elif index_dir:
        chosen["index"] = _opened(index_dir, arg.options(encoder_option, "--encoder-option", **common))
        common = {}
    elif encoder_option:
        raise InputError(f"classifier {name!r} has no encoder: leave --encoder-option out")
    chosen |= arg.options(method_option, "--method-option", **common)
    classifier = load(name, chosen)
    asked = {"subject_id": subject_id, "skip": skip}
    if to:
        _gather(classifier, pictures, to, asked)
    else:
        _show(classifier, pictures, asked, top, as_json)
    if skip.count:
        raise typer.Exit(2)


def _is_picture(path: str, skip: out.Skip) -> bool:
    """A model takes long to load: what is no picture is said before."""
    from ragvlm.errors import ImageError
    from ragvlm.images import image_info

    try:
        image_info(path)
    except ImageError as error:
        skip(path, error)
        return False
    return True


def load(name: str, chosen: dict[str, Any]) -> Classifier:
    """The classifier ``name`` with the options ``chosen``."""
    from ragvlm.classifiers import load_classifier

    return load_classifier(name, **chosen)


def _opened(folder: Path, encoder_options: dict[str, Any]) -> Any:
    from ragvlm.index import Index

    return Index.open(folder, encoder_options=encoder_options)


def _show(classifier: Classifier, images: list[str], asked: dict[str, Any], top: int | None, as_json: bool) -> None:
    """Classify ``images`` and print each result as soon as it is there."""
    from ragvlm.tasks.classify import batches

    done: list[Classification] = []
    with out.progress("Classifying", quiet=len(images) < 2) as progress:
        for batch in batches(classifier, images, **asked):
            done += batch
            progress(len(done), len(images))
            for found in batch:
                out.print_json(found.to_dict(top)) if as_json else out.terminal().show_classification(found, top or 10)
    if done and not as_json:
        out.terminal().show_rule(done[-1])


def _gather(classifier: Classifier, images: list[str], to: Path, asked: dict[str, Any]) -> None:
    """Classify those of ``images`` that the table ``to`` lacks, batch by batch."""
    from ragvlm.tasks.classify import batches
    from ragvlm.tasks.table import ClassificationTable

    table = ClassificationTable(to, classifier)
    left = [image for image in images if image not in table.done]
    with out.progress("Classifying") as progress:
        progress(len(images) - len(left), len(images))
        for batch in batches(classifier, left, **asked):
            table.append(batch)
            progress(len(table.done), len(images))
    out.say(f"{to}: {len(table.done)} pictures")
