"""The command line: `structkd VERB`. One file of this folder is one verb."""

from structkd.cli.app import main

__all__ = ["main"]
