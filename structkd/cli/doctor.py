"""`structkd doctor`: what this machine has, what is missing, what to do about it."""

from __future__ import annotations

import json

import typer

from structkd.cli.options import Debug, Json

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


def command(as_json: Json = False, debug: Debug = False) -> None:
    """Check the installation and the machine; exit status 1 if something must be mended."""
    from structkd.cli.diagnosis import diagnose

    findings = diagnose()
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"{MARKS[finding.state]}  {finding.name:<{width}}  {finding.value}")
            if finding.advice:
                print(f"{'':<{len(MARKS['ok']) + width + 4}}{finding.advice}")
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)
