"""Checkpoints on disk: from a local folder, the hub's cache or the hub; and which of their files count."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragvlm.encoders.digests import remembered_sha256
from ragvlm.errors import InputError, RagvlmError, require

_FOLDER = "local-dir:"
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_INDEX = "model.safetensors.index.json"
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", _INDEX)
# a state dict of plain tensors, which torch reads without running what a pickle may hold (weights_only)
_STATE = "pytorch_model.bin"
_STATES = (_STATE, "pytorch_model-*-of-*.bin", f"{_STATE}.index.json")
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER_RULES = ("tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model")
_TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# what a generator reads besides
_WRITING = ("generation_config.json", "chat_template.jinja", "chat_template.json", "video_preprocessor_config.json")
TOKENIZER = (*_TOKENIZER_RULES, *_TOKENIZER_SETTINGS)
_PATTERNS = ("config.json", *_WEIGHTS, *_PREPROCESSING, *TOKENIZER, *_WRITING)
_NO_WEIGHTS = f"model.safetensors and no {_STATE}"
_PATIENCE = 10.0  # seconds until a silent network counts as none


def split_revision(model: str, revision: str | None) -> tuple[str, str | None]:
    """("ORG/NAME", revision) of "ORG/NAME" or "ORG/NAME@REVISION"; a folder is given back as its absolute path.

    ``revision`` wins over the one in ``model``. Raises InputError for what is neither a folder nor a hub id.
    """
    path = Path(model.removeprefix(_FOLDER)).expanduser()
    if not model:
        raise InputError("this name stands for no checkpoint by itself: give one, as in NAME:ORG/MODEL or NAME:FOLDER")
    if path.is_dir():
        return str(path.resolve()), None
    if model.startswith(_FOLDER) or not is_hub_id(model):
        raise InputError(
            f"model {model!r} is neither a folder nor a hub id: give FOLDER, ORG/NAME or ORG/NAME@REVISION"
        )
    repo, _, pinned = model.partition("@")
    return repo, revision or pinned or None


def is_hub_id(model: str) -> bool:
    """Whether ``model`` has the form of "ORG/NAME" or "ORG/NAME@REVISION"."""
    return _REPO.fullmatch(model.partition("@")[0]) is not None


def checkpoint(
    model: str,
    revision: str | None,
    *,
    code: bool = False,
    tokenizer: bool = True,
    processor: bool = True,
    extra: tuple[str, ...] = (),
) -> Path:
    """The folder with the files of ``model``, downloaded unless they are cached; with ``code`` its Python files too.

    ``tokenizer`` False is for models that read pictures alone: theirs has none. ``processor`` False is for models whose
    own code prepares pictures. ``extra`` are files that must be there besides.

    Raises RagvlmError, with the next step, for a model that is neither cached nor within reach, for one that is gated,
    and for a folder without configuration, preprocessing, tokenizer or weights.
    """
    patterns = [*_PATTERNS, *extra, *(["*.py"] if code else [])]

    def choose(names: list[str]) -> list[str]:
        if any(Path(name).match(pattern) for name in names for pattern in _WEIGHTS):
            return []
        if states := [name for name in names if any(Path(name).match(pattern) for pattern in _STATES)]:
            return states
        raise RagvlmError(f"{_with(model, revision)} holds no {_NO_WEIGHTS}: give a revision or a folder that does")

    def lacks(folder: Path) -> str | None:
        absent = [name for name in extra if not (folder / name).is_file()]
        return (
            _lacks(folder, tokenizer, processor)
            or next(iter(absent), None)
            or (_lacking_code(folder) if code else None)
        )

    return fetch(model, revision, patterns, lacks, choose)


def fetcher(**parts: Any) -> Callable[..., list[Path]]:
    """The ``fetch`` of a plug-in: a model's name -> the folders that hold its files, downloaded unless they are cached.

    ``parts`` are those arguments of ``checkpoint`` that go with the plug-in.
    """

    def bring(model: str, *, trust_remote_code: bool = False) -> list[Path]:
        repo, revision = split_revision(model, None)
        return [checkpoint(repo, revision, **{"code": trust_remote_code, **parts})]

    return bring


def pinned(model: str, revision: str | None, folder: Path) -> str:
    """The name of what was loaded: with the commit where ``folder`` is a snapshot in the hub's cache."""
    return _with(model, folder.name if folder.parent.name == "snapshots" else revision)


def fetch(
    model: str,
    revision: str | None,
    patterns: list[str],
    lacks: Callable[[Path], str | None],
    choose: Callable[[list[str]], list[str]] = lambda names: [],
) -> Path:
    """The folder with the files of ``model``, downloaded unless they are cached: what all kinds of checkpoints share.

    ``patterns`` are the files that are wanted where a repository has them; ``choose`` adds others that it picks from
    the names of all, as one of several forms of the weights. ``lacks`` says what a folder is short of. Raises
    RagvlmError as ``checkpoint`` does, and what ``choose`` raises.
    """
    folder = Path(model) if Path(model).is_absolute() else _cached(model, revision, patterns, lacks)
    folder = folder or _download(model, revision, patterns, choose)
    if lack := lacks(folder):
        raise RagvlmError(f"{_with(model, revision)} holds no {lack}: give a complete checkpoint")
    return folder


def file_digests(folder: Path, *, code: bool, extra: tuple[str, ...] = ()) -> dict[str, str]:
    """Name -> hex SHA-256 of every file of a checkpoint that decides over its vectors."""
    rules = [name for name in _TOKENIZER_RULES if (folder / name).is_file()]
    if "tokenizer.json" in rules:  # it holds what these two say, and a partial cache may lack them
        rules = [name for name in rules if name not in {"vocab.json", "merges.txt", "vocab.txt"}]
    settings = [n for n in ("config.json", *_PREPROCESSING, *_TOKENIZER_SETTINGS) if (folder / n).is_file()]
    programs = [path.name for path in folder.glob("*.py")] if code else []
    return {
        name: remembered_sha256(folder / name)
        for name in sorted([*_weights(folder), *rules, *settings, *programs, *extra])
    }


def weight_paths(folder: Path) -> list[Path]:
    """The files that hold the weights of a checkpoint."""
    return [folder / name for name in _weights(folder)]


def reading(folder: Path) -> dict[str, bool]:
    """How transformers shall read the weights in ``folder``: from safetensors, else a state dict as plain tensors."""
    return {"use_safetensors": _weights(folder)[0].endswith(".safetensors"), "weights_only": True}


def weight_bytes(folder: Path) -> int:
    """How many bytes the weights of a checkpoint take on disk."""
    return sum(path.stat().st_size for path in weight_paths(folder))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; empty where there is no such file. Raises RagvlmError for a damaged one."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise RagvlmError(f"{path} can't be read ({error}): give a complete checkpoint") from error
    if not isinstance(found, dict):
        raise RagvlmError(f"{path} holds no JSON object: give a complete checkpoint")
    return found


def brings_code(folder: Path) -> bool:
    """Whether the checkpoint asks for Python code of its own."""
    return any("auto_map" in read_json(folder / n) for n in ("config.json", *_PREPROCESSING, "tokenizer_config.json"))


def untrusted(model: str, where: str = "") -> InputError:
    """The error for a model whose own code isn't trusted; ``where`` says where to read it."""
    return InputError(
        f"{model} brings Python code of its own, which would run with your rights: read its .py files{where}, "
        "then give trust_remote_code=True (--trust-remote-code)"
    )


def names(folder: Path) -> list[str]:
    """The names of the files in ``folder``."""
    return [path.name for path in folder.iterdir() if path.is_file()]


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer can be read from ``folder``."""
    return any((folder / name).is_file() for name in _TOKENIZER_RULES)


def _weights(folder: Path) -> list[str]:
    """Names of the weight files; those that an index lists may be absent."""
    for whole, index in (("model.safetensors", _INDEX), (_STATE, f"{_STATE}.index.json")):
        if (folder / whole).is_file():
            return [whole]
        if parts := set(read_json(folder / index).get("weight_map", {}).values()):
            return sorted(parts)
    return []


def _lacks(folder: Path, tokenizer: bool, processor: bool) -> str | None:
    def present(names: Iterable[str]) -> bool:
        return any((folder / name).is_file() for name in names)

    if not present(["config.json"]):
        return "config.json"
    weights = _weights(folder)
    if not weights or not all((folder / name).is_file() for name in weights):
        return next((name for name in weights if not (folder / name).is_file()), _NO_WEIGHTS)
    if processor and not present(_PREPROCESSING):
        return "preprocessor_config.json"
    return None if not tokenizer or has_tokenizer(folder) else "tokenizer.json"


def _lacking_code(folder: Path) -> str | None:
    """The first Python file that the configuration asks for and that isn't there: fetched without code, most often."""
    asked = read_json(folder / "config.json").get("auto_map", {}).values()
    # a tokenizer may have a slow and a fast class, one of them absent
    named = [name for item in asked for name in (item if isinstance(item, list) else [item]) if name]
    files = sorted({f"{str(name).rpartition('.')[0]}.py" for name in named if "--" not in str(name)})
    return next((name for name in files if not (folder / name).is_file()), None)


def _cached(repo: str, revision: str | None, patterns: list[str], lacks: Callable[[Path], str | None]) -> Path | None:
    hub = require("huggingface_hub", "transformers")
    try:
        # the client knows by the patterns which files a download that was interrupted left out
        found = hub.snapshot_download(repo, revision=revision, allow_patterns=patterns, local_files_only=True)
    except FileNotFoundError:  # LocalEntryNotFoundError
        return None
    # other tools may have fetched a part of it only
    return None if lacks(Path(found)) else Path(found)


def _download(repo: str, revision: str | None, patterns: list[str], choose: Callable[[list[str]], list[str]]) -> Path:
    hub = require("huggingface_hub", "transformers")
    wanted = [*patterns, *choose(_listing(repo, revision))]
    with _hub_errors(repo, revision):
        return Path(hub.snapshot_download(repo, revision=revision, allow_patterns=wanted))


def _listing(repo: str, revision: str | None) -> list[str]:
    """The files of a repository: one request without retries, which tells at once whether the hub can be reached."""
    hub = require("huggingface_hub", "transformers")
    with _hub_errors(repo, revision):
        info = hub.HfApi().model_info(repo, revision=revision, timeout=_PATIENCE)
    return [sibling.rfilename for sibling in info.siblings or []]


@contextmanager
def _hub_errors(repo: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub import errors

    model = _with(repo, revision)
    try:
        yield
    except errors.GatedRepoError as error:
        raise RagvlmError(
            f"{model} is gated: accept the terms at https://huggingface.co/{repo}, "
            "then run `hf auth login` or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise RagvlmError(f"{repo} has no revision {revision!r}: give a branch, a tag or a commit") from error
    except errors.RepositoryNotFoundError as error:
        raise RagvlmError(f"{repo} is not on the hub, or is private: check the name, or run `hf auth login`") from error
    except errors.OfflineModeIsEnabled as error:
        raise RagvlmError(
            f"{model} is not in the local cache and HF_HUB_OFFLINE is set: "
            "unset it, or give a folder with the checkpoint"
        ) from error
    except Exception as error:  # the HTTP client, the file system and the hub each have errors of their own
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise RagvlmError(
            f"{model} is not in the local cache and can't be fetched ({reason}): "
            "check the name and the network, or give a folder with the checkpoint"
        ) from error


def _with(model: str, revision: str | None) -> str:
    return f"{model}@{revision}" if revision else model
