from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from structkd.crf import LinearChainCRF
from structkd.errors import DataError, IntegrityError
from structkd.knowledge import (
    Knowledge,
    KnowledgeStore,
    KnowledgeWriter,
    Question,
    StoreFacts,
    collate,
    extract,
    merge_tags,
    store_faults,
)

FACTS = StoreFacts(teacher="t", corpus="c", labels=["A", "B", "C"], temperature=1.0, k=4, dtype="float32", sentences=4)


def knowledge(seed: int = 0, parts: Sequence[str] = ()) -> list[Knowledge]:
    generator = torch.Generator().manual_seed(seed)
    chain = LinearChainCRF(
        torch.randn(4, 5, 3, generator=generator),
        torch.randn(3, 3, generator=generator),
        torch.randn(3, generator=generator),
        torch.randn(3, generator=generator),
        lengths=torch.tensor([5, 1, 3, 2]),
    )
    return extract(chain, Question(4, parts=parts))


def rows(items: list[Knowledge]) -> list[tuple[str, str, Knowledge]]:
    return [(f"s{i}", f"f{i}", item) for i, item in enumerate(items)]


def write(directory: Path, facts: StoreFacts = FACTS) -> list[Knowledge]:
    items = knowledge(parts=facts.parts)
    writer = KnowledgeWriter(directory, facts, shard_sentences=3)
    for wanted in writer.todo:
        writer.write_shard(wanted.start, rows(items)[wanted.start : wanted.stop], seconds=0.25)
    writer.finish()
    return items


def test_a_float32_store_gives_back_exactly_what_was_written(tmp_path: Path) -> None:
    items = write(tmp_path)
    store = KnowledgeStore(tmp_path)
    assert len(store) == 4
    for found, wanted in zip(store, items, strict=True):
        for a, b in zip(found[:5], wanted[:5], strict=True):
            np.testing.assert_array_equal(a, np.asarray(b, dtype=np.float32))
        assert found.emissions is found.transitions is None
    assert list(store.keys()) == [(f"s{i}", f"f{i}") for i in range(4)]


def test_a_float16_store_is_close_and_half_as_large(tmp_path: Path) -> None:
    items = write(tmp_path / "a", replace(FACTS, dtype="float16"))
    store = KnowledgeStore(tmp_path / "a")
    np.testing.assert_allclose(np.exp(store[0].log_marginals), np.exp(items[0].log_marginals), atol=2e-3)
    assert store[0].log_marginals.dtype == np.float16
    # Scores are weights of paths and stay float32.
    np.testing.assert_array_equal(store[2].scores, items[2].scores)


def test_one_word_sentences_have_fewer_paths_than_k(tmp_path: Path) -> None:
    write(tmp_path)
    found = KnowledgeStore(tmp_path)[1]
    assert found.paths.shape == (3, 1)
    assert sorted(found.paths[:, 0].tolist()) == [0, 1, 2]


def test_emissions_and_transitions_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    items = write(tmp_path, replace(FACTS, parts=["emissions", "transitions"]))
    for found, wanted in zip(KnowledgeStore(tmp_path), items, strict=True):
        assert found.emissions is not None
        assert found.transitions is not None
        np.testing.assert_array_equal(found.emissions, wanted.emissions)
        np.testing.assert_array_equal(found.transitions, wanted.transitions)
    batch = collate([items[0], None], 6, 3)
    assert batch.emissions is not None
    assert batch.transitions is not None
    assert batch.emissions[0, 5].isneginf().all()
    assert batch.emissions[1].isneginf().all()
    assert batch.transitions.shape == (2, 5, 3)


def test_a_part_that_a_teacher_cannot_give_is_refused_with_the_sentence(tmp_path: Path) -> None:
    writer = KnowledgeWriter(tmp_path, replace(FACTS, parts=["emissions"]))
    with pytest.raises(DataError, match=r"sentence s0: there are no emissions .* need a single teacher"):
        writer.write_shard(0, rows(knowledge()))
    assert not list(tmp_path.iterdir())


def test_tags_that_are_only_renamed_keep_their_scores() -> None:
    (item, *_) = knowledge(parts=["emissions", "transitions"])
    moved = merge_tags(item, [2, 0, 3], 4, entropy_is_known=True)
    assert item.emissions is not None
    assert item.transitions is not None
    assert moved.emissions is not None
    assert moved.transitions is not None
    np.testing.assert_array_equal(moved.emissions[:, [2, 0, 3]], item.emissions)
    assert np.isneginf(moved.emissions[:, 1]).all()
    for old, new in ((0, 2), (1, 0), (2, 3), (3, 4), (4, 5)):  # the last two rows are start and end
        np.testing.assert_array_equal(moved.transitions[new, [2, 0, 3]], item.transitions[old])
    assert merge_tags(item, [0, 0, 1], 2, entropy_is_known=False).emissions is None


def test_a_cut_off_store_goes_on_with_the_shards_that_are_missing(tmp_path: Path) -> None:
    items = knowledge()
    KnowledgeWriter(tmp_path, FACTS, shard_sentences=3).write_shard(0, rows(items)[:3])
    with pytest.raises(IntegrityError, match="incomplete: 3 of 4 sentences"):
        KnowledgeStore(tmp_path)
    writer = KnowledgeWriter(tmp_path, FACTS)
    assert writer.todo == [range(3, 4)]
    writer.write_shard(3, rows(items)[3:])
    writer.finish()
    np.testing.assert_array_equal(KnowledgeStore(tmp_path)[3].paths, items[3].paths)


def test_every_damaged_shard_is_refused_by_name_and_only_those_are_redone(tmp_path: Path) -> None:
    facts = replace(FACTS, sentences=12)
    items = [item for _ in range(3) for item in knowledge()]
    writer = KnowledgeWriter(tmp_path, facts, shard_sentences=3)
    for wanted in writer.todo:
        writer.write_shard(wanted.start, rows(items)[wanted.start : wanted.stop])
    writer.finish()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.arrow")}
    assert len(before) == 4
    damaged = bytearray(before["shard-00001.arrow"])
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "shard-00001.arrow").write_bytes(bytes(damaged))
    (tmp_path / "shard-00002.arrow").unlink()
    with pytest.raises(IntegrityError, match=r"shard-00001\.arrow does not match.*shard-00002\.arrow is missing"):
        KnowledgeStore(tmp_path)
    assert len(store_faults(tmp_path)) == 2
    assert len(store_faults(tmp_path, hashes=False)) == 1
    writer = KnowledgeWriter(tmp_path, facts)
    assert writer.todo == [range(3, 6), range(6, 9)]
    for wanted in writer.todo:
        writer.write_shard(wanted.start, rows(items)[wanted.start : wanted.stop])
    writer.finish()
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.arrow")}
    assert store_faults(tmp_path) == []


def test_a_store_whose_manifest_is_damaged_is_written_again_from_the_start(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"manifest\.json: damaged"):
        KnowledgeStore(tmp_path)
    assert KnowledgeWriter(tmp_path, FACTS, shard_sentences=3).todo == [range(0, 3), range(3, 4)]


def test_a_store_says_what_it_holds_and_how_long_the_teacher_took(tmp_path: Path) -> None:
    write(tmp_path)
    store = KnowledgeStore(tmp_path)
    assert store.words == 11
    assert store.bytes == sum(path.stat().st_size for path in tmp_path.glob("*.arrow"))
    assert store.seconds == 0.5


def test_a_million_tokens_take_less_than_80_megabytes(tmp_path: Path) -> None:
    generator, tags, words = torch.Generator().manual_seed(0), 17, 20
    chain = LinearChainCRF(
        4 * torch.randn(256, words, tags, generator=generator),
        torch.randn(tags, tags, generator=generator),
        torch.randn(tags, generator=generator),
        torch.randn(tags, generator=generator),
    )
    facts = StoreFacts("t", "c", [str(tag) for tag in range(tags)], 1.0, 5, "float16", 512)
    writer = KnowledgeWriter(tmp_path, facts, shard_sentences=256)
    items = extract(chain, Question(5))
    # Names as long as those of treebanks, and fingerprints of 16 digits.
    named = [(f"weblog-blogspot.com_example_20040000_{i:04d}", f"{i:016x}", item) for i, item in enumerate(items)]

    def written() -> int:
        return sum(path.stat().st_size for path in tmp_path.iterdir())

    writer.write_shard(0, named)
    once = written()
    writer.write_shard(256, named)
    # What a sentence adds; the frame of a file of 2048 sentences is next to nothing.
    assert (written() - once) / 256 * 1_000_000 / words < 80e6


def test_unknown_entropy_stays_unknown(tmp_path: Path) -> None:
    items = [item._replace(entropy=float("nan")) for item in knowledge()]
    writer = KnowledgeWriter(tmp_path, FACTS)
    writer.write_shard(0, rows(items))
    writer.finish()
    assert np.isnan(KnowledgeStore(tmp_path)[0].entropy)


def test_a_cut_shard_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "shard-00000.arrow"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=r"shard-00000\.arrow has \d+ bytes instead"):
        KnowledgeStore(tmp_path)


def test_knowledge_of_another_teacher_is_not_mixed_in(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(IntegrityError, match="another teacher or corpus"):
        KnowledgeWriter(tmp_path, replace(FACTS, teacher="other"))


def test_knowledge_about_other_sentences_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    store = KnowledgeStore(tmp_path)
    store.check_sentences((f"s{i}", f"f{i}") for i in range(4))
    with pytest.raises(IntegrityError, match="row 2 is about sentence 's2'"):
        store.check_sentences((f"s{i}", "x" if i == 2 else f"f{i}") for i in range(4))


def test_an_unfinished_store_cannot_be_called_complete(tmp_path: Path) -> None:
    writer = KnowledgeWriter(tmp_path, FACTS)
    writer.write_shard(0, rows(knowledge())[:3])
    with pytest.raises(IntegrityError, match="3 of 4"):
        writer.finish()


def test_a_batch_has_empty_rows_for_sentences_without_knowledge() -> None:
    items = knowledge()
    batch = collate([items[0], None, items[1]], 6, 3)
    assert batch.known.tolist() == [True, False, True]
    assert batch.marginals.shape == (3, 6, 3)
    torch.testing.assert_close(batch.marginals[0, :5].sum(-1), torch.ones(5))
    assert batch.marginals[1].abs().sum() == 0
    assert (batch.paths[1] == -1).all()
    assert batch.scores[2, 3] == -torch.inf
