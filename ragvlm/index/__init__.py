"""The index on disk: records beside their embeddings, and the stores that search them."""

from ragvlm.index.index import Index

__all__ = ["Index"]
