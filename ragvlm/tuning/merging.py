"""An adapter and its base as one checkpoint that needs no peft."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ragvlm.encoders import hub
from ragvlm.errors import InputError, StoreError
from ragvlm.generators.vlm import VlmGenerator
from ragvlm.generators.vlm_adapter import CONFIG, base_of
from ragvlm.generators.vlm_load import quiet

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack"}


def merge_adapter(adapter: Path | str, out: Path | str, *, device: str = "auto") -> Path:
    """Write ``out``, a whole checkpoint in float32: the base with the changes of the ``adapter`` in its weights.

    It gives the logits of base and adapter to within 1e-5. What was learnt on a quantized base is added to the base as
    it is without quantization. The folder appears when it is whole.

    Raises InputError where ``adapter`` is none of low rank or ``out`` exists, StoreError where it can't be written.
    """
    named, target = base_of(str(adapter)), Path(out).absolute()
    if named is None:
        raise InputError(f"{adapter}: holds no {CONFIG}: give the folder that `ragvlm tune lora` wrote")
    if (kind := hub.read_json(Path(adapter) / CONFIG).get("peft_type")) != "LORA":
        raise InputError(f"{adapter}: is an adapter of type {kind}, which has no weights to add: use it as it is")
    if target.exists():
        raise InputError(f"{target}: exists; choose another --out")
    generator = VlmGenerator(str(adapter), device=device, dtype="float32")
    base = hub.checkpoint(*hub.split_revision(*named))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for path in base.iterdir():  # tokenizer, processor, chat template
                if path.is_file() and path.suffix not in _WEIGHTS and not path.name.endswith(".index.json"):
                    shutil.copy(path, made / path.name)
            with quiet():
                generator.net.merge_and_unload(safe_merge=True).save_pretrained(made)
            made.chmod(0o755)
            made.rename(target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}") from error
    return target
