"""A vision-language checkpoint -> processor and model of transformers, or one clear error."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragvlm.encoders import hub
from ragvlm.encoders.torch_tools import check_memory, import_package, memory_errors
from ragvlm.errors import InputError, RagvlmError, missing_extra, reason
from ragvlm.generators.quantize import bytes_needed, hush, quantization, settle


def check_kind(folder: Path, model: str, *, trust_remote_code: bool) -> str:
    """The model_type of the checkpoint in ``folder``. Raises InputError where transformers has no such model that reads
    pictures and writes text, and the checkpoint's own code is absent or not trusted.
    """
    transformers = _transformers()
    config = hub.read_json(folder / "config.json")
    kind = str(config.get("model_type", ""))
    if kind in transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return kind
    if kind in transformers.CONFIG_MAPPING:
        raise InputError(f"{model} is a {kind!r} model, not one that reads pictures and writes text: choose another")
    if "AutoModelForImageTextToText" not in config.get("auto_map", {}):
        raise InputError(
            f"{model}: transformers {transformers.__version__} has no model {kind!r}: upgrade or choose another"
        )
    if not trust_remote_code:
        raise hub.untrusted(model)
    return kind


def load_processor(folder: Path, model: str, *, trust_remote_code: bool = False) -> Any:
    """The processor. Raises RagvlmError where it can't be had, MissingExtraError without num2words if it needs that."""
    transformers = _transformers()
    with one_error(model):
        config = type(transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code))
        known = transformers.models.auto.processing_auto.PROCESSOR_MAPPING
        maker = known.get(config, None)
        if maker and "video_processor" in maker.get_attributes() and not _has_torchvision(transformers):
            return _without_video(transformers, maker, folder)
        return transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)


def load_model(
    folder: Path,
    model: str,
    device: Any,
    dtype: Any,
    *,
    maker: str = "AutoModelForImageTextToText",
    trust_remote_code: bool = False,
    quantize: str = "none",
) -> Any:
    """The model in evaluation mode on ``device``, made by transformers' class ``maker``; ``quantize``: see quantize.py.

    Raises RagvlmError for weights that don't fit the model or the memory.
    """
    transformers = _transformers()
    packed = quantization(quantize, folder, model, device, dtype, trust_remote_code=trust_remote_code)
    with one_error(model):
        needed = bytes_needed(folder, dtype, quantize)
    check_memory(f"{model} (weights alone)", needed, device)
    placed = {"quantization_config": packed, "device_map": {"": device}} if packed else {}
    with one_error(model), memory_errors(model, device):
        net, told = getattr(transformers, maker).from_pretrained(
            folder, dtype=dtype, **hub.reading(folder), trust_remote_code=trust_remote_code, output_loading_info=True,
            **placed,
        )  # fmt: skip
        if told["missing_keys"]:  # transformers would fill them with random numbers
            raise RagvlmError(
                f"{model}: its weights lack {sorted(told['missing_keys'])[0]}: give a complete checkpoint"
            )
        if not packed:
            net.to(device)
        settle(net)
        return net.eval()


@contextmanager
def one_error(model: str) -> Iterator[None]:
    """Turn whatever transformers raises over ``model`` into one RagvlmError, and keep its warnings to itself."""
    try:
        with quiet():
            yield
    except RagvlmError:
        raise
    except ImportError as error:
        if "num2words" in str(error):
            raise missing_extra("num2words", "vlm") from error
        raise RagvlmError(f"{model} can't be loaded ({reason(error)}): install that package") from error
    except MemoryError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors each have errors of their own
        raise RagvlmError(f"{model} can't be loaded ({reason(error)}): give a complete checkpoint") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of transformers and peft (the Pillow processors are as good here) and without bars."""
    transformers = _transformers()
    logger, bars = logging.getLogger("transformers"), transformers.utils.logging
    level, had_bars = logger.level, bars.is_progress_bar_enabled()
    logger.setLevel(logging.CRITICAL)
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="transformers|peft")
            yield
    finally:
        logger.setLevel(level)
        if had_bars:
            bars.enable_progress_bar()


def _transformers() -> Any:
    hush()
    return import_package("transformers", "vlm")


def _has_torchvision(transformers: Any) -> bool:
    return bool(transformers.utils.is_torchvision_available())


def _without_video(transformers: Any, maker: Any, folder: Path) -> Any:
    """``maker`` without its part for films, which alone needs torchvision; pictures and words are prepared as ever."""
    order = maker.get_attributes()
    parts = {
        "image_processor": transformers.AutoImageProcessor.from_pretrained(folder, backend="pil"),
        "tokenizer": transformers.AutoTokenizer.from_pretrained(folder),
    }
    if unknown := set(order) - set(parts) - {"video_processor"}:
        raise RagvlmError(f"its processor needs {sorted(unknown)[0]} and torchvision: install torchvision")
    settings, _ = maker.get_processor_dict(folder)
    settings.pop("video_processor", None)
    still: Any = type(
        maker.__name__,
        (maker,),
        {
            "get_attributes": classmethod(lambda cls: [name for name in order if name in parts]),
            # some makers ask their part for films for its settings here
            "apply_chat_template": transformers.ProcessorMixin.apply_chat_template,
        },
    )
    return still.from_args_and_dict([parts.get(name) for name in order], settings)
