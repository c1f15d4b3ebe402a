"""`structkd distill`."""

from __future__ import annotations

from structkd.cli.stage import stage_command

command = stage_command("distill", "Train the students and controls of a recipe, and whatever they need.")
