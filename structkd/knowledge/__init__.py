"""Knowledge of teachers: targets (E, N, k best), their extraction from distributions, and the store on disk."""

from structkd.knowledge.combination import (
    allowed_tags,
    merge_tags,
    mixture,
    only_possible,
    weighted_paths,
)
from structkd.knowledge.extraction import PARTS, Knowledge, KnowledgeBatch, Question, collate, extract
from structkd.knowledge.store import SHARD_SENTENCES, KnowledgeStore, KnowledgeWriter, StoreFacts, store_faults
from structkd.knowledge.targets import Targets, gold_targets, inconsistency, path_targets, reconcile

__all__ = [
    "PARTS",
    "SHARD_SENTENCES",
    "Knowledge",
    "KnowledgeBatch",
    "KnowledgeStore",
    "KnowledgeWriter",
    "Question",
    "StoreFacts",
    "Targets",
    "allowed_tags",
    "collate",
    "extract",
    "gold_targets",
    "inconsistency",
    "merge_tags",
    "mixture",
    "only_possible",
    "path_targets",
    "reconcile",
    "store_faults",
    "weighted_paths",
]
