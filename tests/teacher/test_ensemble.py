"""Mixtures, products and cross-fitted teachers against enumeration."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from structkd.corpus import Sentence
from structkd.errors import DataError, UsageError
from structkd.knowledge import Knowledge, Question, Targets, collate, inconsistency, only_possible
from structkd.labels import LabelMap, LabelSet
from structkd.tagger import create
from structkd.teacher import Chain, CrossFittedTeacher, Member, Source, Teacher, TeacherEnsemble, assign_folds
from structkd.teacher.ensemble import extract_chains
from tests.oracles.brute_force import BruteForceCRF

C = 3
SENTENCES = [Sentence(tuple("abc"[:n]), None, "aa", str(n)) for n in (3, 1, 2)]


class Known:
    """A source with random potentials for each sentence."""

    def __init__(self, seed: int, forbid: int | None = None) -> None:
        self.seed, self.forbid = seed, forbid
        self.asked: list[str] = []

    def chains(self, sentences: Sequence[Sentence]) -> list[Chain]:
        found = []
        for sentence in sentences:
            self.asked.append(sentence.id)
            generator = torch.Generator().manual_seed(self.seed * 100 + len(sentence))
            shapes = ((len(sentence), C), (C, C), (C,), (C,))
            chain = Chain(*(torch.randn(*shape, generator=generator).double() for shape in shapes))
            if self.forbid is not None:
                chain.emissions[:, self.forbid] = -torch.inf
            found.append(chain)
        return found

    def knowledge(self, sentences: Sequence[Sentence], asked: Question, *, progress: object = None) -> list[Knowledge]:
        return extract_chains(self.chains(sentences), asked)


class Annotated:
    """A source that knows which tags are possible, for one sentence only in part."""

    def __init__(self, *allowed: np.ndarray) -> None:
        self.allowed = allowed

    def chains(self, sentences: Sequence[Sentence]) -> list[Chain]:
        zeros = torch.zeros(C).double()
        emissions = [torch.from_numpy(item).double().log() for item in self.allowed]
        return [Chain(emission, torch.outer(zeros, zeros), zeros, zeros) for emission in emissions]

    def knowledge(self, sentences: Sequence[Sentence], asked: Question, *, progress: object = None) -> list[Knowledge]:
        return [only_possible(item) for item in self.allowed]


def ensemble(*members: Member, combine: str = "mixture") -> TeacherEnsemble:
    return TeacherEnsemble({"aa": members}, combine=combine)


def oracle(chain: Chain, temperature: float = 1.0) -> BruteForceCRF:
    return BruteForceCRF(*(part / temperature for part in (chain.emissions[None], *chain[1:])))


def taggings(chain: Chain, temperature: float = 1.0) -> dict[tuple[int, ...], float]:
    (paths,), (p,) = oracle(chain, temperature)._paths, oracle(chain, temperature)._probabilities()
    return {tuple(path): mass for path, mass in zip(paths.tolist(), p.tolist(), strict=True)}


def expectations(distribution: dict[tuple[int, ...], float]) -> tuple[np.ndarray, np.ndarray]:
    n = len(next(iter(distribution)))
    marginals, counts = np.zeros((n, C)), np.zeros((C, C))
    for path, mass in distribution.items():
        marginals[range(n), path] += mass
        for a, b in itertools.pairwise(path):
            counts[a, b] += mass
    return marginals, counts


def assert_equals(item: Knowledge, distribution: dict[tuple[int, ...], float]) -> None:
    marginals, counts = expectations(distribution)
    np.testing.assert_allclose(np.exp(item.log_marginals), marginals, atol=1e-6)
    np.testing.assert_allclose(item.transition_counts, counts, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_a_mixture_averages_distributions(temperature: float) -> None:
    one, other = Known(1), Known(2, forbid=1)
    found = ensemble(Member(one, 3.0), Member(other, 1.0)).knowledge(SENTENCES, Question(100, temperature=temperature))
    for item, a, b in zip(found, one.chains(SENTENCES), other.chains(SENTENCES), strict=True):
        p, q = taggings(a, temperature), taggings(b, temperature)
        mixed = {path: 0.75 * p[path] + 0.25 * q[path] for path in p}
        assert_equals(item, mixed)
        listed = {tuple(path): np.exp(score) for path, score in zip(item.paths.tolist(), item.scores, strict=True)}
        assert listed == pytest.approx(mixed, abs=1e-6)  # all taggings are in the lists, so the union is exact
        entropies = oracle(a, temperature).entropy, oracle(b, temperature).entropy
        assert item.entropy == pytest.approx(float(0.75 * entropies[0] + 0.25 * entropies[1]), abs=1e-5)
    batch = collate(list(found), 3, C)
    lengths = torch.tensor([3, 1, 2])
    assert inconsistency(Targets(batch.marginals, batch.transition_counts), lengths).max() < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_a_product_multiplies_distributions(temperature: float) -> None:
    one, other = Known(1), Known(2, forbid=1)
    team = ensemble(Member(one, 3.0), Member(other, 1.0), combine="product")
    for item, a, b in zip(
        team.knowledge(SENTENCES, Question(4, temperature=temperature)),
        one.chains(SENTENCES),
        other.chains(SENTENCES),
        strict=True,
    ):
        p, q = taggings(a, temperature), taggings(b, temperature)
        product = {path: p[path] ** 0.75 * q[path] ** 0.25 for path in p}
        total = sum(product.values())
        product = {path: mass / total for path, mass in product.items()}
        assert_equals(item, product)
        best = sorted((path for path in product if product[path] > 0), key=lambda path: -product[path])[:4]
        assert [tuple(path) for path in item.paths.tolist()] == best
        assert item.entropy == pytest.approx(-sum(m * np.log(m) for m in product.values() if m > 0), abs=1e-5)


def test_a_short_list_of_a_mixture_holds_the_best_of_the_lists() -> None:
    found = ensemble(Member(Known(1)), Member(Known(2))).knowledge(SENTENCES, Question(2))
    assert [len(item.paths) for item in found] == [2, 2, 2]
    assert all((np.diff(item.scores) <= 0).all() for item in found)
    assert all(len({tuple(path) for path in item.paths.tolist()}) == 2 for item in found)


def test_one_teacher_is_asked_as_it_is() -> None:
    found = ensemble(Member(Known(1), 0.2)).knowledge(SENTENCES, Question(3))
    for item, alone in zip(found, Known(1).knowledge(SENTENCES, Question(3)), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(item, alone, strict=True))


def test_each_sentence_goes_to_the_teachers_of_its_language() -> None:
    sentences = [Sentence(("x",) * (1 + i % 3), None, "ab"[i % 2] * 2, str(i)) for i in range(5)]
    one, other = Known(1), Known(2)
    done: list[tuple[int, int]] = []
    team = TeacherEnsemble({"aa": [Member(one)], "bb": [Member(other), Member(one)]})
    found = team.knowledge(sentences, Question(1), progress=lambda *state: done.append(state))
    assert one.asked == ["0", "2", "4", "1", "3"]
    assert other.asked == ["1", "3"]
    assert [len(item.log_marginals) for item in found] == [1, 2, 3, 1, 2]
    with pytest.raises(DataError, match=r"no teacher for cc \(first sentence 9\)"):
        team.knowledge([Sentence(("x",), None, "cc", "9")], Question(1))


def test_teachers_of_other_orders_multiply_by_name() -> None:
    """Lifted and permuted potentials meet in the student's tags: the product with itself changes nothing."""
    student = LabelSet.for_entities(["P", "L"], "BIOES")
    torch.manual_seed(0)
    encoder = {"type": "recurrent", "ngram_buckets": 64, "ngram_dim": 6, "hidden": 5, "dropout": 0.0}
    own = LabelSet.for_entities(["L", "P"], "IOB2")
    teacher = Teacher(create(encoder, own), LabelMap.between(own, student))
    alone = teacher.knowledge(SENTENCES, Question(3))
    team = ensemble(Member(teacher, 2.0), Member(teacher), combine="product").knowledge(SENTENCES, Question(3))
    for item, expected in zip(team, alone, strict=True):
        np.testing.assert_allclose(np.exp(item.log_marginals), np.exp(expected.log_marginals), atol=1e-6)
        np.testing.assert_allclose(item.transition_counts, expected.transition_counts, atol=1e-5)
        np.testing.assert_array_equal(item.paths, expected.paths)


def test_merged_tags_have_no_potentials_to_multiply() -> None:
    own, student = LabelSet.for_entities(["P"], "BIOES"), LabelSet.for_entities(["P"])
    encoder = {"type": "recurrent", "ngram_buckets": 64, "ngram_dim": 6, "hidden": 5, "dropout": 0.0}
    teacher = Teacher(create(encoder, own), LabelMap.between(own, student), name="teacher x")
    with pytest.raises(DataError, match="teacher x: several of its tags become one"):
        ensemble(Member(teacher), Member(teacher), combine="product").knowledge(SENTENCES, Question(1))


def test_tags_known_in_part_condition_a_product_and_are_refused_in_a_mixture() -> None:
    allowed = [np.ones((n, C), dtype=bool) for n in (3, 1, 2)]
    allowed[0][1] = [False, False, True]
    teacher = Known(1)
    members = (Member(teacher), Member(Annotated(*allowed)))
    item = ensemble(*members, combine="product").knowledge(SENTENCES, Question(1))[0]
    (chain,) = teacher.chains(SENTENCES[:1])
    given = {path: mass**0.5 * (path[1] == 2) for path, mass in taggings(chain).items()}
    assert_equals(item, {path: mass / sum(given.values()) for path, mass in given.items()})
    with pytest.raises(DataError, match=r"aa:3 is tagged in part.*combine: product"):
        ensemble(*members).knowledge(SENTENCES, Question(1))


def test_whoever_knows_nothing_about_a_sentence_has_no_part_in_its_mixture() -> None:
    silent = Annotated(*(np.ones((n, C), dtype=bool) for n in (3, 1, 2)))
    found = ensemble(Member(Known(1)), Member(silent, 9.0)).knowledge(SENTENCES, Question(2))
    for item, alone in zip(found, Known(1).knowledge(SENTENCES, Question(2)), strict=True):
        np.testing.assert_allclose(item.log_marginals, alone.log_marginals, atol=1e-6)


def test_teachers_that_forbid_everything_together_are_refused() -> None:
    other = Annotated(*(np.eye(C, dtype=bool)[[1] * n] for n in (3, 1, 2)))
    with pytest.raises(DataError, match="aa:3"):
        ensemble(Member(Known(1, forbid=1)), Member(other), combine="product").knowledge(SENTENCES, Question(1))


@pytest.mark.parametrize(("weights", "combine"), [([0.0, 1.0], "mixture"), ([1.0], "sum"), ([], "mixture")])
def test_an_ensemble_that_means_nothing_is_refused(weights: list[float], combine: str) -> None:
    with pytest.raises(UsageError):
        ensemble(*(Member(Known(1), weight) for weight in weights), combine=combine)


def test_folds_are_as_large_as_each_other_and_keep_repeated_sentences_together() -> None:
    gold = [Sentence((word,), ("X",), "aa", str(i)) for i, word in enumerate("abcdabcdefg")]
    folds = assign_folds(gold, 3)
    assert sorted(folds.values()) == [0, 0, 0, 1, 1, 2, 2]
    with pytest.raises(UsageError, match="7 different sentences cannot make 8 folds"):
        assign_folds(gold, 8)


def test_a_cross_fitted_teacher_asks_who_did_not_see_the_sentence() -> None:
    gold = [Sentence((word,), ("X",), "aa", word) for word in "abcde"]
    other = Sentence(("z",), None, "aa", "z")
    again = Sentence(("b",), None, "aa", "b, untagged")
    whole, folds = Known(0), [Known(1), Known(2)]
    source: Source = CrossFittedTeacher(whole, folds, assign_folds(gold, 2))
    found = source.knowledge([*gold, other, again], Question(1))
    assert len(found) == 7
    assert folds[0].asked == ["a", "c", "e"]
    assert folds[1].asked == ["b", "d", "b, untagged"]
    assert whole.asked == ["z"]
    chains = source.chains([other, gold[1]])
    assert torch.equal(chains[0].emissions, whole.chains([other])[0].emissions)
    assert torch.equal(chains[1].emissions, folds[1].chains([gold[1]])[0].emissions)
