"""Progress on stderr."""

from __future__ import annotations

import pytest

from structkd.cli.display import RichDisplay


def test_titles_are_shown_to_the_letter(capsys: pytest.CaptureFixture[str]) -> None:
    title = "structural seed 1 [rest, none]"
    with RichDisplay() as display:
        display.stage("distill", 2, 1)
        display.progress(title, 0, 3, "")
        display.finished(title)
    shown = capsys.readouterr().err
    assert "distill: 2 jobs, 1 up to date" in shown
    assert f"  {title}: done in 0 s" in shown


def test_bars_show_titles_to_the_letter() -> None:
    display = RichDisplay()
    title = "structural seed 1 [rest, none]"
    number = display.bars.add_task(title, total=3, note="loss [nan]")
    shown = [str(column(display.bars.tasks[number])) for column in display.bars.columns]
    assert f"  {title}" in shown
    assert "loss [nan]" in shown
