"""Vision-language models of transformers: SmolVLM, PaliGemma, BLIP-2, GIT, and any other with a chat template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from ragvlm.encoders import hub
from ragvlm.encoders.torch_tools import choose_device, choose_dtype
from ragvlm.errors import InputError
from ragvlm.generators.batches import in_batches
from ragvlm.generators.choosing import SAMPLING, Choices, Chosen
from ragvlm.generators.tidy import tidy
from ragvlm.generators.vlm_adapter import base_of, put_on
from ragvlm.generators.vlm_dialects import Prefix, Task, dialect_of
from ragvlm.generators.vlm_load import check_kind, load_model, load_processor, quiet
from ragvlm.types import Prompt

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")


class VlmGenerator:
    """Writes from the picture and, where the family can read them, from the numbered references; greedy.

    Args:
        model: "ORG/NAME", "ORG/NAME@REVISION" (from the hub's cache, else downloaded) or a folder; also the folder of
            an adapter, which names its base.
        revision: a branch, a tag or a commit.
        device: "auto" (CUDA, else MPS, else the CPU) or a torch device.
        dtype: "float32", "bfloat16", "float16" or "auto" (bfloat16 on a CUDA device that has it, else float32).
        max_new_tokens: a text ends there at the latest; a sentence that this cuts is left out.
        batch_size: prompts at a time; halved, with a note in the log, when memory runs out.
        neighbour_images: how many references' pictures go in beside the query's, in families that take several.
        quantize: "none", or "int8" or "int4" for linear layers in 8 or 4 bits (bitsandbytes): less memory, other texts.
        task: the words for families that are asked by task words (PaliGemma, GIT) instead of ``data/vlm.toml``'s.
        trust_remote_code: whether to run Python code that the checkpoint brings, where transformers has no such model.

    ``net``, ``dialect`` and ``tokenizer`` are the model's parts, ``soft`` the tokens of a soft prompt that was learnt,
    ``context`` how many tokens it holds (None: no bound),
    ``ends`` the tokens that end a text and ``end`` the one that it is trained to write; ``reads_apart``: whether it
    writes on a sheet of its own, as an encoder-decoder does.

    Weights are read from safetensors, else from a state dict of plain tensors.
    Raises MissingExtraError without ``ragvlm[vlm]``, InputError for an
    option or a model that can't be, and RagvlmError for a model that is neither cached nor within reach, gated,
    incomplete, or too large for the memory.
    """

    fetch = staticmethod(hub.fetcher())

    def __init__(
        self,
        model: str = "",
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_new_tokens: int = 128,
        batch_size: int = 4,
        neighbour_images: int = 0,
        quantize: str = "none",
        task: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        for name, number, least in (
            ("max_new_tokens", max_new_tokens, 1),
            ("batch_size", batch_size, 1),
            ("neighbour_images", neighbour_images, 0),
        ):
            if number < least:
                raise InputError(f"{name} is {number}: choose {least} or more")
        adapted = base_of(model)
        self.model, self.revision = hub.split_revision(*adapted if adapted else (model, revision))
        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        folder = hub.checkpoint(self.model, self.revision, code=trust_remote_code)
        self.name = f"vlm:{model if adapted else hub.pinned(self.model, self.revision, folder)}"
        kind = check_kind(folder, self.model, trust_remote_code=trust_remote_code)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        processor = load_processor(folder, self.model, trust_remote_code=trust_remote_code)
        style = dialect_of(processor, kind, self.model)
        self.dialect = style(processor, self.model, neighbours=neighbour_images, task=task)
        self.reads, self.pictures = self.dialect.reads, self.dialect.most
        self.net = load_model(
            folder, self.model, self.device, self.dtype, trust_remote_code=trust_remote_code, quantize=quantize
        )
        self.soft: tuple[int, ...] = ()
        if adapted:
            self.net, self.soft = put_on(self.net, model, self.device)
        self.tokenizer = processor.tokenizer
        self.reads_apart = bool(self.net.config.get_text_config().is_encoder_decoder)
        if not self.reads_apart:
            self.tokenizer.padding_side = "left"  # the text goes on where the prompt ends
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        ends = _end_ids(self.net, self.tokenizer)
        self.ends, self.end = frozenset(ends), ends[0]
        self.context = getattr(self.net.config.get_text_config(), "max_position_embeddings", None)

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt, without the model's own citations; empty for a blank one.

        Raises InputError for a prompt without a picture, RagvlmError where not even one prompt fits the memory.
        """
        return self._grouped(prompts, self._write, "")

    def sample(self, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """As ``generate``, with tokens drawn by ``seed`` at SAMPLING."""
        import torch

        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            drawn = partial(self._write, do_sample=True, temperature=SAMPLING)
            return self._grouped(prompts, drawn, "")

    def choose(self, prompts: Sequence[Prompt], options: Sequence[str]) -> list[Chosen]:
        """One of ``options`` a prompt, with its probability among them; decoding may take no other token.

        Raises what ``generate`` raises.
        """
        choices = Choices(self.tokenizer, options, self.ends)
        return self._grouped(prompts, lambda batch: self._choose(batch, choices), ("", None))

    def _grouped(self, prompts: Sequence[Prompt], write: Callable[[list[Prompt]], list[T]], blank: T) -> list[T]:
        """What ``write`` gives for batches of prompts that may stand in one; ``blank`` for a blank prompt."""
        asked = [i for i, prompt in enumerate(prompts) if not prompt.blank]
        found = [blank] * len(prompts)
        for _, group in groupby(asked, key=lambda i: self._length(prompts[i])):
            alike = list(group)
            for i, one in zip(alike, in_batches(self, [prompts[i] for i in alike], write), strict=True):
                found[i] = one
        return found

    def follow(self, image: Image, words: str) -> str:
        """What the model writes of a picture when it is asked by ``words``, as in "detect cat": tokens of places kept.

        Raises InputError for a family that isn't asked by task words.
        """
        import torch

        if not isinstance(self.dialect, Task):
            raise InputError(f"{self.name} isn't asked by task words, as PaliGemma is: choose such a generator")
        with quiet(), torch.inference_mode():
            inputs = self.dialect.asked(image, words).to(self.device, self.dtype)
            start = inputs["input_ids"].shape[1]
            self._check_length(start)
            row = self.net.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False, num_beams=1)[0]
        frame = {self.tokenizer.pad_token_id, self.tokenizer.bos_token_id, *self.ends}
        said = [i for i in row[start:].tolist() if i not in frame]
        return str(self.tokenizer.decode(said, skip_special_tokens=False)).strip()

    def fits(self, prompt: Prompt) -> bool:
        """Whether ``prompt`` with its pictures' tokens and the longest answer fits the model's context.

        True for a model that sets no bound (T5). Raises InputError for a prompt without a picture.
        """
        if self.context is None:
            return True
        with quiet():
            tokens = self.inputs([prompt])["input_ids"].shape[1]
        return bool(self._start(tokens) + self.max_new_tokens <= self.context)

    def inputs(self, prompts: Sequence[Prompt]) -> Any:
        """What the model reads of ``prompts`` as a BatchFeature of tensors: the dialect's, and the soft prompt."""
        made = self.dialect.inputs(prompts)
        for name, value in (
            ("input_ids", None),
            ("attention_mask", 1),
            ("token_type_ids", 0),
            ("mm_token_type_ids", 0),
        ):
            if self.soft and name in made:
                made[name] = self._with_soft(made[name], value)
        return made

    def _with_soft(self, rows: Any, value: int | None) -> Any:
        """``rows`` with a column for each soft token, on that side which isn't padded."""
        import torch

        more = (
            torch.tensor([self.soft] * len(rows))
            if value is None
            else rows.new_full((len(rows), len(self.soft)), value)
        )
        return torch.cat([more, rows] if self.reads_apart else [rows, more], 1)

    def _start(self, tokens: int) -> int:
        """Where the text begins: an encoder-decoder writes on a sheet of its own, the others go on after the prompt."""
        return 0 if self.reads_apart else tokens

    def _length(self, prompt: Prompt) -> int:
        """What prompts of one batch must have in common."""
        if not isinstance(self.dialect, Prefix):
            return 0
        return len(self.tokenizer(self.dialect.text(prompt))["input_ids"])

    def _write(self, prompts: list[Prompt], **drawn: Any) -> list[str]:
        import torch

        with quiet(), torch.inference_mode():
            inputs = self.inputs(prompts).to(self.device, self.dtype)
            start = self._start(inputs["input_ids"].shape[1])
            self._check_length(start)
            how = {"do_sample": False} | drawn
            rows = self.net.generate(**inputs, max_new_tokens=self.max_new_tokens, num_beams=1, **how)
        return [self._tidy(row[start:].tolist(), prompt) for row, prompt in zip(rows, prompts, strict=True)]

    def _choose(self, prompts: list[Prompt], choices: Choices) -> list[Chosen]:
        import torch

        with quiet(), torch.inference_mode():
            inputs = self.inputs(prompts).to(self.device, self.dtype)
            start = self._start(inputs["input_ids"].shape[1])
            self._check_length(start)
            first = start + 1 if self.reads_apart else start  # a sheet of its own begins with a token of none
            made = self.net.generate(
                **inputs,
                max_new_tokens=choices.longest,
                do_sample=False,
                num_beams=1,
                prefix_allowed_tokens_fn=lambda _, ids: choices.allowed(ids[first:].tolist()),
                output_logits=True,
                return_dict_in_generate=True,
            )
        steps = torch.stack(made.logits, dim=1).float().cpu().numpy()
        return [choices.chosen(row[first:].tolist(), scores) for row, scores in zip(made.sequences, steps, strict=True)]

    def _check_length(self, tokens: int) -> None:
        if self.context and tokens + self.max_new_tokens > self.context:
            raise InputError(
                f"{self.name} holds {self.context} tokens, the prompt has {tokens} and the answer up to "
                f"{self.max_new_tokens}: give fewer references (k) or neighbour_images"
            )

    def _tidy(self, ids: list[int], prompt: Prompt) -> str:
        # a sheet of its own begins with a token that is none of the text
        written = ids[1:] if self.reads_apart else ids
        cut = len(ids) >= self.max_new_tokens and not self.ends & set(written)
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return tidy(text.strip(), len(prompt.cited_ids), cut=cut)


def _end_ids(net: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a text, the model's own first."""
    configs = (net.generation_config, net.config.get_text_config())
    named = [*(config.eos_token_id for config in configs), tokenizer.eos_token_id, tokenizer.sep_token_id]
    flat = [i for item in named for i in (item if isinstance(item, list) else [item])]
    return [i for i in flat if i is not None]
