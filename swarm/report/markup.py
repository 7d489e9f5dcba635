"""The pieces of a page as HTML: tables, results with their diffs, places for figures. Values in, text out.

All that comes from a record or a program is quoted here. The report and the page of `swarm watch --web` are made of the
same pieces.
"""

from collections.abc import Iterator
from html import escape

from swarm.report.contents import FIGURE_TITLES
from swarm.report.figures.style import warning_of
from swarm.report.results import Result, Step
from swarm.report.section import Section
from swarm.study.state import StudyState
from swarm.verdict.standing import Standing

OPEN_ROWS = 6  # of a table that is longer than LONG: the others are folded
LONG = 10
OPEN_DIFF_LINES = 30
_STANDINGS = frozenset(map(str, Standing))
_KINDS = {"+": "added", "-": "removed", "@": "place"}


def warning_html(study: StudyState) -> str:
    """What has to stand in red beside every number; the colours stand here for a notebook, which has no style sheet."""
    warning = warning_of(study)
    if warning is None:
        return ""
    style = "color:#fff;background:#a83a00;padding:.5rem"
    return f'<p class="warning" style="{style}">{warning}</p>'


def section_html(section: Section, *, heading: bool = True, fold: bool = False) -> str:
    """A table with its note. `heading`: the title above it, where no page has one. `fold`: long tables show their first
    rows, and names with texts are no table."""
    note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
    title = f"<h2>{escape(section.title)}</h2>{note}" if heading else note
    if not section.rows:
        return f'{title}<p class="note">{escape(section.empty)}</p>'
    if fold and not any(section.columns):
        return title + facts_html(section)
    if not fold or len(section.rows) <= LONG:
        return title + _table(section, section.rows, section.title)
    rest = section.rows[OPEN_ROWS:]
    return (
        f"{title}{_table(section, section.rows[:OPEN_ROWS], section.title)}"
        f'<details class="rest"><summary>The other {len(rest):,}</summary>'
        f"{_table(section, rest, f'{section.title}, the others')}</details>"
    )


def facts_html(section: Section) -> str:
    """A section of two columns as terms with their texts."""
    return _terms(section.rows)


def result_html(result: Result) -> str:
    """One result: what it is, what is claimed, how to get it, on what it rests, and its diffs."""
    word = escape(result.standing)
    return f"""<article class="result {word}">
<h3>{escape(result.program)} <span class="badge {word}">{word}</span></h3>
<p class="what">{escape(result.description)}</p>
<p class="claim">{escape(_sentence(result.claim))}</p>
<pre class="adopt" tabindex="0"><code>{escape(result.adopt)}</code></pre>
<div class="body"><div>{_terms(result.facts)}</div>
<div>{"".join(_diffs(result))}</div></div>
</article>"""


def diff_html(diff: str) -> str:
    """A unified diff with a colour for each kind of line; the signs say the same."""
    lines = []
    for line in diff.splitlines():
        kind = "head" if line.startswith(("+++", "---")) else _KINDS.get(line[:1], "same")
        lines.append(f'<span class="{kind}">{escape(line)}</span>')
    return f'<pre class="diff" tabindex="0"><code>{chr(10).join(lines)}</code></pre>'


def figure_html(name: str, *, note: str = "", table: str = "") -> str:
    """A place that a script draws into, with the same numbers as a table below it."""
    title = escape(FIGURE_TITLES[name])
    numbers = f'<details class="rest"><summary>The numbers: {title}</summary>{table}</details>' if table else ""
    return (
        f'<figure data-figure="{name}"><h2>{title}</h2><p class="note">{escape(note)}</p>'
        f'<div class="plot" role="group" aria-label="{title}, drawn"></div>{numbers}</figure>'
    )


def folded(title: str, inside: str, count: int | None = None) -> str:
    """Something long under its title."""
    number = f' <span class="count">{count:,}</span>' if count is not None else ""
    return f"<details><summary>{escape(title)}{number}</summary>{inside}</details>"


def _table(section: Section, rows: tuple[tuple[str, ...], ...], label: str) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in section.columns if any(section.columns))
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    body = "".join(f"<tr>{''.join(_cells(section.columns, row))}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(label)}">'
        f"<table>{head}<tbody>{body}</tbody></table></div>"
    )


def _cells(columns: tuple[str, ...], row: tuple[str, ...]) -> Iterator[str]:
    """`data-name`: a narrow screen writes the column's name beside the cell."""
    for name, text in zip(columns, row, strict=True):
        marked = f' class="{text}"' if text in _STANDINGS else ""
        named = f' data-name="{escape(name)}"' if name else ""
        yield f"<td{marked}{named}>{escape(text)}</td>"


def _terms(rows: tuple[tuple[str, ...], ...]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in rows)}</dl>"


def _diffs(result: Result) -> Iterator[str]:
    if not result.change:
        why = result.without or "it is the text of the baseline"
        yield f'<p class="note">No diff: {escape(why)}</p>'
    else:
        opened = " open" if len(result.change.splitlines()) <= OPEN_DIFF_LINES else ""
        title = f"Change against the baseline, {counted(result.change)}"
        yield f"<details{opened}><summary>{title}</summary>{diff_html(result.change)}</details>"
    if len(result.steps) > 1:
        steps = "".join(_step(step) for step in result.steps)
        title = f"The way there: {len(result.steps)} edits"
        yield f'<details class="rest"><summary>{title}</summary><ol>{steps}</ol></details>'


def _step(step: Step) -> str:
    shown = diff_html(step.diff) if step.diff else ""
    return f"<li><strong>{escape(step.program)}</strong> {escape(step.description)}{shown}</li>"


def counted(diff: str) -> str:
    """+3 -2 lines."""
    lines = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return f"+{added} -{removed} lines"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
