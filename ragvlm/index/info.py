"""What an index says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    }
