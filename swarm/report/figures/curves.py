"""Training curves against the share of the budget."""

from plotly import graph_objects as go

from swarm.report.figures.style import OUTCOMES, describe, empty_figure, finish_figure, outcome_of
from swarm.study.state import StudyState, Trial

TITLE = "Training curves"
_PROMINENT = frozenset({"kept", "leading", "baseline"})


def curves(study: StudyState | None) -> go.Figure:
    """Training loss of each trial over its budget, and the losses at the rungs as open circles.

    Training loss is the candidate's own account and depends on its augmentation: compare shapes and not heights.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    trials = [t for t in study.finished_trials() if t.finished is not None and (t.finished.curve or t.finished.rungs)]
    if not trials:
        return empty_figure(TITLE, "No trial has handed in a curve yet.", study)
    figure = go.Figure()
    for outcome in OUTCOMES:
        chosen = [trial for trial in trials if outcome_of(study, trial) == outcome]
        for index, trial in enumerate(chosen):
            _add_curve(figure, study, trial, outcome, first=index == 0)
    figure.update_xaxes(title="share of the budget used", tickformat=".0%", range=[0, 1.01])
    figure.update_yaxes(title="loss (nats)")
    return finish_figure(figure, study, TITLE, note="lines: training loss as told by the program; circles: rung slice")


def _add_curve(figure: go.Figure, study: StudyState, trial: Trial, outcome: str, *, first: bool) -> None:
    assert trial.finished is not None
    look, text = OUTCOMES[outcome], describe(study, trial)
    prominent = outcome in _PROMINENT
    common = {"legendgroup": outcome, "name": look.label, "hovertext": text, "hoverinfo": "text"}
    figure.add_scatter(
        x=[progress for progress, _ in trial.finished.curve],
        y=[loss for _, loss in trial.finished.curve],
        mode="lines",
        line={"color": look.colour, "width": 2.2 if prominent else 1},
        opacity=0.95 if prominent else 0.45,
        showlegend=first,
        **common,
    )
    if trial.finished.rungs:
        figure.add_scatter(
            x=[progress for progress, _ in trial.finished.rungs],
            y=[loss for _, loss in trial.finished.rungs],
            mode="markers",
            marker={"color": look.colour, "symbol": "circle-open", "size": 7},
            showlegend=False,
            **common,
        )
