"""What a user hands in -> Query: a path, a PIL image, an array, words, or a Query itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragvlm.errors import ImageError, InputError
from ragvlm.formats import find_format, stack
from ragvlm.images import SUPPORTED_SUFFIXES, open_image
from ragvlm.locator import Locator
from ragvlm.types import Query

PREVIEW = 512  # pixels on the longer side of the picture that a result keeps


def as_query(
    item: Any,
    *,
    subject_id: str | None = None,
    picture: bool = False,
    metadata: Mapping[str, Any] | None = None,
    regions: Any = None,
) -> Query:
    """``item`` as a query. A string is a picture's path if such a file exists or it ends like a picture's name;
    otherwise it is words. ``picture`` says that it can't be words. ``metadata`` and ``regions`` (a mask's path, or an
    array (H, W)) are what else is known of it.

    Raises ImageError where the picture can't be decoded, InputError for anything that is neither.
    """
    query = _plain(item, subject_id, picture)
    if metadata:
        query = replace(query, metadata=dict(metadata))
    if regions is not None:
        from ragvlm.modalities.regions import describe_mask, read_mask

        mask = read_mask(Path(regions)) if isinstance(regions, str | Path) else regions
        query = replace(query, regions=tuple(describe_mask(mask)))
    return query


def small(query: Query) -> Query:
    """A result outlives its picture: thousands of them must not hold all pixels, but a report shows some."""
    if query.image is None:
        return query
    preview = query.image.copy()
    preview.thumbnail((PREVIEW, PREVIEW))
    return replace(query, image=preview)


def _plain(item: Any, subject_id: str | None, picture: bool) -> Query:
    if isinstance(item, Query):
        return item
    if isinstance(item, str) and not item.strip():
        raise InputError("the query is empty: give a picture's path or some words")
    if isinstance(item, Path) or (isinstance(item, str) and (picture or _is_path(item))):
        return _picture(item, subject_id)
    if isinstance(item, str):
        return Query(id=item, text=item, subject_id=subject_id)
    return Query(id=_name(item), image=open_image(item), subject_id=subject_id)


def _picture(item: str | Path, subject_id: str | None) -> Query:
    """The picture at a path; of a volume file or a series folder its slices."""
    place = Locator.of(item).resolved()
    try:
        places = stack(place)
    except ImageError as error:
        raise ImageError(f"{item}: {error}") from error
    if len(places) < 2:
        return Query(id=str(item), image=open_image(item), subject_id=subject_id)
    slices = {_part(one): open_image(str(one), name=str(item)) for one in places}
    return Query(str(item), list(slices.values())[len(slices) // 2], subject_id=subject_id, slices=slices)


def _part(place: Locator) -> str:
    """What a slice, frame or tile is called."""
    if "x" in place.parts:
        return "tile at {x}, {y}, {width} x {height}".format(**place.parts)
    return next(f"{key} {place.parts[key]}" for key in ("slice", "frame") if key in place.parts)


def _is_path(text: str) -> bool:
    place = Locator.of(text)
    if place.file.suffix.lower() in SUPPORTED_SUFFIXES:
        return True
    try:
        folder = place.file.is_dir() and (bool(place.parts) or find_format(b"", place.file) is not None)
        return folder or place.file.is_file()
    except (OSError, ValueError):  # words can be longer than a path may be, or hold a NUL
        return False


def _name(item: Any) -> str:
    return str(getattr(item, "filename", "") or f"<{type(item).__name__}>")
