"""Reports of a run: a table for the terminal, a page, a Markdown file. Numbers are read, never made up."""

from structkd.report.gains import Comparison, Gain, compare
from structkd.report.run_record import RunRecord, read_run
from structkd.report.summary import Cell, Line, Summary, summarise
from structkd.report.table import text_table
from structkd.report.verdict import overview, verdict
from structkd.report.write import write_report

__all__ = [
    "Cell",
    "Comparison",
    "Gain",
    "Line",
    "RunRecord",
    "Summary",
    "compare",
    "overview",
    "read_run",
    "summarise",
    "text_table",
    "verdict",
    "write_report",
]
