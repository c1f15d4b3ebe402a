from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from structkd.crf import LinearChainCRF
from structkd.errors import IntegrityError
from structkd.knowledge import Knowledge, KnowledgeStore, KnowledgeWriter, StoreFacts, collate, extract

FACTS = StoreFacts(teacher="t", corpus="c", labels=["A", "B", "C"], temperature=1.0, k=4, dtype="float32", sentences=4)


def knowledge(seed: int = 0) -> list[Knowledge]:
    generator = torch.Generator().manual_seed(seed)
    chain = LinearChainCRF(
        torch.randn(4, 5, 3, generator=generator),
        torch.randn(3, 3, generator=generator),
        torch.randn(3, generator=generator),
        torch.randn(3, generator=generator),
        lengths=torch.tensor([5, 1, 3, 2]),
    )
    return extract(chain, k=4)


def rows(items: list[Knowledge]) -> list[tuple[str, str, Knowledge]]:
    return [(f"s{i}", f"f{i}", item) for i, item in enumerate(items)]


def write(directory: Path, facts: StoreFacts = FACTS) -> list[Knowledge]:
    items = knowledge()
    writer = KnowledgeWriter(directory, facts)
    writer.write_shard(rows(items)[:3])
    writer.write_shard(rows(items)[3:])
    writer.finish()
    return items


def test_a_float32_store_gives_back_exactly_what_was_written(tmp_path: Path) -> None:
    items = write(tmp_path)
    store = KnowledgeStore(tmp_path)
    assert len(store) == 4
    for found, wanted in zip(store, items, strict=True):
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7)
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


def test_a_cut_off_store_goes_on_after_its_last_whole_shard(tmp_path: Path) -> None:
    items = knowledge()
    KnowledgeWriter(tmp_path, FACTS).write_shard(rows(items)[:3])
    with pytest.raises(IntegrityError, match="incomplete"):
        KnowledgeStore(tmp_path)
    writer = KnowledgeWriter(tmp_path, FACTS)
    assert writer.written == 3
    writer.write_shard(rows(items)[3:])
    writer.finish()
    np.testing.assert_array_equal(KnowledgeStore(tmp_path)[3].paths, items[3].paths)


def test_a_damaged_shard_is_refused_by_name_and_only_it_and_its_successors_are_redone(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "shard-00001.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=r"shard-00001\.arrow"):
        KnowledgeStore(tmp_path)
    assert KnowledgeWriter(tmp_path, FACTS).written == 3


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
    writer.write_shard(rows(knowledge())[:3])
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
