"""A finished student is a teacher like any other: of a second round, on text of languages that nobody taught it."""

from __future__ import annotations

from pathlib import Path

import pytest

from structkd.knowledge import KnowledgeStore
from structkd.recipe import dump_recipe, load_variants, parse_recipe, parse_variation
from structkd.stages import RunDirectory, make_plan, plan_sweep, run
from structkd.tagger import load
from tests.stages.toy import toy_recipe, write_corpora


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run directory, and the recipe of a second round that learns from its student."""
    root = tmp_path_factory.mktemp("corpora")
    write_corpora(root)
    first = dump_recipe(toy_recipe(root))
    directory = run(parse_recipe(first, "toy", ["seeds=[1]", "controls=[]"]), root / "runs", until="distill")
    own = toy_recipe(root)
    cards = [card.model_dump(mode="json") for card in own.teachers]
    model = directory.model("models/structural/seed-1")
    overrides = [
        f"teachers={[*cards, {'name': 'first', 'language': 'mul', 'task': 'pos', 'model': str(model)}]}".replace(
            "None", "null"
        ),
        "unlabeled={cc: {path: cc.train.jsonl, teachers: [first]}}",
        "student.transitions=per_language",
    ]
    return directory.path, dump_recipe(
        parse_recipe(first, "toy", [text.replace("False", "false") for text in overrides])
    )


def test_a_student_teaches_text_of_an_unseen_language(second: tuple[Path, str], tmp_path: Path) -> None:
    chosen = parse_recipe(second[1], "second", ["seeds=[1]", "controls=[]"])
    made = run(chosen, tmp_path, until="distill")
    plan = make_plan(chosen)
    stores = {job.text: job for job in plan.extract}
    text = plan.corpora.texts["cc-unlabeled"]
    assert len(text.untagged) == 80
    assert text.teachers == ("first",)
    assert len(KnowledgeStore(made.knowledge(stores["cc-unlabeled"].key))) == 80
    assert load(made.model("models/structural/seed-1")).model.config.languages == ["aa", "bb", "cc"]
    assert {job.model for job in plan.teach} == {"teachers/toy/aa", "teachers/toy/bb"}, (
        "the student is not trained again"
    )


def test_what_is_not_trained_here_labels_once_for_all_teacher_seeds(second: tuple[Path, str], tmp_path: Path) -> None:
    path = tmp_path / "second.yaml"
    path.write_text(second[1], encoding="utf-8")
    (variant,) = load_variants(path, [parse_variation("teacher_seeds=varied")])
    plan = plan_sweep([variant], RunDirectory(tmp_path))
    texts = [job.job.text for job in plan.jobs["extract"]]
    assert sorted(texts) == ["aa", "aa", "bb", "bb", "cc-unlabeled", "mul"]
    for job in plan.jobs["distill"]:
        if job.job.role == "student":
            assert [name for name, _ in job.job.stores] == ["aa", "bb", "mul", "cc-unlabeled"]


def test_a_student_can_start_from_a_model_of_another_run(second: tuple[Path, str], tmp_path: Path) -> None:
    overrides = ["seeds=[1]", "controls=[]", "student.initialize_from=first", "student.training.learning_rate=1e-9"]
    made = run(parse_recipe(second[1], "second", overrides), tmp_path, until="distill")
    first = load(second[0] / "models/structural/seed-1").model.encoder.state_dict()
    own = load(made.model("models/structural/seed-1")).model.encoder.state_dict()
    assert max(float((own[name] - first[name]).abs().max()) for name in first) < 1e-5
