"""What a study has spent: time of trials, by what it bought, and the price of the models."""

from itertools import accumulate

from swarm.report.figures.drawing import Drawing
from swarm.report.figures.panels import axis, panels
from swarm.report.figures.spending import BOUGHT, bought_by, calls_of, hours_of
from swarm.report.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    common_layout,
    empty_layout,
)
from swarm.study.state import StudyState

TITLE = "What it cost"
MOST_POINTS = 500  # a line: more cannot be told apart
_COLOURS = dict(zip(BOUGHT, (GREY, BLUE, SKY, ORANGE, VERMILLION, PURPLE, GREEN), strict=True))
_LINES = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY, GREY)


def draw_cost(study: StudyState | None) -> Drawing:
    """Hours of trials one on the other, by what they bought, over the hours of the study; beside them what each arm's
    calls of models came to, in USD or, where a price is unknown, in tokens.

    Trials that run side by side count both, so the sum may pass the hours of the study.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    trials = study.finished_trials()
    if not trials:
        return Drawing(layout=empty_layout(TITLE, "No trial has ended yet.", study))
    calls = calls_of(study)
    priced = all(usage.usd is not None for _, _, usage in calls)
    unit = "USD" if priced else "tokens"
    said = f"{len(calls)} calls of models" if calls else "no call of a model"
    drawing = Drawing(
        layout=common_layout(study, TITLE, note=f"{sum(map(hours_of, trials)):.3g} hours of trials; {said}")
    )
    titles = ["hours of trials, by what they bought", *([f"models ({unit}), by arm"] if calls else [])]
    drawing.layout |= panels(titles, columns=2, shared_y=False)
    origin = study.opened.at
    moments = [(t.finished.at - origin) / 3600 for t in trials if t.finished is not None]
    kinds = [bought_by(study, trial) for trial in trials]
    for word in BOUGHT:
        sums = list(accumulate(hours_of(t) if kind == word else 0.0 for t, kind in zip(trials, kinds, strict=True)))
        x, y = _thinned(moments, sums)
        drawing.add(
            "scatter", x=x, y=y, mode="lines", stackgroup="one", line={"width": 0.5, "color": _COLOURS[word]},
            fillcolor=_COLOURS[word], name=word, showlegend=bool(sums and sums[-1]), legendgroup="bought",
            hovertemplate="%{y:.3g} h after %{x:.3g} h", xaxis="x", yaxis="y",
        )  # fmt: skip
    arms = list(dict.fromkeys(arm for _, arm, _ in calls))
    for place, arm in enumerate(arms):
        own = [(at, usage) for at, name, usage in calls if name == arm]
        spent = [u.usd or 0.0 if priced else (u.input_tokens or 0) + (u.output_tokens or 0) for _, u in own]
        x, y = _thinned([(at - origin) / 3600 for at, _ in own], list(accumulate(map(float, spent))))
        drawing.add(
            "scatter", x=x, y=y, mode="lines", line={"width": 2, "shape": "hv", "color": _LINES[place % len(_LINES)]},
            name=arm, legendgroup="arm", hovertemplate=f"%{{y:.4g}} {unit}", xaxis="x2", yaxis="y2",
        )  # fmt: skip
    for panel, label in enumerate(("hours", unit)[: len(titles)], 1):
        axis(drawing.layout, "x", panel, title={"text": "hours since the study began"}, rangemode="tozero")
        axis(drawing.layout, "y", panel, title={"text": label}, rangemode="tozero")
    return drawing


def _thinned(x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    """Every nth point, and the last one: the line looks the same."""
    step = max(1, len(x) // MOST_POINTS)
    keep = [*range(0, len(x), step), *([len(x) - 1] if x and (len(x) - 1) % step else [])]
    return [x[place] for place in keep], [y[place] for place in keep]
