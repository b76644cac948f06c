"""Moondream 2: captions a picture or answers a question about it, by the Python code that its checkpoint brings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragvlm.encoders import hub
from ragvlm.encoders.torch_tools import check_memory, choose_device, import_package, memory_errors
from ragvlm.errors import InputError, RagvlmError, reason
from ragvlm.generators.pictures import picture
from ragvlm.generators.tidy import tidy
from ragvlm.generators.vlm_load import one_error, quiet
from ragvlm.prompt import clean
from ragvlm.types import Prompt

LENGTHS = ("short", "normal", "long")


class MoondreamGenerator:
    """Writes a caption, or the answer to the words of the query, from the picture alone; greedy, one at a time.

    The architecture is no part of transformers: the checkpoint brings it as Python code, which runs with your rights.
    It computes in the number type that this code was written for (bfloat16), on the CPU too, and fetches its tokenizer
    from the hub itself (moondream/starmie-v1).

    Args:
        model: "ORG/NAME", "ORG/NAME@REVISION" (from the hub's cache, else downloaded) or a folder.
        revision: a branch, a tag or a commit.
        device: "auto" (CUDA, else MPS, else the CPU) or a torch device.
        length: of captions, "short", "normal" or "long".
        max_new_tokens: a text ends there at the latest; a sentence that this cuts is left out, unless it is the first.
        trust_remote_code: whether the checkpoint's Python code may run; nothing is loaded without it.

    Weights are read from safetensors alone. Raises MissingExtraError without ``ragvlm[vlm]``, InputError for an option
    or a model that can't be and for code that isn't trusted, and RagvlmError for a model that is neither cached nor
    within reach, incomplete, or too large for the memory.
    """

    reads = "question"
    fetch = staticmethod(hub.fetcher(code=True, tokenizer=False, processor=False))

    def __init__(
        self,
        model: str = "",
        *,
        revision: str | None = None,
        device: str = "auto",
        length: str = "normal",
        max_new_tokens: int = 256,
        trust_remote_code: bool = False,
    ) -> None:
        if length not in LENGTHS:
            raise InputError(f"length {length!r}: give one of {', '.join(LENGTHS)}")
        if max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}: choose 1 or more")
        self.model, self.revision = hub.split_revision(model, revision)
        if not trust_remote_code:  # before gigabytes are fetched that would be of no use
            raise hub.untrusted(self.model, f" ({self._page()})")
        self.length, self.max_new_tokens = length, max_new_tokens
        folder = hub.checkpoint(self.model, self.revision, code=True, tokenizer=False, processor=False)
        self.name = f"moondream:{hub.pinned(self.model, self.revision, folder)}"
        self.device = choose_device(device)
        self._net = _load(folder, self.model, self.device)

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt; empty for a blank one.

        Raises InputError for a prompt without a picture, RagvlmError where the checkpoint's code fails.
        """
        return ["" if prompt.blank else self._write(prompt) for prompt in prompts]

    def _write(self, prompt: Prompt) -> str:
        import torch

        shown, question = picture(prompt, 0), clean(prompt.context.query.text or "")
        settings = {"temperature": 0, "max_tokens": self.max_new_tokens}
        with _own_code(self.name), memory_errors(self.name, self.device), quiet(), torch.inference_mode():
            # encoded first: with settings some revisions read a key of them here that they don't ask for
            seen = self._net.encode_image(shown)
            if question:
                text = str(self._net.query(seen, question, settings=settings)["answer"]).strip()
            else:
                text = str(self._net.caption(seen, length=self.length, settings=settings)["caption"]).strip()
        # the code doesn't say whether it came to an end; short answers end without a full stop
        return tidy(text, len(prompt.cited_ids), cut=bool(re.search(r"[.!?]\s", text)))

    def _page(self) -> str:
        local = Path(self.model).is_absolute()
        return self.model if local else f"https://huggingface.co/{self.model}/tree/{self.revision or 'main'}"


def _load(folder: Path, model: str, device: Any) -> Any:
    """The model in evaluation mode on ``device``.

    Not by transformers' from_pretrained: version 5 needs what this code doesn't do (post_init), and would leave the
    buffers that aren't saved without values.
    """
    import_package("transformers", "vlm", "PreTrainedModel")
    named = str(hub.read_json(folder / "config.json").get("auto_map", {}).get("AutoModelForCausalLM", ""))
    if not named or "--" in named:
        raise InputError(
            f"{model} doesn't bring the code of its model (auto_map, AutoModelForCausalLM): choose another"
        )
    check_memory(f"{model} (weights alone)", hub.weight_bytes(folder), device)
    with one_error(model), memory_errors(model, device):
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        maker = get_class_from_dynamic_module(named, str(folder))
        for method in ("encode_image", "query", "caption"):
            if not hasattr(maker, method):
                raise RagvlmError(f"{model}: its code has no {method}(): choose a revision from 2025-01-09 on")
        net = maker(maker.config_class.from_pretrained(folder))
        _fill(net, folder, model)
        return net.to(device).eval()


def _fill(net: Any, folder: Path, model: str) -> None:
    """Copy the weights of ``folder`` into ``net``, in the number type that its code chose."""
    import torch
    from safetensors import safe_open

    own = net.state_dict()
    missing = set(own)
    for path in hub.weight_paths(folder):
        with safe_open(path, framework="pt") as file, torch.no_grad():
            for name in missing & set(file.keys()):
                own[name].copy_(file.get_tensor(name))
            missing -= set(file.keys())
    if missing:
        raise RagvlmError(f"{model}: its weights lack {sorted(missing)[0]}: give a complete checkpoint")


@contextmanager
def _own_code(name: str) -> Iterator[None]:
    try:
        yield
    except RagvlmError:
        raise
    except Exception as error:  # the checkpoint's code may raise anything
        raise RagvlmError(f"{name}: its own code failed ({reason(error)}): try another revision") from error
