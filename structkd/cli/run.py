"""`structkd run`."""

from __future__ import annotations

from structkd.cli.stage import stage_command

command = stage_command(
    "report", "Train the teachers, extract their knowledge, distil the student, evaluate and report."
)
