"""Errors that a user can act on: one line that says what, where and what to do next."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType


class RagvlmError(Exception):
    """The parent of all errors that ragvlm raises on purpose; the command prints it and exits with 2."""


class InputError(RagvlmError):
    """An argument, a path or a query that can't be used."""


class ImageError(RagvlmError):
    """A picture that can't be decoded, or that is larger than the bound."""


class CorpusError(RagvlmError):
    """A corpus that can't be read: names the file and the row."""


class StoreError(RagvlmError):
    """An index on disk that is damaged, half-copied, locked or of another format."""


class EncoderMismatchError(RagvlmError):
    """An index opened with another encoder than the one that built it: names both."""


class MissingExtraError(RagvlmError):
    """An optional package is absent: gives the pip command that brings it."""


def one_line(text: str) -> str:
    """``text`` on one line, without what would steer a terminal or can't be encoded, as names and captions may."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def reason(error: BaseException) -> str:
    """What another package's error says, on one line of at most 300 characters; its type where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def missing_extra(module: str, extra: str) -> MissingExtraError:
    """The error for the absent ``module`` that ``ragvlm[extra]`` brings."""
    return MissingExtraError(f'package {module!r} is not installed: pip install "ragvlm[{extra}]"')


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``; raise MissingExtraError with the pip command of ``extra`` where it is absent."""
    # find_spec first: an import that fails inside an installed package is another error, and must show itself
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise missing_extra(module, extra)
    return importlib.import_module(module)
