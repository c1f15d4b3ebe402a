"""Progress bars on stderr: one line a running job."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class RichDisplay:
    """Shows stages and jobs; where stderr is no terminal, a line when a job begins and when it ends."""

    def __init__(self) -> None:
        console = Console(file=sys.stderr)
        self.live = console.is_terminal
        self.bars = Progress(
            TextColumn("  {task.description:<28}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self.tasks: dict[str, TaskID] = {}
        self.started: dict[str, float] = {}

    def __enter__(self) -> RichDisplay:
        if self.live:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.bars.stop()

    def stage(self, name: str, jobs: int, done: int) -> None:
        """A stage begins."""
        skipped = f", {done} up to date" if done else ""
        self.bars.console.print(f"[bold]{name}[/bold]: {jobs} jobs{skipped}", highlight=False)

    def progress(self, title: str, done: int, total: int, note: str) -> None:
        """A job went on."""
        if title not in self.started:
            self.started[title] = time.monotonic()
            if self.live:
                self.tasks[title] = self.bars.add_task(title, total=total, note=note)
        if self.live:
            self.bars.update(self.tasks[title], completed=done, total=total, note=note)

    def finished(self, title: str) -> None:
        """A job ended."""
        seconds = time.monotonic() - self.started.pop(title, time.monotonic())
        if title in self.tasks:
            self.bars.remove_task(self.tasks.pop(title))
        self.bars.console.print(f"  {title}: done in {seconds:.0f} s", highlight=False, markup=False)
