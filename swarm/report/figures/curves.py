"""Training curves against the share of the budget."""

from swarm.report.figures.drawing import Drawing
from swarm.report.figures.style import LOOKS, common_layout, describe, empty_layout, marks
from swarm.study.state import StudyState, Trial
from swarm.verdict.standing import Standing

TITLE = "Training curves"
NEWEST = 60  # curves beside the prominent ones: more cannot be told apart
_PROMINENT = frozenset({Standing.KEPT, Standing.LEADING, Standing.BASELINE})


def draw_curves(study: StudyState | None) -> Drawing:
    """Training loss of each trial over its budget, and the losses at the rungs as open circles.

    Training loss is the candidate's own account and depends on its augmentation: compare shapes and not heights.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    trials = with_curve(study)
    if not trials:
        return Drawing(layout=empty_layout(TITLE, "No trial has handed in a curve yet.", study))
    words = marks(study, trials)
    drawn = shown_curves(study)
    note = "lines: training loss as told by the program; circles: rung slice"
    if len(drawn) < len(trials):
        note = f"{len(drawn)} of {len(trials)}: what is kept, leads or is the baseline, and the newest others; {note}"
    drawing = Drawing(layout=common_layout(study, TITLE, note=note))
    for standing in LOOKS:
        chosen = [trial for trial in drawn if words[trial.trial_id] is standing]
        for index, trial in enumerate(chosen):
            _add_curve(drawing, study, trial, standing, first=index == 0)
    drawing.layout["xaxis"] = {"title": {"text": "share of the budget used"}, "tickformat": ".0%", "range": [0, 1.01]}
    drawing.layout["yaxis"] = {"title": {"text": "training loss"}, **_without_outliers(drawn)}
    return drawing


def with_curve(study: StudyState) -> list[Trial]:
    """Trials that handed in a curve or were looked at on a rung."""
    return [t for t in study.finished_trials() if t.finished is not None and (t.finished.curve or t.finished.rungs)]


def shown_curves(study: StudyState) -> list[Trial]:
    """The prominent ones and the newest others."""
    trials = with_curve(study)
    words = marks(study, trials)
    drawn = [trial for trial in trials if words[trial.trial_id] in _PROMINENT]
    return drawn + [trial for trial in trials if words[trial.trial_id] not in _PROMINENT][-NEWEST:]


def _without_outliers(trials: list[Trial]) -> dict[str, object]:
    """A range without what a diverging program does: up to the worst of the middle 95 % of all points."""
    heights = sorted(
        loss
        for trial in trials
        if trial.finished is not None
        for _, loss in (*trial.finished.curve, *trial.finished.rungs)
    )
    if len(heights) < 40:
        return {}
    low, high = heights[len(heights) // 100], heights[(98 * len(heights)) // 100]
    pad = 0.05 * max(high - low, 1e-3)
    return {"range": [low - pad, high + pad]}


def _add_curve(drawing: Drawing, study: StudyState, trial: Trial, standing: Standing, *, first: bool) -> None:
    assert trial.finished is not None
    look, text = LOOKS[standing], describe(study, trial)
    prominent = standing in _PROMINENT
    common: dict[str, object] = {
        "legendgroup": standing.value,
        "name": standing.value,
        "hovertext": text,
        "hoverinfo": "text",
    }
    drawing.add(
        "scatter",
        x=[progress for progress, _ in trial.finished.curve],
        y=[loss for _, loss in trial.finished.curve],
        mode="lines",
        line={"color": look.colour, "width": 2.2 if prominent else 1},
        opacity=0.95 if prominent else 0.45,
        showlegend=first,
        **common,
    )
    if trial.finished.rungs:
        drawing.add(
            "scatter",
            x=[progress for progress, _ in trial.finished.rungs],
            y=[loss for _, loss in trial.finished.rungs],
            mode="markers",
            marker={"color": look.colour, "symbol": "circle-open", "size": 7},
            showlegend=False,
            **common,
        )
