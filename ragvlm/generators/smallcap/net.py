"""Mapper and decoder as one torch module; imported inside functions alone, for it loads torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn

from ragvlm.errors import InputError, RagvlmError
from ragvlm.generators.smallcap.decoder import Decoder
from ragvlm.generators.smallcap.features import CELL, CELLS, WHOLE, Seen

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of what is learnt. ``rank`` and ``alpha`` are LoRA's (Hu et al. 2022, arXiv:2106.09685), on all linear
    layers; ``tokens`` of the prefix tell the whole field through ``hidden`` numbers, 9 more one cell each.

    Raises InputError for a size below 1.
    """

    rank: int = 4
    alpha: int = 8
    dropout: float = 0.05
    tokens: int = 3
    hidden: int = 128

    def __post_init__(self) -> None:
        for name in ("rank", "alpha", "tokens", "hidden"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


class Mapper(nn.Module):  # type: ignore[misc]
    """Features -> prefix: float32 (n, tokens + 9, width). ``fit`` sets what standardises the features."""

    def __init__(self, shape: Shape, width: int, size: float) -> None:
        super().__init__()
        self.shape, self.width = shape, width
        self.inner = nn.Linear(WHOLE, shape.hidden)
        self.whole = nn.Linear(shape.hidden, shape.tokens * width)
        self.cells = nn.Linear(CELL, width)
        self.place = nn.Parameter(torch.zeros(shape.tokens + CELLS, width))
        self.blind = nn.Parameter(torch.randn(shape.tokens + CELLS, width) * size)
        self.size = nn.Parameter(torch.tensor(size))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        for name, n in (("whole", WHOLE), ("cell", CELL)):
            self.register_buffer(f"{name}_mean", torch.zeros(n))
            self.register_buffer(f"{name}_scale", torch.ones(n))

    def fit(self, seen: Seen) -> None:
        """Learn mean and spread of the features of the training part."""
        for name, rows in (("whole", seen.whole), ("cell", seen.cells.reshape(-1, CELL))):
            getattr(self, f"{name}_mean").copy_(torch.from_numpy(rows.mean(0)))
            getattr(self, f"{name}_scale").copy_(torch.from_numpy(rows.std(0)).clamp(min=1e-3))

    def forward(self, whole: Any, cells: Any, sighted: Any) -> Any:
        """``sighted`` (n,) says which items have a picture; the others get a learnt prefix of its own."""
        whole = (whole - self.whole_mean) / self.whole_scale
        cells = (cells - self.cell_mean) / self.cell_scale
        tokens = self.whole(nn.functional.gelu(self.inner(whole))).unflatten(1, (self.shape.tokens, self.width))
        prefix = torch.cat([tokens, self.cells(cells)], 1) + self.place
        # a token's embedding is small; a prefix of another length would drown the text
        seen = self.norm(prefix) * self.size
        return torch.where(sighted[:, None, None], seen, self.blind.expand_as(seen))


class Smallcap(nn.Module):  # type: ignore[misc]
    """The mapper, and the decoder with LoRA: whatever has a gradient is what is learnt."""

    def __init__(self, decoder: Decoder, shape: Shape) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=shape.rank,
            lora_alpha=shape.alpha,
            lora_dropout=shape.dropout,
            target_modules=list(LAYERS),
            task_type="CAUSAL_LM",
        )
        size = float(decoder.net.get_input_embeddings().weight.detach().std())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that it gives up
            self.decoder = get_peft_model(decoder.net, config)
        self.mapper = Mapper(shape, decoder.width, size)
        self.end = decoder.end

    def learnt(self) -> dict[str, Any]:
        """Name -> tensor of all that a describer keeps beside the decoder's own weights."""
        found = {name: tensor for name, tensor in self.named_parameters() if tensor.requires_grad}
        return found | {f"mapper.{name}": tensor for name, tensor in self.mapper.named_buffers()}

    def put(self, tensors: Mapping[str, Any]) -> None:
        """Take what ``learnt`` gave. Raises RagvlmError where it is of another shape."""
        own = self.learnt()
        if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
            raise RagvlmError("the describer's weights don't fit its decoder: train it again")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(tensors[name])

    def merged(self) -> Smallcap:
        """The same with LoRA added into the decoder's weights, which no longer learns."""
        self.decoder = self.decoder.merge_and_unload()
        return self

    def forward(
        self, whole: Any, cells: Any, sighted: Any, input_ids: Any, attention_mask: Any, labels: Any, **_: Any
    ) -> dict[str, Any]:
        """The mean cross-entropy of the tokens of ``labels`` that are not IGNORED.

        ``input_ids``, ``attention_mask`` and ``labels`` are int64 (n, t), padded on the right.
        """
        states, prefix = self._states(self.mapper(whole, cells, sighted), input_ids, attention_mask)
        wanted = labels[:, 1:]
        kept = wanted != IGNORED
        # the output layer is a fifth of the work: it sees what is to be learnt alone
        logits = self.decoder.get_output_embeddings()(states[:, prefix:-1][kept])
        return {"loss": nn.functional.cross_entropy(logits.float(), wanted[kept])}

    def _states(self, prefix: Any, input_ids: Any, attention_mask: Any) -> tuple[Any, int]:
        words = self.decoder.get_input_embeddings()(input_ids)
        seen = attention_mask.new_ones(prefix.shape[:2])
        out = self._body(
            inputs_embeds=torch.cat([prefix.to(words.dtype), words], 1),
            attention_mask=torch.cat([seen, attention_mask], 1),
            use_cache=False,
        )
        return out.last_hidden_state, prefix.shape[1]

    @property
    def _body(self) -> Any:
        """The decoder without its output layer; LoRA, where it isn't merged, sits inside its layers."""
        return self.decoder.get_decoder()

    def logprobs(self, whole: Any, cells: Any, sighted: Any, asked: Sequence[int], answers: Sequence[list[int]]) -> Any:
        """Mean log-probability of a token of each of ``answers`` after ``asked``, about one picture: (answers,)."""
        prefix = self.mapper(whole, cells, sighted)
        words = self.decoder.get_input_embeddings()(torch.tensor([list(asked)]))
        from transformers import DynamicCache

        # what all answers share is read once
        cache = DynamicCache(config=self._body.config)
        # transformers is giving the argument this name
        known = {"cache" if "cache" in signature(self._body.forward).parameters else "past_key_values": cache}
        begun = self._body(inputs_embeds=torch.cat([prefix, words], 1), use_cache=True, **known)
        cache.batch_repeat_interleave(len(answers))
        longest = max(map(len, answers))
        ids = torch.tensor([[*answer, *[self.end] * (longest - len(answer))] for answer in answers])
        mask = torch.tensor([[1] * len(answer) + [0] * (longest - len(answer)) for answer in answers])
        before = mask.new_ones(len(answers), prefix.shape[1] + len(asked))
        out = self._body(
            input_ids=ids[:, :-1],
            attention_mask=torch.cat([before, mask[:, :-1]], 1),
            use_cache=True,
            **known,
        )
        first = begun.last_hidden_state[:, -1:].expand(len(answers), -1, -1)
        states = torch.cat([first, out.last_hidden_state], 1)
        logits = self.decoder.get_output_embeddings()(states).log_softmax(-1)
        found = logits.gather(2, ids[..., None])[..., 0] * mask
        return found.sum(1) / mask.sum(1)

    def write(self, whole: Any, cells: Any, sighted: Any, asked: Sequence[Sequence[int]], most: int) -> list[list[int]]:
        """Greedy continuations of ``asked`` (token numbers an item), at most ``most`` tokens each, without the end."""
        prefix = self.mapper(whole, cells, sighted)
        longest, length = max(map(len, asked)), prefix.shape[1]
        embed = self.decoder.get_input_embeddings()
        rows = [torch.cat([embed(torch.full((longest - len(ids),), self.end)), prefix[i], embed(torch.tensor(ids))])
                for i, ids in enumerate(asked)]  # fmt: skip
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * (length + len(ids)) for ids in asked])
        found = self.decoder.generate(
            inputs_embeds=torch.stack(rows),
            attention_mask=mask,
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            eos_token_id=self.end,
            pad_token_id=self.end,
        )
        return [row[: row.index(self.end)] if self.end in row else row for row in found.tolist()]
