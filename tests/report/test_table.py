"""The plain text table: aligned, inside its width, complete."""

from __future__ import annotations

from types import SimpleNamespace

from structkd.report import text_table


def test_the_table_holds_every_method_language_and_comparison(invented: SimpleNamespace) -> None:
    models = invented.models(sentences=40)
    text = text_table(invented.rows(models), models)
    lines = text.splitlines()
    assert lines[0] == "Accuracy in percent on test sets, mean ± standard deviation over 3 seeds"
    heads = [line.split() for line in lines if line.startswith("method")]
    assert heads == [["method", "en", "fr", "pt", "sk", "mean"], ["method", "it", "sv", "hr", "fi", "mean"]]
    for title in ("Teachers", "Baseline, gold only", "Baseline, step-matched", "Pseudo-labels", "Student, structural"):
        assert sum(line.startswith(title) for line in lines) == 2
    assert sum(line.startswith("structural minus ") for line in lines) == 4
    assert "[" in next(line for line in lines if line.startswith("structural minus Baseline, gold only"))


def test_columns_are_aligned(invented: SimpleNamespace) -> None:
    models = invented.models(sentences=10)
    for block in text_table(invented.rows(models), models).split("\n\n")[1:]:
        assert len({len(line) for line in block.splitlines()[1:]}) == 1


def test_many_languages_go_into_blocks_inside_the_width(invented: SimpleNamespace) -> None:
    models = invented.models(sentences=10)
    text = text_table(invented.rows(models), width=60)
    scores = [line for line in text.split("What distillation bought")[0].splitlines() if "languages" not in line]
    assert max(len(line) for line in scores[2:]) <= 60
    assert sum(line.startswith("method") for line in scores) == 6  # two columns fit beside the titles, five are there
    for language in ("en", "fr", "pt", "sk", "it", "sv", "hr", "fi"):
        assert sum(language in line.split() for line in text.splitlines() if line.startswith("method")) == 1


def test_one_seed_has_no_deviation_and_missing_counts_no_interval(invented: SimpleNamespace) -> None:
    text = text_table(invented.rows(invented.models(seeds=(1,), sentences=10)))
    assert "one seed" in text.splitlines()[0]
    assert "±" not in text
    assert "not tested" in text


def test_no_rows_say_so() -> None:
    assert text_table([]) == "No scores yet."
