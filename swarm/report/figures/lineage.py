"""Which program grew out of which."""

from plotly import graph_objects as go

from swarm.report.figures.style import (
    FAINT,
    GREEN,
    LOOKS,
    describe_program,
    empty_figure,
    finish_figure,
    focus,
    mean_value,
)
from swarm.study.lineage import ancestors
from swarm.study.state import Program, StudyState
from swarm.verdict.standing import Standing, standing

TITLE = "Lineage of programs"


def lineage(study: StudyState | None) -> go.Figure:
    """Edits away from the baseline against the mean result, a line from each program to its parent.

    The way to the incumbent is thick. Programs without a result are left out and counted in the subtitle.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    programs = study.ranked()
    if not programs:
        return empty_figure(TITLE, "No program has a result yet.", study)
    depths = {program.name: len(ancestors(study, program)) for program in programs}
    path = _incumbent_path(study)
    figure = go.Figure()
    low, high = focus(study.objective, [mean_value(study, program) for program in programs])
    heights = {p.name: max(low, min(high, mean_value(study, p))) for p in programs}
    _add_edges(figure, study, [p for p in programs if p.name not in path], depths, heights, thick=False)
    _add_edges(figure, study, [p for p in programs if p.name in path], depths, heights, thick=True)
    for word in LOOKS:
        chosen = [program for program in programs if standing(study, program) is word]
        _add_programs(figure, study, chosen, word, depths, heights, named=path)
    figure.update_xaxes(title="edits away from the baseline", dtick=1, range=[-0.4, max(depths.values()) + 0.7])
    pad = 0.03 * (high - low)
    figure.update_yaxes(title=f"mean {study.objective.label}", range=[low - pad, high + pad])
    missing = len(study.programs) - len(programs)
    return finish_figure(figure, study, TITLE, note=f"{len(programs)} programs, {missing} without a result", height=520)


def _incumbent_path(study: StudyState) -> set[str]:
    incumbent = study.incumbent
    assert incumbent is not None
    return {incumbent.name, *(program.name for program in ancestors(study, incumbent))}


def _add_edges(
    figure: go.Figure,
    study: StudyState,
    programs: list[Program],
    depths: dict[str, int],
    heights: dict[str, float],
    *,
    thick: bool,
) -> None:
    across: list[float | None] = []
    down: list[float | None] = []
    for program in programs:
        parent = next((ancestor for ancestor in ancestors(study, program) if ancestor.costs), None)
        if parent is not None:
            across += [depths[parent.name], depths[program.name], None]
            down += [heights[parent.name], heights[program.name], None]
    figure.add_scatter(
        x=across,
        y=down,
        mode="lines",
        line={"color": GREEN if thick else FAINT, "width": 3 if thick else 1.2},
        name="way to the incumbent",
        showlegend=thick and bool(across),
        hoverinfo="skip",
    )


def _add_programs(
    figure: go.Figure,
    study: StudyState,
    programs: list[Program],
    word: Standing,
    depths: dict[str, int],
    heights: dict[str, float],
    *,
    named: set[str],
) -> None:
    look = LOOKS[word]
    figure.add_scatter(
        x=[depths[program.name] for program in programs],
        y=[heights[program.name] for program in programs],
        mode="markers+text",
        text=[f"  {program.name}" if program.name in named else "" for program in programs],
        textposition="middle right",
        marker={"color": look.colour, "size": look.size, "line": {"width": 1, "color": "white"}},
        name=word,
        showlegend=bool(programs),
        hovertext=[describe_program(study, program) for program in programs],
        hoverinfo="text",
    )
