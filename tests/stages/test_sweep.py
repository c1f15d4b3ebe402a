"""A sweep trains what differs, once, and ends in one table."""

from __future__ import annotations

from pathlib import Path

import pytest

from structkd.errors import RecipeError, UsageError
from structkd.recipe import Variant, dump_recipe, load_variants, parse_variation
from structkd.report.sweep import SweepRecord
from structkd.stages import RunDirectory, Silence, plan_sweep, run, sweep
from tests.stages.toy import toy_recipe, write_corpora

VARIED = ("objective=topk,structural", "corpus.untagged=rest,none")


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpora")
    write_corpora(root)
    path = root / "toy.yaml"
    path.write_text(dump_recipe(toy_recipe(root)), encoding="utf-8")
    return path


def variants(path: Path, *varied: str, overrides: tuple[str, ...] = ("seeds=[1]",)) -> list[Variant]:
    return load_variants(path, [parse_variation(text) for text in varied], list(overrides))


class Count(Silence):
    """Jobs of each stage, and those that were up to date."""

    def __init__(self) -> None:
        self.jobs: dict[str, int] = {}
        self.done: dict[str, int] = {}

    def stage(self, name: str, jobs: int, done: int) -> None:
        self.jobs[name], self.done[name] = jobs, done


class Interrupt(Silence):
    """Ctrl-C when a stage has reported so often."""

    def __init__(self, stage: str, reports: int) -> None:
        self.wanted, self.left, self.current = stage, reports, ""

    def stage(self, name: str, jobs: int, done: int) -> None:
        self.current = name

    def progress(self, title: str, done: int, total: int, note: str) -> None:
        self.left -= self.current == self.wanted
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def swept(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SweepRecord]:
    """A sweep that was cut off in the middle of training and run again."""
    runs = tmp_path_factory.mktemp("swept")
    with pytest.raises(KeyboardInterrupt):
        sweep(variants(recipe_file, *VARIED), runs, command="c", display=Interrupt("distill", 30))
    return runs, sweep(variants(recipe_file, *VARIED), runs, command="structkd sweep toy")


def test_variants_share_every_model_that_is_made_from_equal_inputs(recipe_file: Path, tmp_path: Path) -> None:
    plan = plan_sweep(variants(recipe_file, *VARIED, "knowledge.k=1,2"), RunDirectory(tmp_path))
    titles = [job.job.title for job in plan.jobs["distill"]]
    assert len(plan.variants) == 8
    assert len(plan.jobs["teach"]) == 2
    assert titles.count("baseline seed 1") == 1
    assert titles.count("baseline-matched seed 1") == 2, "with and without untagged text it takes other steps"
    assert titles.count("pseudo-labels seed 1") == 1, "neither k nor the objective changes a best path"
    assert titles.count("structural seed 1") == 2, "k is nothing to the structural objective"
    assert titles.count("topk seed 1") == 4


def test_a_sweep_lists_each_set_of_models_once_with_all_its_variants(swept: tuple[Path, SweepRecord]) -> None:
    found = [(s.line.method, len(s.line.points)) for s in swept[1].lines]
    assert sorted(found) == sorted(
        [("teachers", 4), ("baseline", 4), ("baseline-matched", 2), ("baseline-matched", 2), ("pseudo-labels", 2)]
        + [("structural", 1), ("topk", 1)] * 2
    )
    assert [s.line.role for s in swept[1].lines] == sorted(
        [s.line.role for s in swept[1].lines], key=["teacher", "baseline", "control", "student"].index
    )


def test_students_are_tested_against_the_baseline_and_pseudo_labels_of_their_variant(
    swept: tuple[Path, SweepRecord],
) -> None:
    for scored in swept[1].lines:
        names = {name for name, _ in scored.differences}
        if scored.line.role != "student":
            assert names == set()
            continue
        untagged = scored.line.points[0]["corpus.untagged"]
        assert names == ({"baseline", "pseudo-labels"} if untagged == "rest" else {"baseline"})
        baseline = next(s for s in swept[1].lines if s.line.method == "baseline")
        for scope in ("seen", "unseen", "cc"):
            expected = scored.scores[scope].value - baseline.scores[scope].value
            assert scored.differences["baseline", scope].value == pytest.approx(expected)


def test_a_finished_sweep_does_nothing_again_and_a_wider_one_only_what_is_new(
    swept: tuple[Path, SweepRecord], recipe_file: Path
) -> None:
    display = Count()
    again = sweep(variants(recipe_file, *VARIED), swept[0], command="structkd sweep toy", display=display)
    assert display.done == display.jobs
    assert [s.scores for s in again.lines] == [s.scores for s in swept[1].lines]
    wider = Count()
    more = variants(recipe_file, "objective=topk,structural,topk_weighted", VARIED[1])
    sweep(more, swept[0], command="c", display=wider)
    assert wider.jobs["distill"] - wider.done["distill"] == 2


def test_an_interrupted_sweep_ends_like_a_whole_one(
    swept: tuple[Path, SweepRecord], recipe_file: Path, tmp_path: Path
) -> None:
    chosen = variants(recipe_file, "corpus.untagged=rest,none", overrides=("seeds=[1]", "controls=[]"))
    whole = sweep(chosen, tmp_path, command="c", workers=2)
    cut = {(s.line.method, p["corpus.untagged"]): s.scores for s in swept[1].lines for p in s.line.points}
    assert len(whole.lines) == 3
    for scored in whole.lines:
        assert scored.scores == cut[scored.line.method, scored.line.points[0]["corpus.untagged"]]


def test_models_of_a_plain_run_are_used_and_left_alone(recipe_file: Path, tmp_path: Path) -> None:
    chosen = variants(recipe_file, "objective=structural,posterior", overrides=("seeds=[1]", "controls=[]"))
    plain = run(chosen[0].recipe, tmp_path)
    before = plain.scores.read_bytes()
    display = Count()
    sweep(chosen, tmp_path, command="c", display=display)
    assert display.done["teach"] == 2
    assert display.done["distill"] == 1
    assert plain.scores.read_bytes() == before


def test_the_teachers_of_each_seed_can_have_that_seed(recipe_file: Path, tmp_path: Path) -> None:
    chosen = variants(recipe_file, "teacher_seeds=same,varied", overrides=("controls=[]", "seeds=[1, 2]"))
    plan = plan_sweep(chosen, RunDirectory(tmp_path))
    assert len(plan.jobs["teach"]) == 2 + 4
    stores = {(job.job.seed, key) for job in plan.jobs["distill"][2:] for _, key in job.job.stores}
    assert len(stores) == 4, "each student has stores of its own"
    record = sweep(chosen[1:], tmp_path, command="c")
    teachers = next(s for s in record.lines if s.line.role == "teacher")
    assert teachers.line.seeds == (1, 2)
    assert len(set(teachers.scores["seen"].by_seed)) == 2
    assert teachers.scores["seen"].deviation is not None


def test_all_faulty_variants_are_named_before_anything_is_trained(recipe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"(?s)objective=topp.*knowledge\.k=-1"):
        variants(recipe_file, "objective=topp,topk", "knowledge.k=1,-1")
    tests = "unseen=[],[{language: cc, corpus: {test: cc.test.jsonl}}]"
    with pytest.raises(UsageError, match="other test sets"):
        sweep(variants(recipe_file, tests), tmp_path, command="c")
    with pytest.raises(UsageError, match=r"--reference nonsense: 'nonsense'.*structural"):
        sweep(variants(recipe_file, "knowledge.k=1,2"), tmp_path, command="c", references=["nonsense"])
    assert not (tmp_path / "toy" / "pos" / "sweep").exists()
