"""`structkd extract`."""

from __future__ import annotations

from structkd.cli.stage import stage_command

command = stage_command("extract", "Train the teachers if need be, and extract their knowledge.")
