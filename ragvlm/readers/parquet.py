"""Parquet, including pictures stored inside it as Hugging Face does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragvlm.errors import CorpusError, reason
from ragvlm.readers.table import Table, TableReader

_BATCH = 64  # rows may hold whole pictures


class ParquetReader(TableReader):
    """One record a row; a picture is a path, or an object of its ``bytes`` and ``path``."""

    name = "parquet"
    layout = "a .parquet file"
    suffixes = frozenset({".parquet"})

    def table(self, path: Path) -> Table:
        """The rows, counted from 1, read as they are asked for."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                header = tuple(file.schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(f"{path}: is not a Parquet file that can be read ({reason(error)})") from error
        return Table(path, header, _rows(path))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    done = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from enumerate(batch.to_pylist(), start=done + 1)
                done += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield done + 1, ValueError(f"can't be read, nor what follows ({reason(error)})")
