"""The report as Markdown, as one self-contained page, and as a piece of HTML for a notebook."""

from swarm.report.markdown import report_markdown
from swarm.report.markup import section_html, warning_html
from swarm.report.page import report_html
from swarm.report.sections import overview, ranking
from swarm.study.state import StudyState

__all__ = ["report_html", "report_markdown", "summary_fragment"]


def summary_fragment(study: StudyState | None) -> str:
    """Overview and ranking as a piece of HTML, for a notebook cell."""
    if study is None:
        return "<p>No study in this brain yet. Start one with: <code>swarm up</code></p>"
    return warning_html(study) + section_html(overview(study)) + section_html(ranking(study))
