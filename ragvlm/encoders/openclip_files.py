"""Which local files make a model of open_clip: of a folder, of a repository of the hub, or of an architecture's tag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragvlm.encoders import hub
from ragvlm.encoders.digests import remembered_sha256
from ragvlm.errors import InputError, RagvlmError

HUB, FOLDER = "hf-hub:", "local-dir:"
_CONFIG = "open_clip_config.json"
# in the order in which open_clip prefers them
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True, slots=True)
class OpenClipFiles:
    """``config`` is open_clip's model_cfg; ``arguments`` go to its ``create_model_from_pretrained``.

    ``tower`` and ``tokenizer`` are folders with the configuration and the tokenizer of a text tower of transformers,
    None where the text tower is open_clip's own.
    """

    config: Mapping[str, Any]
    weights: Path
    arguments: Mapping[str, Any]
    tower: Path | None
    tokenizer: Path | None

    @property
    def text(self) -> dict[str, Any]:
        """The text_cfg."""
        return dict(self.config["text_cfg"])

    def architecture(self) -> dict[str, Any]:
        """What decides over the vectors beside weights, preprocessing and tokenizer; plain JSON values."""
        # the names of repositories say nothing of what is in them
        text = {name: value for name, value in self.text.items() if name not in {"hf_model_name", "hf_tokenizer_name"}}
        tower = hub.read_json(self.tower / "config.json") if self.tower else None
        return {**self.config, "text_cfg": text, "tower": tower}

    def programs(self) -> dict[str, str]:
        """Name -> hex SHA-256 of the Python files beside the tokenizer."""
        found = self.tokenizer.glob("*.py") if self.tokenizer else []
        return {path.name: remembered_sha256(path) for path in sorted(found)}


def split(model: str, revision: str | None) -> tuple[str, str | None]:
    """``model`` with its scheme, a folder made absolute, and the revision. Raises InputError for what can't be."""
    path = Path(model.removeprefix(FOLDER)).expanduser()
    if model.startswith(FOLDER) or (model and path.is_dir()):
        if not (path / _CONFIG).is_file():
            raise InputError(f"{path.resolve()} holds no {_CONFIG}: give the folder of an open_clip model")
        return f"{FOLDER}{path.resolve()}", None
    name, _, pinned = model.partition("@")
    if model.startswith(HUB) and hub.is_hub_id(name.removeprefix(HUB)):
        return name, revision or pinned or None
    if model.startswith(HUB) or not all(name.rpartition("/")):
        raise InputError(f"model {model!r}: give {HUB}ORG/NAME[@REVISION], {FOLDER}PATH or ARCHITECTURE/TAG")
    if revision or pinned:
        raise InputError(f"model {model!r}: a tag has no revisions; give {HUB}ORG/NAME@REVISION")
    return model, None


def bring(model: str, revision: str | None, *, code: bool) -> Path | None:
    """The folder of what ``split`` gave, downloaded unless it is cached, with ``code`` its Python files too.

    None for an architecture and a tag, about which open_clip must be asked. Raises RagvlmError for what can't be had.
    """
    if not model.startswith((HUB, FOLDER)):
        return None
    source = model.removeprefix(HUB).removeprefix(FOLDER)
    return hub.fetch(source, revision, [_CONFIG, *_described(code)], _lacks, lambda names: _chosen(source, names))


def find(open_clip: Any, model: str, folder: Path | None, *, text_tower: str | None, code: bool) -> OpenClipFiles:
    """The files of what ``split`` gave and ``bring`` brought; those of text towers and tags are downloaded here.

    ``text_tower`` is where a text tower of transformers is described, instead of the repository that the model names.
    Raises InputError for an architecture or a tag that open_clip doesn't know, RagvlmError for what can't be had.
    """
    if folder is None:
        config, weights, arguments = _tag(open_clip, model)
    else:
        config = hub.read_json(folder / _CONFIG).get("model_cfg", {})
        weights, arguments = folder / str(_first(hub.names(folder))), {"model_name": f"{FOLDER}{folder}"}
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config):
        raise RagvlmError(f"{model}: {_CONFIG} describes no model: give the folder of an open_clip model")
    text = config["text_cfg"]

    def part(name: str, lacks: Callable[[Path], str | None]) -> Path | None:
        named = text.get(name)
        if not named or (folder and not lacks(folder)):
            return folder if named else None
        return _tower(model, text_tower or named, lacks, code)

    def lacks_tower(folder: Path) -> str | None:
        # a configuration of transformers may also be that of the whole model
        kind = hub.read_json(folder / "config.json").get("model_type")
        return None if kind in open_clip.hf_configs.arch_dict else "config.json of a text tower that open_clip knows"

    tower, tokenizer = part("hf_model_name", lacks_tower), part("hf_tokenizer_name", _lacks_tokenizer)
    return OpenClipFiles(config, weights, arguments, tower, tokenizer)


def _tag(open_clip: Any, model: str) -> tuple[dict[str, Any], Path, dict[str, Any]]:
    name, _, tag = model.rpartition("/")
    config, facts = open_clip.get_model_config(name), open_clip.get_pretrained_cfg(name, tag)
    if not config:
        raise InputError(f"model {model!r}: open_clip knows no such architecture; see open_clip.list_models()")
    if not facts.get("hf_hub"):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise InputError(f"model {model!r}: open_clip knows no such tag for {name}; it knows {tags}")
    repo, _, file = facts["hf_hub"].rpartition("/")
    wanted = (str(Path(file).with_suffix(".safetensors")), file) if file else _WEIGHTS

    def lacks(folder: Path) -> str | None:
        return None if _first(hub.names(folder), wanted) else " or ".join(wanted)

    folder = hub.fetch(repo, None, [], lacks, lambda names: [_first(names, wanted) or wanted[-1]])
    weights = folder / str(_first(hub.names(folder), wanted))
    # open_clip only warns where an architecture's activation isn't the one that a tag was trained with
    config["quick_gelu"] = bool(config.get("quick_gelu") or facts.get("quick_gelu"))
    arguments = {"model_name": name, "pretrained": str(weights), "quick_gelu": config["quick_gelu"]}
    arguments |= {f"image_{key}": facts[key] for key in _PREPROCESSING if key in facts}
    return config, weights, arguments


def _tower(model: str, named: str, lacks: Callable[[Path], str | None], code: bool) -> Path:
    # open_clip also names repositories without an owner, such as roberta-base
    repo, _, pinned = named.partition("@")
    if Path(named).expanduser().is_dir():
        repo, pinned = str(Path(named).expanduser().resolve()), ""
    try:
        return hub.fetch(repo, pinned or None, _described(code), lacks)
    except RagvlmError as error:
        raise RagvlmError(f"{model} takes its text tower from another repository: {error}") from error


def _described(code: bool) -> list[str]:
    return ["config.json", *hub.TOKENIZER, *(["*.py"] if code else [])]


def _chosen(model: str, names: list[str]) -> list[str]:
    if _CONFIG not in names:
        raise RagvlmError(f"{model} holds no {_CONFIG}: it is no checkpoint of open_clip; choose another")
    weights = _first(names)
    if weights is None:
        raise RagvlmError(f"{model} holds no {' or '.join(_WEIGHTS)}: give a revision or a folder that does")
    return [weights]


def _lacks(folder: Path) -> str | None:
    names = hub.names(folder)
    if _CONFIG not in names:
        return _CONFIG
    return None if _first(names) else " or ".join(_WEIGHTS)


def _lacks_tokenizer(folder: Path) -> str | None:
    return None if hub.has_tokenizer(folder) else "tokenizer.json or vocab.txt"


def _first(names: list[str], wanted: tuple[str, ...] = _WEIGHTS) -> str | None:
    return next((name for name in wanted if name in names), None)
