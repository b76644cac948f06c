"""What an index says of itself, and how it names subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ragvlm.errors import InputError
from ragvlm.index.segments import read_live

if TYPE_CHECKING:
    from ragvlm.index.index import Index


def facts(index: Index) -> dict[str, Any]:
    """What ``ragvlm info --json`` prints; see docs/output.md."""
    manifest, counts = index.manifest, index.manifest.counts
    return {
        "path": str(index.path),
        "corpus": manifest.corpus,
        "corpus_root": manifest.corpus_root,
        "records": counts.records,
        "pictures": counts.pictures,
        "captions": counts.captions,
        "encoder": manifest.encoder,
        "encoder_fingerprint": manifest.encoder_fingerprint,
        "encoder_options": dict(manifest.encoder_options),
        "store": manifest.store,
        "stores": {item.kind: item.store for item in manifest.derived if item.store},
        "store_options": dict(manifest.store_options),
        "tuning": dict(manifest.tuning),
        "fingerprint": index.fingerprint,
        "bytes": sum(path.stat().st_size for path in index.path.rglob("*") if path.is_file()),
        "segments": len(manifest.segments),
        "complete": manifest.complete,
        "vanished": manifest.vanished.rows if manifest.vanished else 0,
        "skipped": manifest.skipped,
        "exact_duplicates": [list(group) for group in index.exact_duplicates()],
        "subjects_hashed": manifest.subject_key is not None,
        "created": manifest.created,
        "updated": manifest.updated,
        "sources": dict(counts.sources),
        "licences": dict(counts.licences),
        "fusion_weights": manifest.calibration.get("fusion", {}).get("weights"),
    }


def exact_duplicates(index: Index) -> list[tuple[str, ...]]:
    """Groups of ids of records whose pictures have equal pixels, in row order."""
    # from the segments alone: what is in an index can be told without the package that searches it
    table = read_live(index.path, index.manifest, ["id", "content_hash"])
    groups: dict[str, list[str]] = {}
    for record, digest in zip(table["id"].to_pylist(), table["content_hash"].to_pylist(), strict=True):
        if digest:
            groups.setdefault(digest, []).append(record)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def pseudonym(index: Index, name: str) -> str:
    """See ``Index.pseudonym``."""
    if index.manifest.subject_key is None:
        return name
    from ragvlm.pseudonym import pseudonymizer

    hashed = pseudonymizer()
    if hashed.fingerprint != index.manifest.subject_key:
        raise InputError(
            f"index {index.path} hashed its subjects with another key ({index.manifest.subject_key}): "
            f"set RAGVLM_SUBJECT_KEY to that key, or leave subject_id out"
        )
    return hashed(name)
