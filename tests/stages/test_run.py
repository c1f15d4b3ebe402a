from __future__ import annotations

import json
from pathlib import Path

import pytest

from structkd.errors import DataError, IntegrityError
from structkd.knowledge import KnowledgeStore
from structkd.recipe import Recipe, load_recipe
from structkd.stages import RunDirectory, Silence, make_plan, run
from structkd.storage import lock
from tests.stages.toy import toy_recipe, write_corpora


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    root = tmp_path_factory.mktemp("corpora")
    write_corpora(root)
    return toy_recipe(root)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run(recipe, tmp_path_factory.mktemp("whole"))


def scores(directory: RunDirectory) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(directory.scores.read_text(encoding="utf-8"))
    return found


class Count(Silence):
    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.jobs: dict[str, int] = {}

    def stage(self, name: str, jobs: int, done: int) -> None:
        self.jobs[name], self.done[name] = jobs, done


class Interrupt(Silence):
    """Ctrl-C as soon as a job of a stage has reported so often."""

    def __init__(self, stage: str, reports: int) -> None:
        self.wanted, self.left = stage, reports
        self.current = ""

    def stage(self, name: str, jobs: int, done: int) -> None:
        self.current = name

    def progress(self, title: str, done: int, total: int, note: str) -> None:
        if self.current == self.wanted:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def test_a_run_writes_what_the_contract_names(whole: RunDirectory) -> None:
    for name in ("recipe.yaml", "environment.json", "scores.json", "report.html", "report.md"):
        assert (whole.path / name).is_file(), name
    for model in ("teachers/toy/aa", "models/structural/seed-2", "models/baseline-matched/seed-1"):
        assert (whole.model(model) / "model.safetensors").is_file(), model
    assert len(list((whole.path / "knowledge").iterdir())) == 2
    assert not any((whole.path / "checkpoints").iterdir())


def test_scores_have_one_row_a_number_for_every_model_and_language(whole: RunDirectory) -> None:
    rows = [row for row in scores(whole) if row["label"] == "all" and row["subset"] == "all"]
    found = {(row["method"], row["seed"], row["language"]) for row in rows}
    methods = ("structural", "pseudo-labels", "baseline", "baseline-matched")
    assert {(m, s, lang) for m in methods for s in (1, 2) for lang in ("aa", "bb", "cc")} <= found
    teachers = {(row["model"], row["language"]) for row in rows if row["role"] == "teacher"}
    assert teachers == {(f"teachers/toy/{own}", lang) for own in ("aa", "bb") for lang in (own, "cc")}
    assert {row["language"] for row in rows if not row["seen"]} == {"cc"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_taggers_learn_the_toy(whole: RunDirectory) -> None:
    values = [row["value"] for row in scores(whole) if row["method"] == "structural" and row["label"] == "all"]
    assert min(values) > 60


def test_a_second_run_does_nothing_again(recipe: Recipe, whole: RunDirectory) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.path.rglob("*.safetensors")}
    display = Count()
    run(recipe, whole.path.parent.parent, display=display)
    assert display.done == display.jobs == {"teach": 2, "extract": 2, "distill": 8, "evaluate": 10}
    assert before == {path: path.stat().st_mtime_ns for path in whole.path.rglob("*.safetensors")}


@pytest.mark.parametrize(
    ("stage", "reports"), [("teach", 6), ("extract", 1), ("distill", 3), ("distill", 33), ("evaluate", 5)]
)
def test_an_interrupted_run_goes_on_and_ends_with_the_same_scores(
    stage: str, reports: int, recipe: Recipe, whole: RunDirectory, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, display=Interrupt(stage, reports))
    again = run(recipe, tmp_path)
    assert scores(again) == scores(whole)


def test_two_processes_give_the_scores_of_one(recipe: Recipe, whole: RunDirectory, tmp_path: Path) -> None:
    parallel = run(recipe, tmp_path, workers=2)
    assert scores(parallel) == scores(whole)


def test_another_objective_keeps_teachers_and_knowledge(recipe: Recipe, whole: RunDirectory, tmp_path: Path) -> None:
    first = run(recipe, tmp_path, until="extract")
    made = {path: path.stat().st_mtime_ns for path in first.path.rglob("*.arrow")}
    other = toy_recipe(Path(str(recipe.corpus.root)), "[posterior, 0.5*posterior + 0.5*topk_weighted]")
    display = Count()
    run(other, tmp_path, display=display)
    assert display.done["teach"] == display.done["extract"] == 2
    assert made == {path: path.stat().st_mtime_ns for path in first.path.rglob("*.arrow")}
    methods = {row["method"] for row in scores(first)}
    assert {"posterior", "0.5*posterior+0.5*topk_weighted"} <= methods
    assert first.model("models/0.5xposterior+0.5xtopk_weighted/seed-1").is_dir()
    assert "structural" not in methods


def test_a_damaged_store_is_made_again(recipe: Recipe, whole: RunDirectory, tmp_path: Path) -> None:
    directory = run(recipe, tmp_path, until="extract")
    plan = make_plan(recipe)
    store = directory.knowledge(plan.extract[0].key)
    shard = next(store.glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-8])
    run(recipe, tmp_path, until="extract")
    assert len(KnowledgeStore(store)) == 80


def test_only_one_process_works_in_a_run_directory(recipe: Recipe, tmp_path: Path) -> None:
    with lock(tmp_path / recipe.name), pytest.raises(IntegrityError, match="another structkd process"):
        run(recipe, tmp_path)


def test_a_foreign_tag_is_refused_before_anything_is_trained(recipe: Recipe, tmp_path: Path) -> None:
    write_corpora(tmp_path)
    with (tmp_path / "bb.train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"words": ["x"], "tags": ["Q"]}) + "\n")
    with pytest.raises(DataError, match=r"toy/bb.*\n?.*'Q'"):
        run(toy_recipe(tmp_path), tmp_path / "runs")
    assert not (tmp_path / "runs" / "toy" / "pos" / "teachers").exists()


def test_distillation_helps_on_real_treebanks(real_data: Path, tmp_path: Path) -> None:
    """A few hundred sentences of two UD treebanks: teachers, one student, zero-shot Italian."""
    recipe = load_recipe(
        "ud/pos-small",
        [
            f"corpus.root={real_data}",
            "corpus.gold=200",
            "corpus.untagged_limit=600",
            "teachers=[ud/fr, ud/pt]",
            "teachers.0.training.batch_size=8",
            "teachers.1.training.batch_size=8",
            "student.training.batch_size=8",
            "unseen=[{language: it, corpus: {title: UD Italian-ISDT, test: pos/zeroshot/it_isdt/test.conllu.gz}}]",
            "controls=[baseline]",
            "seeds=[1]",
        ],
    )
    directory = run(recipe, tmp_path, workers=2)
    value = {
        (row["method"], row["language"]): float(str(row["value"]))
        for row in scores(directory)
        if row["label"] == "all" and row["subset"] == "all"
    }
    for language in ("fr", "pt"):
        assert value["structural", language] > value["baseline", language] + 0.5
    assert value["structural", "it"] > 40
