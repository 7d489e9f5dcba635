"""Which program grew out of which, and what it changed."""

import html
from collections.abc import Mapping, Sequence

from swarm.report.figures.drawing import Drawing
from swarm.report.figures.points import CROWDED, Point, add_programs
from swarm.report.figures.style import (
    FAINT,
    GREEN,
    common_layout,
    describe_program,
    empty_layout,
    focus,
    mean_value,
)
from swarm.study.lineage import ancestors, parent_of
from swarm.study.state import Program, StudyState

TITLE = "Lineage of programs"
DIFF_LINES = 10  # in a hover text
DIFF_WIDTH = 90
NO_DIFFS: Mapping[str, str] = {}
MOST_TICKS = 20


def draw_lineage(study: StudyState | None, diffs: Mapping[str, str] = NO_DIFFS) -> Drawing:
    """Edits away from the baseline against the mean result, a line from each program to its parent.

    The way to the incumbent is thick. Programs without a result are left out and counted in the subtitle. `diffs`, of a
    program against its parent, are in the hover text, as far as they go.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    programs = study.ranked()
    if not programs:
        return Drawing(layout=empty_layout(TITLE, "No program has a result yet.", study))
    missing = len(study.programs) - len(programs)
    note = f"{len(programs)} programs, {missing} without a result"
    drawing = Drawing(layout=common_layout(study, TITLE, note=note, height=520))
    depths, path = depths_of(study), _incumbent_path(study)
    low, high = focus(study.objective, [mean_value(study, program) for program in programs])
    heights = {p.name: max(low, min(high, mean_value(study, p))) for p in programs}
    others = [program for program in programs if program.name not in path]
    way = [program for program in programs if program.name in path]
    _add_edges(drawing, study, others, depths, heights, thick=False)
    _add_edges(drawing, study, way, depths, heights, thick=True)
    points = [Point(depths[p.name], heights[p.name], p, _text(study, p, diffs)) for p in programs]
    add_programs(drawing, study, points, labels=frozenset(path))
    furthest = max(depths[program.name] for program in programs)
    ticks = {"dtick": 1} if furthest <= MOST_TICKS else {}
    drawing.layout["xaxis"] = {
        "title": {"text": "edits away from the baseline"}, "range": [-0.4, furthest + 0.7], **ticks,
    }  # fmt: skip
    pad = 0.03 * (high - low)
    drawing.layout["yaxis"] = {
        "title": {"text": f"mean {study.objective.label}"}, "range": [low - pad, high + pad],
    }  # fmt: skip
    return drawing


def depths_of(study: StudyState) -> dict[str, int]:
    """Edits between each program and the baseline."""
    depths: dict[str, int] = {}
    for program in study.programs.values():
        parent = parent_of(study, program)
        known = None if parent is None else depths.get(parent.name)
        depths[program.name] = len(ancestors(study, program)) if known is None else known + 1
    return depths


def shown_diff(diff: str, lines: int = DIFF_LINES) -> str:
    """The changed lines of a unified diff as HTML for a hover text, with what is left out."""
    changed = [line for line in diff.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    shown = [html.escape(line[:DIFF_WIDTH], quote=False) for line in changed[:lines]]
    more = [f"and {len(changed) - lines} more lines"] if len(changed) > lines else []
    return "<br>".join([*shown, *more])


def _text(study: StudyState, program: Program, diffs: Mapping[str, str]) -> str:
    claim = program.first.claim
    lines = [describe_program(study, program)]
    if program.name in diffs:
        lines.append(f"<span style='font-family:monospace'>{shown_diff(diffs[program.name])}</span>")
    elif claim.constants_changed:
        told = [f"{name}: {before} to {after}" for name, (before, after) in claim.constants_changed.items()]
        lines.append(html.escape(", ".join(told), quote=False))
    elif claim.lines_added or claim.lines_removed:
        lines.append(f"+{claim.lines_added} -{claim.lines_removed} lines")
    return "<br>".join(lines)


def _incumbent_path(study: StudyState) -> set[str]:
    incumbent = study.incumbent
    assert incumbent is not None
    return {incumbent.name, *(program.name for program in ancestors(study, incumbent))}


def _add_edges(
    drawing: Drawing,
    study: StudyState,
    programs: Sequence[Program],
    depths: dict[str, int],
    heights: dict[str, float],
    *,
    thick: bool,
) -> None:
    across: list[float | None] = []
    down: list[float | None] = []
    for program in programs:
        parent = parent_of(study, program)
        if parent is not None and not parent.costs:
            parent = next((ancestor for ancestor in ancestors(study, program) if ancestor.costs), None)
        if parent is not None:
            across += [depths[parent.name], depths[program.name], None]
            down += [heights[parent.name], heights[program.name], None]
    width = 3.0 if thick else 1.2 if len(programs) <= CROWDED else 0.5
    drawing.add(
        "scatter",
        x=across,
        y=down,
        mode="lines",
        line={"color": GREEN if thick else FAINT, "width": width},
        name="way to the incumbent",
        showlegend=thick and bool(across),
        hoverinfo="skip",
    )
