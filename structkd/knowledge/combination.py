"""Knowledge made of other knowledge: tags merged, teachers mixed, and sentences of which only some tags are known.

Expectations of merged tags and of mixtures are exact. Their k-best lists are not: the k best taggings of the result
need not be among the k best of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from structkd.knowledge.extraction import Knowledge


def weighted_paths(paths: Sequence[Sequence[int]], weights: Sequence[float], num_tags: int) -> Knowledge:
    """The distribution that gives each listed tagging its share of the weights, and nothing to any other.

    Args:
        paths: taggings of one sentence, each once.
        weights: above 0; normalised here.
    """
    share = np.asarray(weights, dtype=np.float64)
    share = share / share.sum()
    order = np.argsort(-share, kind="stable")
    tags = np.asarray(paths, dtype=np.int64)[order]
    share = share[order]
    marginals = np.zeros((tags.shape[1], num_tags))
    counts = np.zeros((num_tags, num_tags))
    for path, weight in zip(tags, share, strict=True):
        marginals[np.arange(len(path)), path] += weight
        np.add.at(counts, (path[:-1], path[1:]), weight)
    entropy = float(-(share * np.log(share)).sum())
    return Knowledge(_log(marginals), counts.astype(np.float32), entropy, tags, np.log(share).astype(np.float32))


def merge_tags(knowledge: Knowledge, targets: Sequence[int], num_tags: int, *, entropy_is_known: bool) -> Knowledge:
    """Knowledge over F fine tags as knowledge over the C tags that they stand for.

    Expectations add up: E @ M and M^T N M, exactly. Taggings of the k-best list that become equal add their weights,
    an approximation, because taggings beyond the list may merge too.

    Args:
        targets: [F] the tag of each fine tag; M is its matrix of ones.
        entropy_is_known: whether different taggings stay different, so that the entropy stays what it is. Otherwise it
            becomes NaN: of merged tags only the cross-entropy can be told, not the KL.
    """
    matrix = np.zeros((len(targets), num_tags))
    matrix[np.arange(len(targets)), targets] = 1.0
    marginals = np.exp(knowledge.log_marginals.astype(np.float64)) @ matrix
    counts = matrix.T @ knowledge.transition_counts.astype(np.float64) @ matrix
    paths, scores = _unique(np.asarray(targets, dtype=np.int64)[knowledge.paths], knowledge.scores)
    entropy = knowledge.entropy if entropy_is_known else float("nan")
    emissions = transitions = None
    if len(set(targets)) == len(targets):  # potentials can be moved, not merged
        emissions, transitions = _moved(knowledge, targets, num_tags)
    return Knowledge(_log(marginals), counts.astype(np.float32), entropy, paths, scores, emissions, transitions)


def _moved(knowledge: Knowledge, targets: Sequence[int], num_tags: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Emissions and transitions, where there are some, in the columns of the tags that fine tags stand for."""
    ids, emissions, transitions = np.asarray(targets), None, None
    if knowledge.emissions is not None:
        emissions = np.full((len(knowledge.emissions), num_tags), -np.inf, dtype=np.float32)
        emissions[:, ids] = knowledge.emissions
    if knowledge.transitions is not None:
        transitions = np.full((num_tags + 2, num_tags), -np.inf, dtype=np.float32)
        rows = np.concatenate((ids, [num_tags, num_tags + 1]))
        transitions[np.ix_(rows, ids)] = knowledge.transitions
    return emissions, transitions


def mixture(parts: Sequence[Knowledge], weights: Sequence[float], k: int) -> Knowledge:
    """Knowledge of several teachers about one sentence, mixed: sum_m w_m p_m.

    Expectations are averaged, exactly. The k-best list is the union of the lists with weights w_m p_m, each list
    renormalised; an approximation. The entropy of a mixture is not tractable: kept is sum_m w_m H(p_m), so that the
    cross-entropy minus it is sum_m w_m KL(p_m || student).

    Args:
        weights: above 0; normalised here.
        k: length of the list.
    """
    share = np.asarray(weights, dtype=np.float64)
    share = share / share.sum()
    pairs = list(zip(parts, share, strict=True))
    marginals = sum(weight * np.exp(part.log_marginals.astype(np.float64)) for part, weight in pairs)
    counts = sum(weight * part.transition_counts.astype(np.float64) for part, weight in pairs)
    entropy = float(sum(weight * part.entropy for part, weight in pairs))
    scores = np.concatenate([part.scores - _log_sum(part.scores) + np.log(weight) for part, weight in pairs])
    paths, scores = _unique(np.concatenate([part.paths for part in parts]), scores)
    return Knowledge(_log(marginals), np.asarray(counts, dtype=np.float32), entropy, paths[:k], scores[:k])


def only_possible(allowed: np.ndarray) -> Knowledge:
    """What is known where tags are known in part: which tags each word may have, and nothing about their shares.

    It is no distribution and serves no objective: a student maximises the probability of all taggings that agree.

    Args:
        allowed: [n, C] bool; all True where nothing is known about a word.
    """
    n, num_tags = allowed.shape
    return Knowledge(
        np.where(allowed, 0.0, -np.inf).astype(np.float32),
        np.zeros((num_tags, num_tags), dtype=np.float32),
        float("nan"),
        np.zeros((0, n), dtype=np.int64),
        np.zeros(0, dtype=np.float32),
    )


def allowed_tags(knowledge: Knowledge) -> np.ndarray | None:
    """The tags [n, C] that are possible, where that is all that is known; None where there is a distribution."""
    # Marginals sum to 1; possible tags count as 1 each, and there is at least one word with two of them.
    possible = np.isfinite(knowledge.log_marginals)
    only = bool((knowledge.log_marginals[possible] == 0).all()) and int(possible.sum()) > len(possible)
    return possible if only else None


def _unique(paths: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each path once, best first; equal ones add their weights exp(score)."""
    if not len(paths):
        return paths, scores
    found, inverse = np.unique(paths, axis=0, return_inverse=True)
    totals = np.full(len(found), -np.inf)
    np.logaddexp.at(totals, inverse.reshape(-1), scores.astype(np.float64))
    order = np.argsort(-totals, kind="stable")
    return found[order], totals[order].astype(np.float32)


def _log_sum(scores: np.ndarray) -> float:
    return float(np.logaddexp.reduce(scores.astype(np.float64))) if len(scores) else 0.0


def _log(values: np.ndarray | float) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(values, dtype=np.float64)).astype(np.float32)
