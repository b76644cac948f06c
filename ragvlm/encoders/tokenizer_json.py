"""The tokenizer of a checkpoint as one tokenizer.json, which the package ``tokenizers`` reads by itself."""

from __future__ import annotations

import string
from typing import Any

from ragvlm.errors import RagvlmError, require

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # stands for a space in SentencePiece
# what Python's \s matches; the regular expressions of tokenizers have another list
_WHITE = "\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def tokenizer_json(tokenizer: Any) -> str:
    """The contents of a tokenizer.json that says what a tokenizer of transformers says, without cutting and padding.

    Raises RagvlmError for one that has no counterpart.
    """
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        plain = Tokenizer.from_str(backend.to_str())
    elif type(tokenizer).__name__ == "SiglipTokenizer":
        plain = _siglip(tokenizer)
    else:
        raise RagvlmError(f"its tokenizer ({type(tokenizer).__name__}) runs in Python alone")
    plain.no_padding()
    plain.no_truncation()
    return str(plain.to_str())


def _siglip(tokenizer: Any) -> Any:
    """SigLIP's tokenizer, which is Python around SentencePiece: canonical text, unigram pieces, the end token."""
    from tokenizers import AddedToken, Tokenizer, models, processors

    proto: Any = require("sentencepiece.sentencepiece_model_pb2", "transformers")
    model = proto.ModelProto.FromString(tokenizer.sp_model.serialized_model_proto())
    if model.trainer_spec.model_type != model.trainer_spec.UNIGRAM:
        raise RagvlmError("its SentencePiece model is not a unigram model")
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    plain = Tokenizer(models.Unigram(pieces, unk_id=model.trainer_spec.unk_id, byte_fallback=False))
    plain.normalizer = _canonical(tokenizer.do_lower_case, model.normalizer_spec)
    end = (tokenizer.eos_token, tokenizer.eos_token_id)
    plain.post_processor = processors.TemplateProcessing(single=["$A", end[0]], special_tokens=[end])
    plain.add_special_tokens(
        [AddedToken(token, lstrip=True, rstrip=True, normalized=False) for token in tokenizer.all_special_tokens]
    )
    return plain


def _canonical(lower: bool, spec: Any) -> Any:
    """Lower case, no punctuation, single spaces, as SigLIP was trained; then SentencePiece's own normalisation."""
    from tokenizers import Regex, normalizers

    replace = normalizers.Replace
    punctuation = "".join(f"\\{character}" for character in string.punctuation)
    steps = [
        replace(_SPACE, " "),
        normalizers.Prepend(_SPACE),
        *([normalizers.Lowercase()] if lower else []),
        replace(Regex(f"[{punctuation}]"), ""),
        replace(Regex(f"[{_WHITE}]+"), " "),
        replace(Regex(" $"), ""),
    ]
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [replace(Regex(" {2,}"), " "), replace(Regex(f"[ {_SPACE}]+$"), "")]
    return normalizers.Sequence([*steps, replace(" ", _SPACE)])
