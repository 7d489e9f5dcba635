"""report.md: short enough for a pull request. What was kept, how much better, how measured, how to check."""

import html
import re
from collections.abc import Sequence

from swarm.report.answers import answers
from swarm.report.evidence import NOTHING, Evidence
from swarm.report.figures.style import warning_of
from swarm.report.findings import failures, infeasible, negative_findings
from swarm.report.guards import second_numbers
from swarm.report.integrity import integrity
from swarm.report.markup import counted
from swarm.report.memory_lot import memory_by_lot
from swarm.report.results import Result, headline, results
from swarm.report.section import Section
from swarm.report.sections import overview, ranking
from swarm.study.state import StudyState

MOST_ROWS = 5  # of a table
MOST_DIFF_LINES = 120
MOST_RESULTS = 3


def report_markdown(study: StudyState, evidence: Evidence = NOTHING) -> str:
    """What a reviewer asks first; the whole is in report.html."""
    parts = [f"# Study {_plain(study.study_id)}: {_plain(study.opened.target)}"]
    if (warning := warning_of(study)) is not None:
        parts.append(f"> **{warning}.**")
    found = results(study, evidence)
    parts += [f"**{_plain(headline(found))}**", _table(answers(study, evidence))]
    for result in found[:MOST_RESULTS]:
        parts += _result(result)
    for section in (
        ranking(study),
        *second_numbers(study),
        negative_findings(study),
        failures(study),
        infeasible(study),
    ):
        parts += _short(section)
    if (drawn := memory_by_lot(study)).rows:
        parts += [f"## {drawn.title}", _plain(drawn.note), _table(drawn)]
    parts += ["## How it was measured", _table(overview(study)), _table(integrity(study, evidence))]
    parts += ["## How to check", _fenced(_checks(study, found), "sh")]
    return "\n\n".join(parts) + "\n"


def _result(result: Result) -> list[str]:
    parts = [
        f"## {_plain(result.program)} is {result.standing}",
        _plain(result.description),
        f"{_plain(result.claim)}.",
    ]
    parts.append("\n".join(f"- {name}: {_plain(text)}" for name, text in result.facts))
    if not result.change:
        return [*parts, f"No diff: {_plain(result.without)}"] if result.without else parts
    lines = result.change.splitlines()
    if len(lines) > MOST_DIFF_LINES:
        return [*parts, f"The change is {counted(result.change)}: `swarm diff {result.program} --base` prints it."]
    return [*parts, _fenced(result.change.rstrip("\n"), "diff")]


def _short(section: Section) -> list[str]:
    if not section.rows:
        return [f"{section.title}: {section.empty}"]
    more = f"The first {MOST_ROWS} of {len(section.rows)}." if len(section.rows) > MOST_ROWS else ""
    shown = Section(section.title, "", section.columns, section.rows[:MOST_ROWS], section.empty)
    return [f"## {section.title}", *filter(None, [more]), _table(shown)]


def _checks(study: StudyState, found: Sequence[Result]) -> str:
    """Commands that somebody else can run."""
    lines = [f"swarm status --study {study.study_id}", "swarm verify"]
    if found:
        best = found[0]
        lines += [
            f"swarm diff {best.program} --study {study.study_id} --base",
            f"swarm verify --rerun {best.program} --study {study.study_id}",
            best.adopt,
        ]
    return "\n".join(lines)


def _table(section: Section) -> str:
    if not section.rows:
        return section.empty
    return "\n".join([_line(section.columns), _line(("---",) * len(section.columns)), *map(_line, section.rows)])


def _line(cells: tuple[str, ...]) -> str:
    """A row of a table. What workers wrote may hold pipes, line ends and markup."""
    return "| " + " | ".join(_plain(cell) for cell in cells) + " |"


def _plain(cell: str) -> str:
    text = " ".join(html.escape(cell, quote=False).split())
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _fenced(text: str, language: str) -> str:
    """A block of code; its fence is longer than any in the text, so that nothing in there ends it."""
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
