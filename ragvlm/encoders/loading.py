"""What loads a checkpoint of transformers shares: silence, and one error that names the model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ragvlm.errors import RagvlmError, reason


@contextmanager
def one_error(model: str) -> Iterator[None]:
    """Load in silence, and turn whatever goes wrong into one RagvlmError that names ``model``."""
    from transformers.utils import logging as bars

    before, shown = logging.root.manager.disable, bars.is_progress_bar_enabled()
    logging.disable(logging.ERROR)
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except RagvlmError as error:
        raise type(error)(f"{model} can't be loaded: {error}") from error
    except Exception as error:  # transformers, tokenizers and safetensors each have errors of their own
        raise RagvlmError(f"{model} can't be loaded ({reason(error)}): give a complete checkpoint") from error
    finally:
        logging.disable(before)
        if shown:
            bars.enable_progress_bar()
