"""Several teachers a card: same corpus, other seeds, one answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from structkd.knowledge import KnowledgeStore, Question
from structkd.recipe import Recipe
from structkd.stages import make_plan, run
from structkd.stages.labelling import make_labellers
from structkd.tagger import load_any
from structkd.teacher import Teacher
from tests.stages.toy import CARD, ENCODER, teacher_recipe, write_corpora

AA = CARD.format(language="aa", encoder=ENCODER)
NOTES = "- {name: toy/notes, language: aa, task: pos, annotations: notes.jsonl, weight: 0.5}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_corpora(tmp_path)
    return tmp_path


def sized(root: Path, size: int, more: str = "") -> Recipe:
    return teacher_recipe(root, AA, f"ensemble: {{size: {size}}}\n{more}")


def test_the_knowledge_is_that_of_the_mixture_of_a_cards_teachers(root: Path) -> None:
    recipe = sized(root, 2)
    directory, plan = run(recipe, root / "runs"), make_plan(recipe)
    assert [job.model for job in plan.teach] == ["teachers/toy/aa/seed-0", "teachers/toy/aa/seed-1000"]
    text = plan.corpora.texts["aa"]
    sentence, kept = text.untagged[0], KnowledgeStore(directory.knowledge(plan.extract[0].key))[len(text.gold)]
    single = []
    for job in plan.teach:
        teacher = Teacher(load_any(directory.model(job.model)), plan.corpora.maps["toy/aa"])
        single.append(np.exp(teacher.knowledge([sentence], Question(1))[0].log_marginals.astype(float)))
    assert np.abs(single[0] - single[1]).max() > 1e-3, "teachers of other seeds differ"
    np.testing.assert_allclose(np.exp(kept.log_marginals.astype(float)), np.mean(single, axis=0), atol=2e-3)
    rows = json.loads(directory.scores.read_text(encoding="utf-8"))
    own = [row for row in rows if row["language"] == "aa" and (row["metric"], row["label"]) == ("accuracy", "all")]
    assert {row["seed"] for row in own if row["role"] == "teacher"} == {0, 1000}
    assert {row["model"] for row in own if row["role"] == "ensemble"} == {"ensembles/aa"}


def test_teachers_of_one_card_share_its_weight(root: Path) -> None:
    (root / "notes.jsonl").write_text('{"words": ["ka"], "tags": ["N"]}\n', encoding="utf-8")
    recipe = teacher_recipe(root, AA + NOTES, "ensemble: {size: 3}")
    plan = make_plan(recipe)
    found = make_labellers(recipe, plan.corpora, plan.teach)
    assert [one.weight for one in found["toy/aa"]] == pytest.approx([1 / 3] * 3)
    assert [one.weight for one in found["toy/notes"]] == [0.5]


def test_varied_seeds_and_folds_train_so_many_more(root: Path) -> None:
    recipe = sized(root, 2, "folds: 2\nteacher_seeds: varied").model_copy(update={"seeds": (1, 2)})
    plan = make_plan(recipe)
    assert [(job.fold, job.seed) for job in plan.teach] == [
        (fold, seed) for fold in (None, 0, 1) for seed in (1, 1001, 2, 1002)
    ]
    assert len({job.key for job in plan.teach}) == len({job.model for job in plan.teach}) == 12
    assert [[len(one.trained) for one in job.labellers] for job in plan.extract] == [[3, 3], [3, 3]]
    assert [job.seed for job in plan.extract] == [1, 2]
    by_model = {job.model: job.seed for job in plan.evaluate if job.role in ("teacher", "ensemble")}
    assert by_model["teachers/toy/aa/seed-1001"] == 1001
    assert by_model["ensembles/aa/seed-2"] == 2


def test_one_teacher_a_card_keeps_its_folder_and_key(root: Path) -> None:
    (alone,) = make_plan(sized(root, 1)).teach
    assert alone.model == "teachers/toy/aa"
    assert alone.key == make_plan(sized(root, 2)).teach[0].key, "the first of several is the same teacher"
