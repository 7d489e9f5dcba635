"""A study as one page: what was found, how sure it is, what it was run on. Pure.

`report_html` is self-contained (plotly's code is inlined, nothing is loaded from elsewhere); `report_markdown` has the
same sections without the figures.
"""

from swarm.report.memory import MemoryRow, memory_rows, memory_table
from swarm.report.render import report_html, report_markdown, summary_fragment
from swarm.report.sections import Section, sections

__all__ = [
    "MemoryRow",
    "Section",
    "memory_rows",
    "memory_table",
    "report_html",
    "report_markdown",
    "sections",
    "summary_fragment",
]
