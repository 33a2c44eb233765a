"""Findings for people: terminal, Markdown, CSV, one offline HTML page, a figure for notebooks.

A report computes nothing: estimates come ready in `timetrial.rows`, quantities are formatted by
`timetrial.units`. `words` chooses the texts, `arrange` the order; the renderers only set them.
"""

from timetrial.report.figure import figure
from timetrial.report.machine_terminal import render_machine
from timetrial.report.markdown import render_markdown, tables_markdown
from timetrial.report.page import render_html
from timetrial.report.table_csv import render_csv, tables_csv
from timetrial.report.table_terminal import print_tables
from timetrial.report.terminal import render_terminal

__all__ = [
    "figure",
    "print_tables",
    "render_csv",
    "render_html",
    "render_machine",
    "render_markdown",
    "render_terminal",
    "tables_csv",
    "tables_markdown",
]
