"""Both reports of a run: whole, self-contained, honest about what is missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from structkd.errors import IntegrityError, UsageError
from structkd.report import read_run, write_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Checks that elements close in order; collects ids, references to them, and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "aria-labelledby":
                self.references += (value or "").split()
            elif name in ("src", "href", "xlink:href", "srcset", "action"):
                self.addresses.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(invented: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = invented.write_run(tmp_path_factory.mktemp("runs") / "pos", invented.models(sentences=40))
    write_report(directory)
    return directory


def page_of(directory: Path) -> str:
    return write_report(directory)[0].read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_its_labels_exist(run: Path) -> None:
    outline = Outline()
    outline.feed((run / "report.html").read_text(encoding="utf-8"))
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.references) <= set(outline.ids)


def test_the_page_loads_nothing_from_outside(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(text)
    assert outline.addresses == ["#main"]
    assert "url(" not in text
    assert "@import" not in text
    assert "<script" not in text


def test_every_picture_is_valid_xml_with_a_text_alternative(run: Path) -> None:
    pictures = re.findall(r"<svg.*?</svg>", (run / "report.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    plots = [ElementTree.fromstring(picture) for picture in pictures if 'role="img"' in picture]
    assert len(plots) == 2 + 2 + 2 + 8  # gains, languages, runs; loss and dev curve of each of four methods
    for plot in plots:
        assert plot.find("title").text
        assert len(plot.find("desc").text) > 20


def test_both_reports_print_the_numbers_of_scores_json(run: Path) -> None:
    rows = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    main = {"role": "student", "language": "en", "label": "all", "subset": "all"}
    chosen = [row["value"] for row in rows if all(row[name] == value for name, value in main.items())]
    mean = f"{sum(chosen) / len(chosen):.2f} ±"
    assert mean in (run / "report.html").read_text(encoding="utf-8")
    assert mean in (run / "report.md").read_text(encoding="utf-8")


def test_text_from_files_cannot_become_markup(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "one student, &lt;four&gt; unseen" in text
    assert "<four>" not in text
    assert r"\<four>" in (run / "report.md").read_text(encoding="utf-8")


def test_a_complete_run_misses_nothing(run: Path) -> None:
    assert read_run(run).missing == ()
    assert "Not in this run directory" not in (run / "report.html").read_text(encoding="utf-8")


def test_markdown_tables_have_rows_of_one_width(run: Path) -> None:
    lines = (run / "report.md").read_text(encoding="utf-8").splitlines()
    blocks = "\n".join(line if line.startswith("|") else "" for line in lines).split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.strip()]
    assert len(tables) >= 6
    for table in tables:
        assert len({line.count("|") - line.count("\\|") for line in table}) == 1


def test_missing_pieces_are_named_and_never_invented(invented: SimpleNamespace, tmp_path: Path) -> None:
    directory = invented.write_run(tmp_path / "run", invented.models(seeds=(1, 2), sentences=10))
    (directory / "environment.json").unlink()
    (directory / "models/structural/seed-2/history.json").unlink()
    (directory / "evaluation/models--baseline--seed-1.json").unlink()
    scores = json.loads((directory / "scores.json").read_text(encoding="utf-8"))
    kept = [row for row in scores if row["method"] != "pseudo-labels"]
    (directory / "scores.json").write_text(json.dumps(kept), encoding="utf-8")
    missing = "\n".join(read_run(directory).missing)
    assert "environment.json" in missing
    assert "models/structural/seed-2/history.json" in missing
    assert "evaluation/models--baseline--seed-1.json" in missing
    assert "pseudo-labels: in the recipe, but not among the scores" in missing
    assert "structural: no scores of seed 3" in missing
    page = page_of(directory)
    assert "Not in this run directory" in page
    assert "not tested because per-sentence counts are missing" in page


def test_an_empty_run_directory_still_gives_a_report(tmp_path: Path) -> None:
    page, text = write_report(tmp_path)
    for report in (page.read_text(encoding="utf-8"), text.read_text(encoding="utf-8")):
        assert "scores.json: nothing was evaluated yet" in report.replace("\\", "")
        assert tmp_path.name in report.replace("\\", "")


def test_models_without_a_student_have_a_report(invented: SimpleNamespace, tmp_path: Path) -> None:
    models = [model for model in invented.models(sentences=10) if model.role in ("teacher", "baseline")]
    page = page_of(invented.write_run(tmp_path / "run", models))
    assert "No student was scored" in page


def test_damaged_files_are_refused_by_name(invented: SimpleNamespace, tmp_path: Path) -> None:
    directory = invented.write_run(tmp_path / "run", invented.models(seeds=(1,), sentences=5))
    for name, damage in (
        ("models/structural/seed-1/history.json", '[{"loss": 1}]'),
        ("recipe.yaml", "a: [1"),
        ("scores.json", '{"rows": []}'),
    ):
        (directory / name).write_text(damage, encoding="utf-8")
        with pytest.raises(IntegrityError, match=re.escape(name.rsplit("/", 1)[-1])):
            write_report(directory)
    with pytest.raises(UsageError, match="no run directory"):
        write_report(tmp_path / "nowhere")


def test_entity_runs_are_reported_by_f1(tmp_path: Path) -> None:
    from structkd.evaluation import ModelCounts, count, model_counts_path, save_model_counts, score_counts

    gold = [["B-PER", "O", "B-LOC"], ["O", "B-ORG", "I-ORG"]] * 20
    rows = []
    for method, role, predicted in (
        ("baseline", "baseline", [["O", "O", "B-LOC"], ["O", "B-ORG", "O"]] * 20),
        ("structural", "student", gold),
    ):
        counts = count(gold, predicted, task="ner", scheme="IOB2")
        record = ModelCounts(f"models/{method}/seed-1", role, method, 1, {"en": counts}, {"en": "Toy"})
        save_model_counts(model_counts_path(tmp_path, record.model), record)
        facts = {"model": record.model, "role": role, "method": method, "seed": 1}
        rows += score_counts(counts, **facts, language="en", corpus="Toy", split="test", seen=True)
    (tmp_path / "scores.json").write_text(json.dumps([row.to_dict() for row in rows]), encoding="utf-8")
    page = page_of(tmp_path)
    assert "On the seen language (en), structural distillation scores 100.00 F1" in page
    assert "named entities, strict spans" in page
    assert "F1 by label, seen languages" in page
