"""Windows: which part of the values of a slice becomes grey."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragvlm.errors import ImageError, InputError

_PAIR = re.compile(r"(-?\d+(?:\.\d+)?),(\d+(?:\.\d+)?)")


@cache
def table() -> Mapping[str, Any]:
    """``data/dicom.toml``: the terms that may enter a record, and the named windows."""
    return tomllib.loads(files("ragvlm").joinpath("data", "dicom.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Window:
    """A centre and a width in the units of the values; ``function`` is LINEAR, LINEAR_EXACT or SIGMOID."""

    centre: float
    width: float
    function: str = "LINEAR"

    def __call__(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """uint8 of the same shape: 0 and below the window, 255 above (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
        x = values.astype(np.float32)
        if self.function == "SIGMOID":
            grey = 1 / (1 + np.exp(-4 * (x - self.centre) / self.width))
        elif self.function == "LINEAR_EXACT":
            grey = (x - self.centre) / self.width + 0.5
        elif self.width > 1:
            grey = (x - (self.centre - 0.5)) / (self.width - 1) + 0.5
        else:  # a step
            grey = (x > self.centre - 0.5).astype(np.float32)
        scaled: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(grey), 0, 1) * 255).astype(np.uint8)
        return scaled


def named(text: str) -> Window:
    """A window by its name ("lung"), or by centre and width ("-600,1500"). Raises ImageError."""
    known = table()["windows"]
    if text in known:
        return Window(*known[text])
    pair = _PAIR.fullmatch(text)
    if pair is None or float(pair[2]) < 1:
        raise ImageError(f"window {text!r} is unknown: choose {', '.join(known)}, or centre,width as in -600,1500")
    return Window(float(pair[1]), float(pair[2]))


def check(text: object) -> str:
    """``text`` where it is a window. Raises InputError."""
    try:
        named(str(text))
    except ImageError as error:
        raise InputError(str(error)) from error
    return str(text)
