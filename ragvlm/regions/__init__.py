"""Regions of a picture: found by an index's own boxes, by words on patches, or by a generator that says where."""
