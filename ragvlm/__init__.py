"""ragvlm: retrieval-augmented descriptions of biomedical images, every sentence with its evidence.

The public names are loaded on first use (PEP 562), so ``import ragvlm`` costs milliseconds, not torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# ONNX Runtime 1.32 keeps a device id and queues what it finds of the host for its maker's collector, from its import
# on; a program that sees patients' pictures must not. Who sets the variable to 0 has it back.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "Record": "types",
    "Query": "types",
    "Hit": "types",
    "Context": "types",
    "Prompt": "types",
    "Evidence": "types",
    "Description": "types",
    "Encoder": "types",
    "Classifier": "types",
    "Classification": "results",
    "Answer": "results",
    "ImageComparison": "results",
    "VectorStore": "types",
    "Generator": "types",
    "Reader": "types",
    "RagvlmError": "errors",
    "Filter": "filters",
    "Corpus": "corpus",
    "Index": "index",
    "Describer": "describe",
    "Assistant": "assistant",
    "load_encoder": "encoders",
    "load_generator": "generators",
    "load_classifier": "classifiers",
    "classify": "tasks.classify",
    "ground": "tasks.ground",
    "segment": "tasks.ground",
    "Grounding": "regions.found",
    "evaluate": "evaluation.run",
    "Results": "evaluation.results",
    "simulate_corpus": "simulate",
    "tune_lora": "tuning.lora",
    "tune_prompt": "tuning.lora",
    "search_templates": "tuning.template_search",
    "merge_adapter": "tuning.merging",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 - the keys are strings

if TYPE_CHECKING:
    from ragvlm.assistant import Assistant as Assistant
    from ragvlm.classifiers import load_classifier as load_classifier
    from ragvlm.corpus import Corpus as Corpus
    from ragvlm.describe import Describer as Describer
    from ragvlm.encoders import load_encoder as load_encoder
    from ragvlm.errors import RagvlmError as RagvlmError
    from ragvlm.evaluation.results import Results as Results
    from ragvlm.evaluation.run import evaluate as evaluate
    from ragvlm.filters import Filter as Filter
    from ragvlm.generators import load_generator as load_generator
    from ragvlm.index import Index as Index
    from ragvlm.regions.found import Grounding as Grounding
    from ragvlm.results import Answer as Answer
    from ragvlm.results import Classification as Classification
    from ragvlm.results import ImageComparison as ImageComparison
    from ragvlm.simulate import simulate_corpus as simulate_corpus
    from ragvlm.tasks.classify import classify as classify
    from ragvlm.tasks.ground import ground as ground
    from ragvlm.tasks.ground import segment as segment
    from ragvlm.tuning.lora import tune_lora as tune_lora
    from ragvlm.tuning.lora import tune_prompt as tune_prompt
    from ragvlm.tuning.merging import merge_adapter as merge_adapter
    from ragvlm.tuning.template_search import search_templates as search_templates
    from ragvlm.types import Classifier as Classifier
    from ragvlm.types import Context as Context
    from ragvlm.types import Description as Description
    from ragvlm.types import Encoder as Encoder
    from ragvlm.types import Evidence as Evidence
    from ragvlm.types import Generator as Generator
    from ragvlm.types import Hit as Hit
    from ragvlm.types import Prompt as Prompt
    from ragvlm.types import Query as Query
    from ragvlm.types import Reader as Reader
    from ragvlm.types import Record as Record
    from ragvlm.types import VectorStore as VectorStore


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ragvlm' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ragvlm.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
