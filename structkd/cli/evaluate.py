"""`structkd evaluate`."""

from __future__ import annotations

from structkd.cli.stage import stage_command

command = stage_command("evaluate", "Score every model of a recipe, and whatever that needs.")
