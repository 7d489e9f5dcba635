"""Every trial's result in the order in which they ended, and what the workers built on."""

import bisect
import itertools
import math

from swarm.report.figures.drawing import Drawing
from swarm.report.figures.style import (
    BAND,
    BLUE,
    GREY,
    INK,
    LOOKS,
    WORKER_SYMBOLS,
    common_layout,
    describe,
    empty_layout,
    focus,
    marks,
)
from swarm.study.state import StudyState, Trial
from swarm.study.trajectory import Step, trajectory
from swarm.target.objective import Objective
from swarm.verdict import study_noise
from swarm.verdict.standing import GAINS

TITLE = "Result of each trial"
CROWDED = 150  # trials from which on the marks shrink


def draw_history(study: StudyState | None) -> Drawing:
    """One mark a trial: colour for the standing, shape for the worker; the incumbent's mean as a step line in its band,
    and the best single run so far, which is mostly luck, as a thin one.

    Replicates are small and hollow. Failed trials have no result and stand on a line on the worse side of the others;
    results far off the bulk are drawn at the same edge with their true value in the hover text. With many trials the
    marks shrink.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    trials = study.finished_trials()
    objective = study.objective
    values = [objective.value(trial.cost) for trial in trials if trial.cost is not None]
    if not values:
        missing = f"No finished trial yet, {len(study.open_trials())} on the way."
        return Drawing(layout=empty_layout(TITLE, missing, study))
    low, high = focus(objective, values)
    pad = 0.06 * (high - low)
    noise = study_noise(study)
    note = f"noise floor {objective.size(noise.sigma)}" if noise is not None else "noise floor not measured yet"
    drawing = Drawing(layout=common_layout(study, TITLE, note=note, height=520))
    drawing.layout["xaxis"] = {
        "title": {"text": "trial, in the order of their ends"},
        "range": [0.3, len(trials) + 0.7],
    }
    drawing.layout["yaxis"] = {"title": {"text": objective.label}, "range": [low - pad, high + pad]}
    _add_incumbent(drawing, study, trials, noise.sigma if noise is not None else 0.0)
    _add_best(drawing, objective, trials)
    _add_marks(drawing, study, trials, edge=low if objective.maximized else high)
    return drawing


def _add_marks(drawing: Drawing, study: StudyState, trials: list[Trial], *, edge: float) -> None:
    """A trace for each standing, also when it is empty: a live figure then keeps its traces and only data changes."""
    words, symbols = marks(study, trials), _symbols(trials)
    scale = min(1.0, max(0.4, math.sqrt(CROWDED / len(trials))))
    evidence: dict[str, list[str]] = {}
    for word, look in LOOKS.items():
        chosen = [(place, t) for place, t in enumerate(trials, 1) if words[t.trial_id] is word]
        drawing.add(
            "scatter",
            x=[place for place, _ in chosen],
            y=[_height(study.objective, trial, edge) for _, trial in chosen],
            mode="markers",
            name=word.value,
            legendgroup="standing",
            legendgrouptitle={"text": "standing"},
            showlegend=bool(chosen),
            marker={
                "color": look.colour,
                "size": [scale * (look.size if is_first(study, trial) else 0.7 * look.size) for _, trial in chosen],
                "symbol": [look.symbol or _symbol(study, t, edge, symbols) for _, t in chosen],
                "line": {"width": 1.5 * scale},
                "opacity": 1.0 if scale == 1.0 or word in GAINS else 0.6,
            },
            hovertext=[describe(study, trial, evidence) for _, trial in chosen],
            hoverinfo="text",
        )
    for worker, symbol in symbols.items():
        drawing.add(
            "scatter",
            x=[None],
            y=[None],
            mode="markers",
            name=worker,
            legendgroup="worker",
            legendgrouptitle={"text": "worker"},
            marker={"color": INK, "symbol": symbol, "size": 9},
            hoverinfo="skip",
        )


def _symbols(trials: list[Trial]) -> dict[str, str]:
    workers = sorted({trial.claim.agent_id for trial in trials})
    return {worker: WORKER_SYMBOLS[index % len(WORKER_SYMBOLS)] for index, worker in enumerate(workers)}


def is_first(study: StudyState, trial: Trial) -> bool:
    """Not a replicate. Those are drawn small and hollow: the standing is the program's and not theirs."""
    return study.program_of(trial.trial_id).first is trial


def _height(objective: Objective, trial: Trial, edge: float) -> float:
    """At the edge when it is beyond it or has no result."""
    beyond = trial.cost is None or trial.cost > objective.cost(edge)
    return edge if beyond else objective.value(trial.cost or 0.0)


def _symbol(study: StudyState, trial: Trial, edge: float, symbols: dict[str, str]) -> str:
    if trial.cost is not None and trial.cost > study.objective.cost(edge):
        return f"triangle-{'down' if study.objective.maximized else 'up'}-open"
    return symbols[trial.claim.agent_id] + ("" if is_first(study, trial) else "-open")


def _add_incumbent(drawing: Drawing, study: StudyState, trials: list[Trial], sigma: float) -> None:
    """The mean of the incumbent of the time: it steps back again when a leader's replicates take its luck away."""
    places, steps = _by_place(study, trials)
    objective = study.objective
    means = [objective.value(step.mean) for step in steps]
    for offset, fill in ((sigma, None), (-sigma, "tonexty")):
        drawing.add(
            "scatter",
            x=places,
            y=[mean + offset for mean in means],
            mode="lines",
            line={"width": 0, "shape": "hv"},
            **({"fill": fill} if fill is not None else {}),
            fillcolor=BAND,
            name="± one sigma of a single run",
            showlegend=fill is not None and sigma > 0,
            hoverinfo="skip",
        )
    drawing.add(
        "scatter",
        x=places,
        y=means,
        mode="lines",
        line={"width": 2, "color": BLUE, "shape": "hv"},
        name="incumbent's mean",
        hovertext=[
            f"incumbent {step.program}<br>mean {objective.text(step.mean)} over {step.runs} run(s)" for step in steps
        ],
        hoverinfo="text",
    )


def _add_best(drawing: Drawing, objective: Objective, trials: list[Trial]) -> None:
    scored = [(place, trial.cost) for place, trial in enumerate(trials, 1) if trial.cost is not None]
    best = itertools.accumulate((cost for _, cost in scored), min)
    drawing.add(
        "scatter",
        x=[place for place, _ in scored],
        y=[objective.value(cost) for cost in best],
        mode="lines",
        line={"width": 1.2, "color": GREY, "dash": "dot", "shape": "hv"},
        name="best single run so far",
        hoverinfo="skip",
    )


def _by_place(study: StudyState, trials: list[Trial]) -> tuple[list[float], list[Step]]:
    """The incumbent after each trial's verdict, from the first result to the right edge."""
    path = trajectory(study)
    places: list[float] = []
    steps: list[Step] = []
    ends = [trial.finished.seq for trial in trials if trial.finished is not None]
    for place, until in enumerate([*ends[1:], math.inf], 1):
        known = bisect.bisect_left(path, until, key=lambda step: step.seq)
        if known:
            places.append(float(place))
            steps.append(path[known - 1])
    if steps:
        places.append(len(ends) + 0.7)
        steps.append(steps[-1])
    return places, steps
