"""torchvision beside a torch that it wasn't linked to, as the CPU build of torch with the registry's torchvision."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import Any

_ABSENT = re.compile(r"operator torchvision::(\w+) does not exist")
_declared: list[Any] = []  # torch forgets an operator with the library object that declared it


def import_torchvision() -> None:
    """Import torchvision where it is installed, also where its compiled operators can't be loaded.

    open_clip and transformers want its picture transforms, which are Python. Its import fails all the same where its
    compiled detection operators (non-maximum suppression) aren't there, since it describes them to torch. They are then
    declared without a body: who calls one gets torchvision's own error. Any other failure is left for the importer
    of the package that needs torchvision to meet.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    while True:
        _forget()  # what a failed import left behind would fail again
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            absent = _ABSENT.search(str(error))
            if absent is None:
                return
            _declare(absent[1])
            continue
        except (ImportError, OSError):
            return
        return


def _declare(operator: str) -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
