"""ViLT: answers questions about a picture with one of the answers that it was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragvlm.encoders import hub
from ragvlm.encoders.torch_tools import choose_device, choose_dtype
from ragvlm.errors import InputError
from ragvlm.generators.batches import in_batches
from ragvlm.generators.choosing import Chosen, shares
from ragvlm.generators.pictures import picture
from ragvlm.generators.vlm_load import load_model, load_processor, quiet
from ragvlm.language.asking import key_of
from ragvlm.prompt import clean
from ragvlm.types import Prompt


class ViltGenerator:
    """Classifies picture and question into the answers of its checkpoint; the references don't go in.

    The answer is the label with the highest logit (``id2label`` of config.json; VQAv2's 3129 answers in
    dandelin/vilt-b32-finetuned-vqa). Kim et al., ICML 2021, arXiv:2102.03334.

    Args:
        model: "ORG/NAME", "ORG/NAME@REVISION" (from the hub's cache, else downloaded) or a folder.
        revision: a branch, a tag or a commit.
        device: "auto" (CUDA, else MPS, else the CPU) or a torch device.
        dtype: "float32", "bfloat16", "float16" or "auto" (bfloat16 on a CUDA device that has it, else float32).
        batch_size: questions at a time; halved, with a note in the log, when memory runs out.

    Weights are read from safetensors, else from a state dict of plain tensors.
    Raises MissingExtraError without ``ragvlm[vlm]``, InputError for an
    option or a model that can't be, and RagvlmError for a model that is neither cached nor within reach, incomplete,
    or too large for the memory.
    """

    reads = "question"
    fetch = staticmethod(hub.fetcher())

    def __init__(
        self,
        model: str = "",
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 8,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: choose 1 or more")
        self.model, self.revision = hub.split_revision(model, revision)
        self.batch_size = batch_size
        folder = hub.checkpoint(self.model, self.revision)
        self.name = f"vilt:{hub.pinned(self.model, self.revision, folder)}"
        kind = str(hub.read_json(folder / "config.json").get("model_type", ""))
        if kind != "vilt":
            raise InputError(f"{self.model} is a {kind!r} model, not ViLT: choose a ViLT checkpoint, or generator vlm")
        self.processor = load_processor(folder, self.model)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self._net = load_model(folder, self.model, self.device, self.dtype, maker="ViltForQuestionAnswering")

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer a prompt, to the words of its query; empty for a blank one.

        Raises InputError for a prompt without question or picture and for a question beyond the model's length,
        RagvlmError where not even one prompt fits the memory.
        """
        asked = [prompt for prompt in prompts if not prompt.blank]
        for prompt in asked:
            self._check(prompt)
        answers = iter(in_batches(self, asked, self._answer))
        return ["" if prompt.blank else next(answers) for prompt in prompts]

    def choose(self, prompts: Sequence[Prompt], options: Sequence[str]) -> list[Chosen]:
        """One of ``options`` a prompt, with its probability among them (softmax of their logits).

        Raises InputError for an option that is none of the checkpoint's answers, and what ``generate`` raises.
        """
        known = {key_of(str(label)): int(place) for place, label in self._net.config.id2label.items()}
        if absent := [option for option in options if key_of(option) not in known]:
            raise InputError(f"{self.name} was not trained to answer {absent[0]!r}: give other options or a generator")
        places = [known[key_of(option)] for option in options]
        asked = [prompt for prompt in prompts if not prompt.blank]
        for prompt in asked:
            self._check(prompt)

        def judged(batch: list[Prompt]) -> list[Chosen]:
            found = [shares(row[places].tolist()) for row in self._logits(batch)]
            return [(options[own.index(max(own))], max(own)) for own in found]

        chosen = iter(in_batches(self, asked, judged))
        return [("", None) if prompt.blank else next(chosen) for prompt in prompts]

    def inputs(self, prompts: Sequence[Prompt]) -> Any:
        """The batch as a BatchFeature: pictures of several shapes are padded, and ``pixel_mask`` says where."""
        pictures = [picture(prompt, 0) for prompt in prompts]
        return self.processor(pictures, [_question(p) for p in prompts], padding=True, return_tensors="pt")

    def _answer(self, prompts: list[Prompt]) -> list[str]:
        return [str(self._net.config.id2label[best]) for best in self._logits(prompts).argmax(dim=-1).tolist()]

    def _logits(self, prompts: list[Prompt]) -> Any:
        import torch

        with quiet(), torch.inference_mode():
            return self._net(**self.inputs(prompts).to(self.device, self.dtype)).logits.float().cpu()

    def _check(self, prompt: Prompt) -> None:
        query, question = prompt.context.query, _question(prompt)
        if not question:
            raise InputError(f"{self.name} answers questions only: ask one with --question (in Python question=)")
        tokens, most = len(self.processor.tokenizer(question)["input_ids"]), self._net.config.max_position_embeddings
        if tokens > most:
            raise InputError(
                f"query {query.id!r}: the question has {tokens} tokens, {self.name} reads {most}: shorten it"
            )


def _question(prompt: Prompt) -> str:
    return clean(prompt.context.query.text or "")
