"""Whether the facts of a claim stand against, or go beyond, those of a reference."""

from __future__ import annotations

from ragvlm.language.facts import Facts, Phrase, Quantity, squash
from ragvlm.language.places import is_stated
from ragvlm.language.sentences import language


def conflict(claim: Facts, reference: Facts) -> str | None:
    """What ``claim`` says that ``reference`` contradicts, in words; None where nothing does.

    - One noun with two numbers: "19 red cells" against "13 red cells".
    - One side denies a noun that the other affirms: "no platelets" against "two platelets".
    - Words that exclude each other: "right lower lobe" against "right upper lobe".
    """
    for axis in {axis for axis, _ in claim.places}:
        mine, theirs = ({v for a, v in facts.places if a == axis} for facts in (claim, reference))
        if mine - theirs and theirs - mine:
            return f"{axis}: {', '.join(sorted(mine))} against {', '.join(sorted(theirs))}"
    if reference.positions and (position := _misplaced(claim, reference)):
        return f"position: {position}"
    for quantity in (q for q in claim.quantities if not q.article):
        rivals = [q for q in reference.quantities if not q.article and _rival(q.noun, quantity.noun)]
        if rivals and not _stated(quantity, reference):
            return f"number: {_words(quantity)} against {_words(rivals[0])}"
    return _flipped(claim, reference) or _flipped(reference, claim)


def unstated(claim: Facts, reference: Facts) -> str | None:
    """What ``claim`` states and the whole ``reference`` never does: a number, a side, a code, a denied thing."""
    for quantity in claim.quantities:
        if not quantity.article and not _stated(quantity, reference):
            return f"number: {_words(quantity)}"
    for axis, value in sorted(claim.places - reference.places):
        if is_stated(axis):
            return f"{axis}: {value}"
    if position := _misplaced(claim, reference):
        return f"position: {position}"
    known = {squash(word) for word in reference.words}
    for name in sorted(claim.names):
        if squash(name) not in known and not known.issuperset(name.split("-")):
            return f"name: {name}"
    for phrase in sorted(claim.negated):
        if phrase[-1] not in reference.words:
            return f"denied: {' '.join(phrase)}"
    return None


def _misplaced(claim: Facts, reference: Facts) -> str | None:
    """A position of ``claim``, such as "lower right", that no position of ``reference`` includes."""
    wrong = [p for p in claim.positions if not any(p <= q for q in reference.positions)]
    return min((" ".join(sorted(p)) for p in wrong), default=None)


def _rival(a: Phrase, b: Phrase) -> bool:
    """Whether two numbers speak of one thing: the same noun, or both of none."""
    return same_thing(a, b) if a and b else a == b


def _stated(claim: Quantity, reference: Facts) -> bool:
    """Whether some number of ``reference`` bears ``claim`` out: with the same noun where both have one."""
    return any(
        agrees(claim, q)
        for q in reference.quantities
        if (same_thing(claim.noun, q.noun) if claim.noun and q.noun else not q.article)
    )


def agrees(claim: Quantity, reference: Quantity) -> bool:
    """Whether the reference's number lies inside the claim's, widened by a tenth where the claim says "about"."""
    slack = 0.1 * claim.low if claim.about else 1e-9
    return claim.low - slack <= reference.low and reference.high <= claim.high + slack


def _flipped(one: Facts, other: Facts) -> str | None:
    """A noun phrase that ``one`` denies alone and ``other`` affirms alone."""
    for phrase in sorted(one.negated):
        denied_too = any(same_thing(phrase, p) for p in other.negated)
        affirmed_too = any(_mentions(run, phrase) for run in one.affirmed)
        if not denied_too and not affirmed_too and any(_mentions(run, phrase) for run in other.affirmed):
            return f"denied by one alone: {' '.join(phrase)}"
    return None


def _mentions(run: Phrase, phrase: Phrase) -> bool:
    """Whether the run of words speaks of ``phrase``: "red cell crossing" of "red blood cell"."""
    return phrase[-1] in run and _agreeing(run[: run.index(phrase[-1])], phrase[:-1])


def same_thing(a: Phrase, b: Phrase) -> bool:
    """Whether two noun phrases name one thing: equal heads, and no qualifier on either side that the other lacks."""
    for long, short in ((a, b), (b, a)):
        n = long.index(short[-1]) if short[-1] in long else -1
        # "cells crossing" is about cells, "cell walls" is not
        if n == len(long) - 1 or (n >= 0 and long[n + 1].endswith(("ing", "ed"))):
            return _agreeing(long[:n], short[:-1])
    return False


def _agreeing(a: Phrase, b: Phrase) -> bool:
    describing = language()["phrases"]["describing"]
    x, y = set(a).difference(describing), set(b).difference(describing)
    return x <= y or y <= x


def _words(quantity: Quantity) -> str:
    span = f"{quantity.low:g}" if quantity.low == quantity.high else f"{quantity.low:g} to {quantity.high:g}"
    return " ".join([span, *quantity.noun])
