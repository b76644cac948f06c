"""Ground and segment: where words are on a picture, as boxes and masks, by one of three ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ragvlm
from ragvlm.errors import InputError
from ragvlm.queries import as_query
from ragvlm.regions.found import FoundRegion, Grounding
from ragvlm.types import Encoder, Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from ragvlm.index import Index
    from ragvlm.types import Generator

METHODS = ("neighbours", "words", "generator")
MASK_NEEDS_DECODER = (
    "the box is drawn; its mask needs PaliGemma's mask decoder, which no checkpoint holds: give mask_decoder"
)


def ground(
    image: Any,
    phrase: str,
    *,
    index: Index | str | Path | None = None,
    encoder: str | Encoder | None = None,
    generator: str | Generator | None = None,
    method: str | None = None,
    threshold: float | None = None,
    against: Sequence[str] | None = None,
    mask_decoder: str | Path | None = None,
    pixel_um: float | tuple[float, float] | None = None,
    subject_id: str | None = None,
    exclude_ids: Iterable[str] = (),
    masks: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Grounding:
    """Where ``phrase`` is on one picture (a path, a PIL image, an array; of a volume on each slice).

    Args:
        index: with boxes in its corpus: candidates are labelled by the regions that they look like
            (``ragvlm.regions.neighbours``).
        encoder: a CLIP or SigLIP with a ViT tower, by name or loaded: words on its patches (``ragvlm.regions.heat``).
        generator: PaliGemma, by name or loaded: its own words ``detect`` and ``segment``.
        method: "neighbours", "words" or "generator"; default: by what is given, the generator before the encoder
            before the index; an index without boxes lends its encoder.
        threshold: in (0, 1]: least score of a region, resp. least share of the heat. Default: as the index measured
            for the label, resp. 0.5. A generator gives no scores.
        against: what the phrase is told from, in words (method "words").
        mask_decoder: file with the weights of PaliGemma's mask decoder (``ragvlm.regions.maskdecoder``).
        pixel_um: size of a pixel in µm, or (x, y); default: as the file says.
        subject_id, exclude_ids: regions of this subject and of these records don't vote.
        masks: ask for masks (``segment``).
        options: of the encoder or generator that is given by name.
        progress: called with (pictures done, all) while the regions of an index are gathered for the first time.

    Raises ImageError where the picture can't be decoded, InputError for what doesn't go together, and what the parts
    raise.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise InputError(f"threshold is {threshold}: give a number above 0, at most 1")
    if not phrase.strip():
        raise InputError("give the words to look for")
    query = as_query(image, picture=True)
    given = {"generator": generator, "encoder": encoder, "index": index}
    chosen = _method(method, given)
    if chosen == "generator":
        found = _by_generator(query, phrase, generator, mask_decoder, masks, dict(options or {}))
    elif chosen == "words":
        found = _by_words(query, phrase, _encoder(encoder, index, options), threshold or 0.5, against)
    else:
        from ragvlm.tasks.ground_neighbours import by_neighbours

        found = by_neighbours(query, phrase, index, threshold, subject_id, frozenset(exclude_ids), progress)
    return replace(found, pixel_um=_pixel(pixel_um, image))


def segment(image: Any, phrase: str, **options: Any) -> Grounding:
    """``ground`` with masks: see there for the arguments and errors."""
    return ground(image, phrase, masks=True, **options)


def _method(asked: str | None, given: Mapping[str, Any]) -> str:
    """The method, and that what it needs is there. Raises InputError."""
    if asked is not None and asked not in METHODS:
        raise InputError(f"method {asked!r}: choose one of {', '.join(METHODS)}")
    needs = {"generator": ("generator",), "words": ("encoder", "index"), "neighbours": ("index",)}
    if asked is None:
        if given["generator"] is not None or given["encoder"] is not None:
            return "generator" if given["generator"] is not None else "words"
        asked = "neighbours" if given["index"] is None or _has_boxes(given["index"]) else "words"
    if all(given[name] is None for name in needs[asked]):
        raise InputError("give an index whose corpus has boxes, an encoder such as CLIP, or a generator: PaliGemma")
    return asked


def _has_boxes(index: Index | str | Path) -> bool:
    from ragvlm.index import Index
    from ragvlm.regions.records import boxes_of

    opened = index if isinstance(index, Index) else Index.open(index)
    shared = opened.manifest.encoder != "embedded" and opened.manifest.shared_space
    return not shared or any(boxes_of(record) for record in opened.records)


def _encoder(encoder: str | Encoder | None, index: Any, options: Mapping[str, Any] | None) -> Encoder:
    from ragvlm.encoders import load_encoder
    from ragvlm.index import Index

    if isinstance(encoder, str):
        return load_encoder(encoder, **dict(options or {}))
    if encoder is not None:
        return encoder
    return (index if isinstance(index, Index) else Index.open(index, encoder_options=dict(options or {}))).encoder


def _by_words(
    query: Query, phrase: str, encoder: Encoder, threshold: float, against: Sequence[str] | None
) -> Grounding:
    from ragvlm.regions.heat import AGAINST, heat_map, regions_of

    words = tuple(against or AGAINST)
    regions: list[FoundRegion] = []
    for part, image in pictures_of(query):
        heat = heat_map(encoder, image, phrase, words)
        regions += [replace(one, part=part) for one in regions_of(heat, phrase, threshold, 196)]
    settings = {"encoder": encoder.name, "encoder_fingerprint": encoder.fingerprint, "against": list(words)}
    return assemble(query, phrase, regions, "words", **settings, threshold=threshold)


def _by_generator(
    query: Query, phrase: str, generator: Any, decoder: str | Path | None, masks: bool, options: dict[str, Any]
) -> Grounding:
    from ragvlm.generators import load_generator
    from ragvlm.regions import paligemma

    loaded_decoder = paligemma.load_decoder(decoder)  # a wrong file is told before the model is loaded
    loaded = load_generator(generator, **options) if isinstance(generator, str) else generator
    regions: list[FoundRegion] = []
    written: list[str] = []
    malformed: list[str] = []
    coded = False
    for part, image in pictures_of(query):
        text, answer = paligemma.ask(loaded, image, phrase, masks=masks)
        coded = coded or any(said.codes for said in answer.said)
        found = paligemma.regions_of(answer, phrase, loaded_decoder)
        regions += [replace(one, part=part) for one in found]
        written.append(text)
        malformed += answer.malformed
    settings = {"generator": loaded.name, "written": written, "malformed": malformed}
    note = MASK_NEEDS_DECODER if masks and coded and loaded_decoder is None else None
    return replace(assemble(query, phrase, regions, "generator", **settings), reason=note)


def pictures_of(query: Query) -> list[tuple[str | None, Image]]:
    """The picture, or each slice of a volume with its name. Raises InputError for words."""
    if query.slices:
        return [(name, image) for name, image in query.slices.items()]
    if query.image is None:
        raise InputError(f"{query.id!r} is words: give a picture")
    return [(None, query.image)]


def assemble(query: Query, phrase: str, regions: Sequence[FoundRegion], method: str, **settings: Any) -> Grounding:
    """The result, surest region first; of a volume the deciding slice is that of the surest region."""
    ranked = tuple(sorted(regions, key=lambda one: -one.score))
    picture = query.slices.get(ranked[0].part or "", query.image) if ranked else query.image
    if picture is None:
        raise InputError(f"{query.id!r} is words: give a picture")
    decided = {"slice": ranked[0].part} if ranked and ranked[0].part is not None else {}
    return Grounding(
        query_id=query.id,
        phrase=phrase,
        size=picture.size,
        regions=ranked,
        method=method,
        count=len(ranked),
        provenance={**settings, **decided, "ragvlm": ragvlm.__version__},
        picture=picture,
    )


def _pixel(given: float | tuple[float, float] | None, image: Any) -> tuple[float, float] | None:
    """The size of a pixel: as given, else as the file says, else unknown."""
    if given is not None:
        pair = (float(given), float(given)) if isinstance(given, int | float) else (float(given[0]), float(given[1]))
        if min(pair) <= 0:
            raise InputError(f"pixel size {given}: give µm above 0")
        return pair
    if not isinstance(image, str | Path):
        return None
    from ragvlm.regions.records import pixel_size_of

    return pixel_size_of(str(image))
