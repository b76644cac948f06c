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
    images: Annotated[list[Path], typer.Argument(help="Pictures to classify; before --labels.", metavar="IMAGE...")],
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Words, a .toml or .txt file, or a label set's name.", metavar="LABEL..."),
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(help='A sentence such as "a fundus photograph of {label}"; may be repeated.', metavar="TEXT"),
    ] = None,
    encoder: Annotated[str | None, typer.Option(help="See `ragvlm models` [biomedclip].")] = None,
    index_dir: Annotated[
        Path | None, typer.Option("--index", "-i", help="Take this index's encoder.", metavar="DIR")
    ] = None,
    classifier: Annotated[str, typer.Option(help="See `ragvlm models`; vit and resnet need no labels.")] = ZERO_SHOT,
    rule: Annotated[str | None, typer.Option(help="softmax or sigmoid [the encoder's own].")] = None,
    top: Annotated[int | None, typer.Option(help="Only the most probable labels [10; all with --json].")] = None,
    encoder_option: arg.EncoderOptions = None,
    classifier_option: Annotated[
        list[str] | None,
        typer.Option("--classifier-option", help="An option of the classifier; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    device: arg.Device = None,
    dtype: arg.Dtype = None,
    trust_remote_code: arg.Trust = False,
    as_json: arg.Json = False,
) -> None:
    """Say how probable labels are for pictures.

    Labels of your own are compared with the pictures by an encoder (zero-shot). With --json one object a line is
    printed for each picture.
    """
    from ragvlm.errors import InputError
    from ragvlm.images import image_info

    if top is not None and top < 1:
        raise InputError(f"--top is {top}: ask for at least 1 label")
    for path in images:  # a model takes long to load: what is no picture is said before
        image_info(path)
    common = {"device": device, "dtype": dtype, "trust_remote_code": trust_remote_code}
    given = {"labels": labels, "templates": template, "rule": rule, "encoder": encoder, "index": index_dir}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value}
    if classifier == ZERO_SHOT:
        chosen["encoder_options"] = arg.options(encoder_option, "--encoder-option", **common)
        common = {}
    elif encoder_option:
        raise InputError(f"classifier {classifier!r} has no encoder: leave --encoder-option out")
    chosen |= arg.options(classifier_option, "--classifier-option", **common)
    _show(_load(classifier, chosen), [str(path) for path in images], top, as_json)


def _load(name: str, chosen: dict[str, Any]) -> Classifier:
    """The classifier; zero-shot by the encoder of ``chosen["index"]`` where that is given."""
    from ragvlm.classifiers import load_classifier
    from ragvlm.errors import InputError
    from ragvlm.index import Index

    if name == ZERO_SHOT and "index" in chosen:
        if "encoder" in chosen:
            raise InputError("give --encoder or --index, not both: an index brings its own encoder")
        chosen["encoder"] = Index.open(chosen.pop("index"), encoder_options=chosen.pop("encoder_options")).encoder
    return load_classifier(name, **chosen)


def _show(classifier: Classifier, images: list[str], top: int | None, as_json: bool) -> None:
    """Classify ``images`` and print each result as soon as it is there."""
    from ragvlm.tasks.classify import batches

    done: list[Classification] = []
    with out.progress("Classifying", quiet=len(images) < 2) as progress:
        for batch in batches(classifier, images):
            done += batch
            progress(len(done), len(images))
            for found in batch:
                out.print_json(found.to_dict(top)) if as_json else out.terminal().show_classification(found, top or 10)
    if not as_json:
        out.terminal().show_rule(done[-1])
