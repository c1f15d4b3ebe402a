"""The embedded sample: small corpora of real words, made by hand-written grammars. It shows the pipeline, no more."""

from __future__ import annotations

from structkd.corpus.sample.generate import LANGUAGES, TASKS, UNSEEN_LANGUAGES, sentences, split_sizes
from structkd.corpus.sentence import Sentence
from structkd.errors import UsageError

__all__ = ["LANGUAGES", "TASKS", "UNSEEN_LANGUAGES", "read_sample", "sentences", "split_sizes"]


def read_sample(split: str, language: str, task: str | int | None) -> list[Sentence]:
    """Sentences of the sample as `structkd.corpus.read` asks for them.

    Args:
        split: "train", "dev", "test" or "untagged".
        language: a language of the sample.
        task: "upos" (the default, None), "ner", or "none" for unlabelled text.
    """
    if isinstance(task, int):
        raise UsageError(
            f"tag_column {task} is a number; the sample needs the name of a task: {', '.join(TASKS)}, none"
        )
    if task == "none":
        return [sentence.without_tags() for sentence in sentences(language, split)]
    return sentences(language, split, task or "upos")
