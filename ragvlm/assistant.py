"""All tasks by one object: describe, ask, classify, ground, segment, compare."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ragvlm.describe import Describer
from ragvlm.regions.found import Grounding
from ragvlm.results import Answer, Classification, ImageComparison
from ragvlm.types import Description

if TYPE_CHECKING:
    from ragvlm.tasks.ask import Asker


class Assistant(Describer):
    """A Describer that can do the other tasks too, with the same index, encoder, generator and options.

    Each method takes one picture (a path, a PIL image, an array) or, where it says so, a list of them, and gives a
    frozen dataclass that prints, converts to JSON (``to_dict``) and shows itself in a notebook; its arguments and
    errors are those of the function of the same name in ``ragvlm.tasks``.
    """

    def describe(self, images: Any, **known: Any) -> Description | list[Description]:
        """Describe one picture or a list of them: see ``Describer.__call__``."""
        found: Description | list[Description] = self(images, **known)
        return found

    @cached_property
    def asker(self) -> Asker:
        """Answers questions; it knows those of the index."""
        from ragvlm.tasks.ask import Asker

        return Asker(self)

    def ask(self, image: Any, question: str, options: Sequence[str] | None = None, **known: Any) -> Answer:
        """Answer a question about one picture: see ``ragvlm.tasks.ask.Asker``."""
        return self.asker(image, question, options, **known)

    def compare_images(self, a: Any, b: Any, **known: Any) -> ImageComparison:
        """Say what differs between two pictures: see ``ragvlm.tasks.compare_images.compare_images``."""
        from ragvlm.tasks.compare_images import compare_images

        return compare_images(self, a, b, **known)

    def classify(self, images: Any, labels: Any = None, **options: Any) -> Classification | list[Classification]:
        """Say how probable labels are for one picture or a list of them: see ``ragvlm.tasks.classify.classify``.

        ``labels`` may be a column of the index; classifiers that learn from an index learn from this one.
        """
        from ragvlm.registry import takes
        from ragvlm.tasks.classify import classify

        name = options.get("classifier", "zero-shot")
        if name == "zero-shot" or (isinstance(name, str) and takes("classifiers", name, "index")):
            own = {"encoder": self.index.encoder} if "rule" in options else {"index": self.index}
            options = (own if "encoder" not in options else {}) | options
        found: Classification | list[Classification] = classify(images, labels, **options)
        return found

    def ground(self, image: Any, phrase: str, **options: Any) -> Grounding:
        """Say where words are on one picture: see ``ragvlm.tasks.ground.ground``."""
        from ragvlm.tasks.ground import ground

        return ground(image, phrase, **{"index": self.index} | options)

    def segment(self, image: Any, phrase: str, **options: Any) -> Grounding:
        """Say which pixels of one picture words mean: see ``ragvlm.tasks.ground.segment``."""
        from ragvlm.tasks.ground import segment

        return segment(image, phrase, **{"index": self.index} | options)
