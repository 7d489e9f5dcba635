"""The report's sections as Markdown and as one self-contained HTML page."""

import html
import string

from swarm.report.figures import FIGURES
from swarm.report.figures.style import data_label
from swarm.report.section import Section
from swarm.report.sections import overview, ranking, sections
from swarm.study.state import StudyState
from swarm.verdict.standing import Standing

_PAGE = string.Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 15px/1.5 Inter, Helvetica, Arial, sans-serif; color: #222; max-width: 1180px; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
.warning { color: #fff; background: #D55E00; padding: .5rem .9rem; border-radius: 4px; font-weight: 600; }
.note { color: #555; margin: .2rem 0 .6rem; max-width: 60rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
th { text-align: left; border-bottom: 2px solid #222; } th, td { padding: .28rem .7rem .28rem 0; vertical-align: top; }
td { border-bottom: 1px solid #e6e6e6; font-variant-numeric: tabular-nums; max-width: 34rem; overflow-wrap: anywhere; }
td.kept { color: #00734f; font-weight: 600; } td.leading { color: #0072B2; font-weight: 600; }
td.superseded { color: #0072B2; } td.inconclusive { color: #946300; } td.discarded { color: #777; }
</style>
</head>
<body>
<h1>$title</h1>
$warning
$body
</body>
</html>
""")
_STANDINGS = frozenset(map(str, Standing))


def report_html(study: StudyState) -> str:
    """Overview, figures, then the other tables. About 5 MB: plotly's code is inside, so it opens without a network."""
    first, *others = sections(study)
    drawn = [
        draw(study).to_html(full_html=False, include_plotlyjs=index == 0, div_id=name)
        for index, (name, draw) in enumerate(FIGURES.items())
    ]
    body = "\n".join([section_html(first), *drawn, *(section_html(section) for section in others)])
    return _PAGE.substitute(title=html.escape(_title(study)), warning=warning_html(study), body=body)


def report_markdown(study: StudyState) -> str:
    parts = [f"# {_title(study)}"]
    if study.opened.data != "cifar100":
        parts.append(f"> **{data_label(study)}.**")
    return "\n\n".join([*parts, *(_section_markdown(section) for section in sections(study))]) + "\n"


def summary_fragment(study: StudyState | None) -> str:
    """Overview and ranking as a piece of HTML, for a notebook cell."""
    if study is None:
        return "<p>No study in this brain yet. Start one with: <code>swarm up</code></p>"
    return warning_html(study) + section_html(overview(study)) + section_html(ranking(study))


def _title(study: StudyState) -> str:
    return f"Study {study.study_id}: {study.opened.target}"


def warning_html(study: StudyState) -> str:
    if study.opened.data == "cifar100":
        return ""
    return f'<p class="warning" style="color:#fff;background:#D55E00;padding:.5rem">{data_label(study)}</p>'


def section_html(section: Section, *, heading: bool = True) -> str:
    """A table with its note. `heading`: the title above it, where no page has one."""
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    title = f"<h2>{html.escape(section.title)}</h2>{note}" if heading else note
    if not section.rows:
        return f'{title}<p class="note">{html.escape(section.empty)}</p>'
    head = "".join(f"<th>{html.escape(column)}</th>" for column in section.columns if any(section.columns))
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in section.rows)
    return f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(text: str) -> str:
    marked = f' class="{text}"' if text in _STANDINGS else ""
    return f"<td{marked}>{html.escape(text)}</td>"


def _section_markdown(section: Section) -> str:
    parts = [f"## {section.title}"]
    if section.note:
        parts.append(_plain(section.note))
    if not section.rows:
        return "\n\n".join([*parts, section.empty])
    lines = [_line(section.columns), _line(("---",) * len(section.columns)), *(_line(row) for row in section.rows)]
    return "\n\n".join([*parts, "\n".join(lines)])


def _line(cells: tuple[str, ...]) -> str:
    """A row of a table. What workers wrote may hold pipes, line ends and markup."""
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(cell: str) -> str:
    text = " ".join(html.escape(cell, quote=False).split())
    return text.replace("\\", "\\\\").replace("|", "\\|")
