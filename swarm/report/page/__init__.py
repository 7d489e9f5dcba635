"""report.html: one file without any other, and the parts of a page's look that `swarm watch --web` has too."""

from swarm.report.page.document import report_html
from swarm.report.page.look import plots_script, style_sheet

__all__ = ["plots_script", "report_html", "style_sheet"]
