"""A dataset that Hugging Face ``datasets`` saved with ``save_to_disk``, of one split or several."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError, reason, require
from ragvlm.readers.table import Table, records_of
from ragvlm.types import Record, Skipped


class HfDatasetReader:
    """Needs the extra ``datasets``. Pictures inside the dataset are copied into the cache folder."""

    name = "hf-dataset"
    layout = "a folder that datasets.save_to_disk wrote"

    def matches(self, path: Path) -> bool:
        """Whether the folder holds what ``save_to_disk`` writes."""
        return any(os.path.isfile(path / name) for name in ("state.json", "dataset_dict.json"))  # noqa: PTH113

    def read(self, path: Path, columns: Mapping[str, str]) -> Iterator[Record | Skipped]:
        """Records of all splits, with ``extra["split"]`` where there are several. Raises CorpusError."""
        datasets = require("datasets", "datasets")
        try:
            loaded = datasets.load_from_disk(str(path))
        except Exception as error:  # pyarrow, json and datasets all raise their own
            raise CorpusError(f"{path}: is not a dataset that can be read ({reason(error)})") from error
        if isinstance(loaded, datasets.DatasetDict):
            for split, dataset in loaded.items():
                yield from _records(datasets, path / split, dataset, columns, split)
        else:
            yield from _records(datasets, path, loaded, columns, None)


def _records(
    datasets: Any, path: Path, dataset: Any, columns: Mapping[str, str], split: str | None
) -> Iterator[Record | Skipped]:
    names = {}
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
        elif isinstance(feature, datasets.ClassLabel):
            names[column] = feature.int2str
    header = (*dataset.features, "split") if split else tuple(dataset.features)
    table = Table(path, header, _rows(dataset, names, split))
    yield from records_of(table, columns, id_prefix=f"{split}/" if split else "")


def _rows(dataset: Any, names: Mapping[str, Any], split: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    for row, cells in enumerate(dataset, start=1):
        for column, name in names.items():
            # datasets marks an unknown class by None or -1
            known = cells[column] is not None and cells[column] >= 0
            cells[column] = name(cells[column]) if known else None
        yield row, cells | ({"split": split} if split else {})
