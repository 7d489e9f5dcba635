"""Training curves against the share of the budget."""

from plotly import graph_objects as go

from swarm.report.figures.style import LOOKS, describe, empty_figure, finish_figure, marks
from swarm.study.state import StudyState, Trial
from swarm.verdict.standing import Standing

TITLE = "Training curves"
NEWEST = 60  # curves beside the prominent ones: more cannot be told apart
_PROMINENT = frozenset({Standing.KEPT, Standing.LEADING, Standing.BASELINE})


def curves(study: StudyState | None) -> go.Figure:
    """Training loss of each trial over its budget, and the losses at the rungs as open circles.

    Training loss is the candidate's own account and depends on its augmentation: compare shapes and not heights.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    trials = [t for t in study.finished_trials() if t.finished is not None and (t.finished.curve or t.finished.rungs)]
    if not trials:
        return empty_figure(TITLE, "No trial has handed in a curve yet.", study)
    words = marks(study, trials)
    drawn = [trial for trial in trials if words[trial.trial_id] in _PROMINENT]
    drawn += [trial for trial in trials if words[trial.trial_id] not in _PROMINENT][-NEWEST:]
    note = "lines: training loss as told by the program; circles: rung slice"
    if len(drawn) < len(trials):
        note = f"{len(drawn)} of {len(trials)}: what is kept, leads or is the baseline, and the newest others; {note}"
    figure = go.Figure()
    for standing in LOOKS:
        chosen = [trial for trial in drawn if words[trial.trial_id] is standing]
        for index, trial in enumerate(chosen):
            _add_curve(figure, study, trial, standing, first=index == 0)
    figure.update_xaxes(title="share of the budget used", tickformat=".0%", range=[0, 1.01])
    figure.update_yaxes(title="training loss")
    return finish_figure(figure, study, TITLE, note=note)


def _add_curve(figure: go.Figure, study: StudyState, trial: Trial, standing: Standing, *, first: bool) -> None:
    assert trial.finished is not None
    look, text = LOOKS[standing], describe(study, trial)
    prominent = standing in _PROMINENT
    common = {"legendgroup": standing, "name": standing, "hovertext": text, "hoverinfo": "text"}
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
