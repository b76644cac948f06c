"""What a language model writes -> sentences that the evidence check can read."""

from __future__ import annotations

import re

from ragvlm.language.sentences import split_sentences


def tidy(text: str, references: int, *, cut: bool) -> str:
    """``text`` without citations of the ``references``, such as [2] or [1, 3], and without repeated sentences.

    Where ``cut``, without its torn end.
    """
    cited = "|".join(str(n) for n in range(references, 0, -1))
    bare = re.sub(rf"\s*\[(?:{cited})(?:\s*,\s*(?:{cited}))*\]", "", text)
    if cut:
        bare = re.sub(r"(^|(?<=[.!?]))[^.!?]*$", "", bare)
    # a small model may say one sentence over and over
    return " ".join(dict.fromkeys(split_sentences(bare)))
