"""A teacher: a trained tagger that answers for a student's label set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from structkd.errors import DataError
from structkd.knowledge import Knowledge, extract
from structkd.labels import LabelSet, legal_transitions
from structkd.tagger import Tagger, distributions, load


class Teacher:
    """A tagger and the labels of the student that it teaches.

    Raises:
        DataError: the tagger's labels are not the student's, in the same order; nothing is matched by index silently.
    """

    def __init__(self, tagger: Tagger, labels: LabelSet, *, name: str = "teacher") -> None:
        if tagger.labels.tags != labels.tags:
            raise DataError(
                f"{name} has the labels {', '.join(tagger.labels.tags)}; the student has {', '.join(labels.tags)}: "
                "expected the same labels in the same order"
            )
        self.tagger = tagger
        self.legal = legal_transitions(labels)

    @classmethod
    def load(cls, directory: Path, labels: LabelSet, *, device: str = "cpu") -> Teacher:
        """A teacher from the folder of a tagger."""
        tagger = load(directory)
        tagger.to(device)
        return cls(tagger, labels, name=str(directory))

    def knowledge(
        self,
        sentences: Sequence[Sequence[str]],
        *,
        k: int,
        temperature: float = 1.0,
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Knowledge]:
        """What the teacher knows about each sentence, in their order.

        Args:
            k: length of the k-best lists.
            temperature: global temperature, in the potentials.
        """
        found: dict[int, Knowledge] = {}
        for indices, distribution in distributions(self.tagger, sentences, batch_size=batch_size, progress=progress):
            if self.legal is not None:
                # What the student cannot express is forbidden before forward-backward, not renormalised after it.
                distribution = distribution.condition(self.legal)
            found.update(zip(indices, extract(distribution, k=k, temperature=temperature), strict=True))
        return [found[i] for i in range(len(sentences))]
