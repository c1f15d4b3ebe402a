"""`structkd teach`."""

from __future__ import annotations

from structkd.cli.stage import stage_command

command = stage_command("teach", "Train the teachers of a recipe.")
