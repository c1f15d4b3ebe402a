"""Every kind of student that a recipe can ask for is trained, saved and scored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from structkd.errors import RecipeError
from structkd.recipe import Recipe, dump_recipe, parse_recipe
from structkd.stages import make_plan, run
from structkd.storage import read_json
from structkd.tagger import load
from tests.stages.toy import toy_recipe, write_corpora
from tests.tagger.tiny_models import tiny_bert


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("corpora")
    write_corpora(root)
    return dump_recipe(toy_recipe(root))


def recipe(base: str, *overrides: str) -> Recipe:
    return parse_recipe(base, "toy", ["seeds=[1]", "controls=[]", *overrides])


def test_a_frozen_pretrained_student_with_a_bilstm_goes_through_the_whole_job(base: str, tmp_path: Path) -> None:
    bert = tiny_bert(tmp_path / "bert")
    encoder = f"{{type: pretrained, model: {bert}, frozen: true, lstm_hidden: 6, layers: 1}}"
    made = run(
        recipe(
            base,
            f"student.encoder={encoder}",
            "student.training.batch_tokens=40",
            "student.training.crf_learning_rate=5.0",
        ),
        tmp_path / "runs",
    )
    student = load(made.model("models/structural/seed-1"))
    start = load_backbone(bert)
    kept = student.model.encoder.backbone.state_dict()
    assert all(torch.equal(kept[name], start[name]) for name in kept if not name.startswith("pooler"))
    assert len(student.model.encoder.backbone.encoder.layer) == 1
    assert student.model.crf.transitions.abs().max() > 3, "the CRF had its own, larger rate"
    languages = {row["language"] for row in read_json(made.scores) if row["method"] == "structural"}
    assert languages == {"aa", "bb", "cc"}


def load_backbone(folder: Path) -> dict[str, torch.Tensor]:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).state_dict()


def test_a_student_with_transitions_by_language_learns_them(base: str, tmp_path: Path) -> None:
    made = run(recipe(base, "student.transitions=per_language"), tmp_path, until="evaluate")
    student = load(made.model("models/structural/seed-1"))
    assert student.model.config.languages == ["aa", "bb"]
    assert student.model.crf.language_transitions.abs().max() > 0


def test_a_student_starts_as_the_first_layers_of_a_teacher(base: str, tmp_path: Path) -> None:
    chosen = recipe(
        base,
        "teachers.0.encoder.layers=2",
        "student.initialize_from=toy/aa",
        "student.training.epochs=1",
        "student.training.learning_rate=1e-9",
        "controls=[baseline]",
    )
    made = run(chosen, tmp_path, until="distill")
    teacher = load(made.model("teachers/toy/aa")).model.encoder.state_dict()
    for model in ("models/structural/seed-1", "models/baseline/seed-1"):
        student = load(made.model(model)).model.encoder.state_dict()
        assert len(student) < len(teacher)
        for name, value in student.items():
            torch.testing.assert_close(value, teacher[name], atol=1e-5, rtol=0)
    others = {job.key for job in make_plan(recipe(base, "controls=[baseline]")).distill}
    assert not others & {job.key for job in make_plan(chosen).distill}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["student.initialize_from=toy/zz"], r"student\.initialize_from: there is no teacher toy/zz.*toy/aa, toy/bb"),
        (["student.initialize_from=toy/aa", "student.encoder.hidden=9"], r"hidden 9, not 8 as teacher toy/aa"),
        (
            ["student.initialize_from=toy/aa", "student.encoder.layers=2"],
            r"has 1 layers, the student wants the first 2",
        ),
        (["student.transitions=per_language", "student.head=softmax"], "a softmax head has no transitions"),
        (["student.training.batch_size=null"], r"batch_size: missing; expected sentences in a micro-batch"),
    ],
)
def test_a_student_that_cannot_be_is_refused(base: str, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(base, *overrides)
