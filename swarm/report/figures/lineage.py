"""Which program grew out of which."""

from plotly import graph_objects as go

from swarm.report.figures.style import (
    FAINT,
    GREEN,
    OUTCOMES,
    describe_program,
    empty_figure,
    finish_figure,
    focus,
    mean_loss,
)
from swarm.report.summary import standing
from swarm.study.state import Program, StudyState

TITLE = "Lineage of programs"


def lineage(study: StudyState | None) -> go.Figure:
    """Edits away from the baseline against mean loss, a line from each program to its parent; the incumbent's is thick.

    Programs without a loss are left out and counted in the subtitle.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    programs = study.ranked()
    if not programs:
        return empty_figure(TITLE, "No program has a loss yet.", study)
    depths = {program.name: len(ancestors(study, program)) for program in programs}
    path = _incumbent_path(study)
    figure = go.Figure()
    low, high = focus([mean_loss(program) for program in programs])
    _add_edges(figure, study, [p for p in programs if p.name not in path], depths, ceiling=high, thick=False)
    _add_edges(figure, study, [p for p in programs if p.name in path], depths, ceiling=high, thick=True)
    for outcome in OUTCOMES:
        chosen = [program for program in programs if standing(study, program) == outcome]
        _add_programs(figure, chosen, depths, outcome, ceiling=high, named=path)
    figure.update_xaxes(title="edits away from the baseline", dtick=1, range=[-0.4, max(depths.values()) + 0.7])
    figure.update_yaxes(title="mean validation loss (nats)", range=[low, high + 0.03 * (high - low)])
    missing = len(study.programs) - len(programs)
    return finish_figure(figure, study, TITLE, note=f"{len(programs)} programs, {missing} without a loss", height=520)


def ancestors(study: StudyState, program: Program) -> list[Program]:
    """Parent, grandparent and so on up to the baseline."""
    chain: list[Program] = []
    while program.parent is not None and program.parent in study.trials:
        program = study.program_of(program.parent)
        chain.append(program)
    return chain


def _incumbent_path(study: StudyState) -> set[str]:
    incumbent = study.incumbent
    assert incumbent is not None
    return {incumbent.name, *(program.name for program in ancestors(study, incumbent))}


def _add_edges(
    figure: go.Figure,
    study: StudyState,
    programs: list[Program],
    depths: dict[str, int],
    *,
    ceiling: float,
    thick: bool,
) -> None:
    across: list[float | None] = []
    down: list[float | None] = []
    for program in programs:
        parent = next((ancestor for ancestor in ancestors(study, program) if ancestor.losses), None)
        if parent is not None:
            across += [depths[parent.name], depths[program.name], None]
            down += [min(mean_loss(parent), ceiling), min(mean_loss(program), ceiling), None]
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
    programs: list[Program],
    depths: dict[str, int],
    outcome: str,
    *,
    ceiling: float,
    named: set[str],
) -> None:
    look = OUTCOMES[outcome]
    figure.add_scatter(
        x=[depths[program.name] for program in programs],
        y=[min(mean_loss(program), ceiling) for program in programs],
        mode="markers+text",
        text=[f"  {program.name}" if program.name in named else "" for program in programs],
        textposition="middle right",
        marker={"color": look.colour, "size": look.size, "line": {"width": 1, "color": "white"}},
        name=look.label,
        showlegend=bool(programs),
        hovertext=[describe_program(program) for program in programs],
        hoverinfo="text",
    )
