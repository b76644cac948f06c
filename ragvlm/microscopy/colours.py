"""In which colour a channel is shown: the file's own, else that of its stain or wavelength, else a palette's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragvlm.microscopy.metadata import Channel, Colour

BLUE, CYAN, GREEN, YELLOW = (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0)
RED, MAGENTA, GREY = (255, 0, 0), (255, 0, 255), (255, 255, 255)
PALETTE = (RED, GREEN, BLUE, GREY, CYAN, MAGENTA, YELLOW)
"""The order in which ImageJ colours the channels of a composite; at most so many are shown together."""

_TRANSMITTED = re.compile(r"bright.?field|\bbf\b|phase|\bdic\b|transmit|\btl\b|\bnomarski", re.IGNORECASE)


def _stain(names: str, alexa: str) -> re.Pattern[str]:
    return re.compile(rf"{names}|(?:alexa|\baf)\D{{0,12}}(?:{alexa})", re.IGNORECASE)


_STAINS = (
    (_stain(r"dapi|hoechst|\b[ea]?bfp|nuclei|nuclear|\bdna\b", "350|405"), BLUE),
    (_stain(r"\b[em]?cfp|cerulean|turquoise", "430"), CYAN),
    (_stain(r"\b[em]?gfp|fitc|fluorescein|cy2|neongreen", "488"), GREEN),
    (_stain(r"\b[em]?yfp|venus|citrine", "514|532"), YELLOW),
    (_stain(r"cy5|cy7|far.?red|irfp|draq5", "633|647|660|680|700|750|790"), MAGENTA),
    (_stain(r"tritc|cy3|rfp|cherry|tomato|rhodamin|texas|propidium|phalloidin", "546|555|568|594"), RED),
)
_WAVELENGTHS = ((480, BLUE), (500, CYAN), (555, GREEN), (575, YELLOW), (655, RED), (1200, MAGENTA))


def is_transmitted(channel: Channel) -> bool:
    """Whether the name says that light went through the specimen: such a channel is bright where nothing is."""
    return _TRANSMITTED.search(channel.name) is not None


def channel_colours(channels: Sequence[Channel]) -> list[Colour]:
    """A colour for each of ``channels``; a single one is grey, whatever it is called.

    Colours of the file come first, then those usual for the stain that the name tells, then the emission's; the
    rest gets what is left of the palette.
    """
    if len(channels) == 1:
        return [GREY]
    known = [channel.colour or _usual(channel) for channel in channels]
    free = [colour for colour in PALETTE if colour not in known]
    return [colour or (free.pop(0) if free else PALETTE[place % len(PALETTE)]) for place, colour in enumerate(known)]


def _usual(channel: Channel) -> Colour | None:
    if is_transmitted(channel):
        return GREY
    for pattern, colour in _STAINS:
        if pattern.search(channel.name):
            return colour
    if channel.emission_nm:
        return next((colour for bound, colour in _WAVELENGTHS if channel.emission_nm < bound), MAGENTA)
    return None
