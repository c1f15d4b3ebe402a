"""The errors a user can meet. Each carries the exit status that the command line returns."""

from __future__ import annotations


class StructKDError(Exception):
    """Base of all errors with a message made for the user."""

    exit_code = 1


class UsageError(StructKDError):
    """A command was called with arguments that do not fit together."""

    exit_code = 2


class RecipeError(StructKDError, ValueError):
    """A recipe or teacher card is not valid; the message lists every fault with its path."""

    exit_code = 2


class DataError(StructKDError, ValueError):
    """A corpus, a tag or an annotation is not what was expected; the message names file and line."""

    exit_code = 3


class IntegrityError(StructKDError):
    """Something on disk is damaged, stale or in use; the message names it and what to do."""

    exit_code = 4
