"""What a generator answers, in one of the allowed ways where there are such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ragvlm.describe import Describer
from ragvlm.errors import InputError
from ragvlm.language.asking import choose, key_of
from ragvlm.language.sentences import split_sentences
from ragvlm.prompt import build_prompt
from ragvlm.results import Neighbour
from ragvlm.tasks.memory import shares_of
from ragvlm.templates import load_template
from ragvlm.types import Context, Generator, Prompt

TEMPLATE, ALONE = "ask", "zero-shot"
VOTES = ("consensus", "nearest")
"""The generators that, as those of captions, answer by the references alone."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, "" where there is none; the generator's probability among the options and the slice that decided."""

    answer: str = ""
    probability: float | None = None
    slice: str | None = None


def check(generator: Generator) -> None:
    """Raises InputError for a generator that neither votes nor hears a question."""
    for member in members_of(generator):
        if getattr(member, "reads", "prompt") == "references" and member.name not in VOTES:
            raise InputError(
                f"generator {member.name!r} hears no question: choose {' or '.join(VOTES)}, which let the references "
                "vote, or one that writes, such as smollm2 or smolvlm"
            )


def members_of(generator: Generator) -> tuple[Generator, ...]:
    """The generators of an ensemble, or the one alone."""
    return tuple(getattr(generator, "members", ())) or (generator,)


def answer(describer: Describer, context: Context, neighbours: Sequence[Neighbour], options: Sequence[str]) -> Said:
    """What the generator of ``describer`` says, given the references' answers; of an ensemble all together."""
    members = members_of(describer.generator)
    opinions = [_opinion(member, describer, context, neighbours, options) for member in members]
    combine = getattr(describer.generator, "combine", "consensus")
    shares = combined([opinion.shares for opinion in opinions], combine)
    if not shares:
        return Said()
    best = max(shares, key=lambda one: round(shares[one], 9))
    own = [o for o in opinions if o.probable]
    told = sum(_share(o.shares, best) for o in own) / len(own) if own else None
    slices = [slice for o in opinions if (slice := o.slices.get(key_of(best)))]
    return Said(best, told, slices[0] if slices else None)


def alone(generator: Generator, context: Context, options: Sequence[str]) -> str:
    """What ``generator`` answers without any reference, in one of the ``options`` where there are such."""
    prompt = build_prompt(replace(context, hits=()), template=ALONE, choices=options)
    shares = _written(generator, [prompt], options)[0][0]
    return max(shares, key=lambda one: shares[one], default="")


@dataclass(frozen=True, slots=True)
class _Opinion:
    """One generator's answers with their shares; ``probable`` where these are its own probabilities; and, by the
    answer's key, the slice that speaks most for it."""

    shares: Mapping[str, float]
    probable: bool
    slices: Mapping[str, str]


def combined(opinions: Sequence[Mapping[str, float]], combine: str) -> dict[str, float]:
    """Answers with their shares: by "vote" each opinion has one vote, by "consensus" shares are averaged.

    Equal votes are told apart by the averaged shares.
    """
    told = [opinion for opinion in opinions if opinion]
    out: dict[str, float] = {}
    for opinion in told:
        first = max(opinion, key=lambda one: opinion[one])
        for one, share in opinion.items():
            name = next((known for known in out if key_of(known) == key_of(one)), one)
            vote = (1.0 if one == first else 0.0) + share / 1000 if combine == "vote" else share
            out[name] = out.get(name, 0.0) + vote / len(told)
    return out


def _share(shares: Mapping[str, float], answer: str) -> float:
    return sum(share for one, share in shares.items() if key_of(one) == key_of(answer))


def _opinion(
    member: Generator,
    describer: Describer,
    context: Context,
    neighbours: Sequence[Neighbour],
    options: Sequence[str],
) -> _Opinion:
    if member.name == "nearest":
        return _Opinion({neighbours[0].answer: 1.0}, False, {})
    if member.name == "consensus":
        return _Opinion(shares_of(neighbours), False, {})
    names = list(context.query.slices) if getattr(member, "pictures", 1) != 0 else []
    views = [replace(context.query, image=context.query.slices[name], slices={}) for name in names]
    contexts = [replace(context, query=query) for query in views or [context.query]]
    prompts = [_prompt(describer, member, one, options) for one in contexts]
    said, probable = _written(member, prompts, options)
    shares = combined(said, "consensus")
    slices = {}
    for one in shares if names else ():
        slices[key_of(one)] = names[max(range(len(names)), key=lambda i: _share(said[i], one))]
    return _Opinion(shares, probable, slices)


def _written(
    member: Generator, prompts: Sequence[Prompt], options: Sequence[str]
) -> tuple[list[Mapping[str, float]], bool]:
    """The answers to each prompt with their shares, and whether these are the generator's own probabilities."""
    choosing = getattr(member, "choose", None)
    if options and choosing is not None:
        found = choosing(prompts, options)
        return [_spread(one, options) for one in found], all(p is not None for one, p in found if one)
    drawing = getattr(member, "draw", None)
    drawn = drawing(prompts) if drawing is not None else [[text] for text in member.generate(prompts)]
    return [_counted([_short(text, options) for text in texts]) for texts in drawn], drawing is not None


def _spread(chosen: tuple[str, float | None], options: Sequence[str]) -> dict[str, float]:
    """What an option's probability leaves is shared evenly by the others."""
    answer, probability = chosen
    if not answer:
        return {}
    p = 1.0 if probability is None else probability
    return {one: p if one == answer else (1 - p) / (len(options) - 1) for one in options}


def _counted(answers: Sequence[str]) -> dict[str, float]:
    out: dict[str, float] = {}
    for one in filter(None, answers):
        name = next((known for known in out if key_of(known) == key_of(one)), one)
        out[name] = out.get(name, 0.0) + 1 / len(answers)
    return out


def _short(text: str, options: Sequence[str]) -> str:
    """The first sentence, without its full stop; the option that it means, "" for none, where there are options."""
    first = next(iter(split_sentences(text)), "").rstrip(" .")
    return (choose(text, options) or choose(first, options) or "") if options else first


def _prompt(describer: Describer, member: Generator, context: Context, options: Sequence[str]) -> Prompt:
    return build_prompt(
        context,
        template=load_template(TEMPLATE),
        max_chars=describer.writer.max_chars,
        fits=getattr(member, "fits", None),
        pictures=getattr(member, "pictures", 1),
        choices=options,
    )
