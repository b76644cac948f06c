"""Several generators, or several samples of one, as one generator.

Self-consistency (Wang et al. 2023, arXiv:2203.11171): the answer that most samples agree on. Of longer texts the one
that agrees most with the others is taken, as by minimum Bayes risk (Kumar and Byrne 2004, HLT-NAACL), with the
similarity of generator "consensus".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ragvlm.errors import InputError
from ragvlm.generators.consensus import ngrams, similarity
from ragvlm.language.sentences import split_sentences
from ragvlm.types import Prompt

if TYPE_CHECKING:
    from ragvlm.types import Generator

COMBINE = ("consensus", "vote")
ALIKE = 0.5
"""The similarity from which two sentences count as one in a vote."""


def combine_texts(texts: Sequence[str], combine: str) -> str:
    """One text of several; empty ones have no say.

    "consensus": the text with the highest mean similarity to the others, equal ones in their order. "vote": those of
    its sentences that at least half of the texts say alike; all of them where none has so many.
    """
    told = [text for text in texts if text.strip()]
    if len(told) < 2:
        return told[0] if told else ""
    grams = [ngrams(text) for text in told]
    means = [sum(similarity(a, b) for j, b in enumerate(grams) if j != i) for i, a in enumerate(grams)]
    best = told[max(range(len(told)), key=lambda i: round(means[i], 9))]
    if combine == "consensus":
        return best
    said = [[ngrams(sentence) for sentence in split_sentences(text)] for text in told]
    kept = [sentence for sentence in split_sentences(best) if _voters(sentence, said) * 2 >= len(told)]
    return " ".join(kept) or best


def _voters(sentence: str, said: Sequence[Sequence[Any]]) -> int:
    own = ngrams(sentence)
    return sum(any(similarity(own, other) >= ALIKE for other in sentences) for sentences in said)


class Ensemble:
    """``members`` asked the same, and one text made of theirs: see ``combine_texts``.

    A prompt is as long as the member with the least room takes. Raises InputError for fewer than two members and an
    unknown ``combine``.
    """

    def __init__(self, members: Sequence[Generator], combine: str = "consensus") -> None:
        if combine not in COMBINE:
            raise InputError(f"combine {combine!r} is unknown: choose {' or '.join(COMBINE)}")
        if len(members) < 2:
            raise InputError("an ensemble needs two generators or more: give their names with commas between")
        self.members, self.combine = tuple(members), combine
        self.name = f"{','.join(member.name for member in members)} ({combine})"
        reads = {str(getattr(member, "reads", "prompt")) for member in members}
        self.reads = reads.pop() if len(reads) == 1 else "prompt"
        most = [getattr(member, "pictures", 1) for member in members if getattr(member, "reads", "") != "references"]
        self.pictures: int | None = min((n for n in most if n is not None), default=None) if most else 1

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt. Raises what the members raise."""
        written = [member.generate(prompts) for member in self.members]
        return [combine_texts(texts, self.combine) for texts in zip(*written, strict=True)]

    def fits(self, prompt: Prompt) -> bool:
        """Whether ``prompt`` fits every member that can tell."""
        return all(member.fits(prompt) for member in self.members if hasattr(member, "fits"))


class Sampled:
    """``samples`` texts of one generator that can ``sample``, and one made of them: see ``combine_texts``.

    A closed question isn't sampled where the generator tells its probabilities: they are what samples would estimate.
    Raises InputError for fewer than two samples and a generator that can't sample.
    """

    def __init__(self, generator: Generator, samples: int, combine: str = "consensus") -> None:
        if samples < 2:
            raise InputError(f"samples is {samples}: choose 2 or more")
        if not hasattr(generator, "sample"):
            raise InputError(
                f"generator {generator.name!r} always writes the same: leave samples out, or choose one that draws, "
                "such as smollm2, openai or smolvlm"
            )
        self.generator, self.samples, self.combine = generator, samples, combine
        self.name = f"{generator.name}*{samples}"
        self.reads, self.pictures = getattr(generator, "reads", "prompt"), getattr(generator, "pictures", 1)
        for method in ("choose", "fits"):
            if hasattr(generator, method):
                setattr(self, method, getattr(generator, method))

    def draw(self, prompts: Sequence[Prompt]) -> list[list[str]]:
        """``samples`` texts a prompt, the same ones for the same prompts."""
        drawn = [self.generator.sample(prompts, seed) for seed in range(self.samples)]
        return [list(texts) for texts in zip(*drawn, strict=True)]

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """One text a prompt. Raises what the generator raises."""
        return [combine_texts(texts, self.combine) for texts in self.draw(prompts)]
