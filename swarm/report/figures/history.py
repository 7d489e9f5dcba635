"""Every trial's result in the order in which they ended, and what the workers built on."""

import bisect
import math

from plotly import graph_objects as go

from swarm.report.figures.style import (
    BLUE,
    INK,
    LOOKS,
    WORKER_SYMBOLS,
    describe,
    empty_figure,
    finish_figure,
    focus,
)
from swarm.study.state import StudyState, Trial
from swarm.study.trajectory import Step, trajectory
from swarm.target.objective import Objective
from swarm.verdict import study_noise
from swarm.verdict.standing import Standing, standing_of_trial

TITLE = "Result of each trial"


def history(study: StudyState | None) -> go.Figure:
    """One mark a trial: colour for the standing, shape for the worker; the incumbent's mean as a step line in its band.

    Replicates are small and hollow. Failed trials have no result and stand on a line on the worse side of the others;
    results far off the bulk are drawn at the same edge with their true value in the hover text.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    trials = study.finished_trials()
    objective = study.objective
    values = [objective.value(trial.cost) for trial in trials if trial.cost is not None]
    if not values:
        return empty_figure(TITLE, f"No finished trial yet, {len(study.open_trials())} on the way.", study)
    figure = go.Figure()
    low, high = focus(objective, values)
    edge = low if objective.maximized else high
    _add_incumbent(figure, study, trials)
    symbols = _symbols(trials)
    for standing in LOOKS:
        _add_marks(figure, study, trials, standing, edge=edge, symbols=symbols)
    _add_worker_keys(figure, symbols)
    figure.update_xaxes(title="trial, in the order of their ends", range=[0.3, len(trials) + 0.7])
    pad = 0.06 * (high - low)
    figure.update_yaxes(title=objective.label, range=[low - pad, high + pad])
    noise = study_noise(study)
    note = f"noise floor {objective.size(noise.sigma)}" if noise is not None else "noise floor not measured yet"
    return finish_figure(figure, study, TITLE, note=note, height=520)


def _symbols(trials: list[Trial]) -> dict[str, str]:
    workers = sorted({trial.claim.agent_id for trial in trials})
    return {worker: WORKER_SYMBOLS[index % len(WORKER_SYMBOLS)] for index, worker in enumerate(workers)}


def _add_marks(
    figure: go.Figure,
    study: StudyState,
    trials: list[Trial],
    standing: Standing,
    *,
    edge: float,
    symbols: dict[str, str],
) -> None:
    """One trace, also when it is empty: a live figure then keeps its traces and only their data changes."""
    chosen = [(place, t) for place, t in enumerate(trials, 1) if standing_of_trial(study, t) is standing]
    look = LOOKS[standing]
    figure.add_scatter(
        x=[place for place, _ in chosen],
        y=[_height(study.objective, trial, edge) for _, trial in chosen],
        mode="markers",
        name=standing,
        legendgroup="standing",
        legendgrouptitle_text="standing",
        showlegend=bool(chosen),
        marker={
            "color": look.colour,
            "size": [look.size if is_first(study, trial) else 0.7 * look.size for _, trial in chosen],
            "symbol": [look.symbol or _symbol(study, t, edge, symbols) for _, t in chosen],
            "line": {"width": 1.5},
            "opacity": 1.0,
        },
        hovertext=[describe(study, trial) for _, trial in chosen],
        hoverinfo="text",
    )


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


def _add_worker_keys(figure: go.Figure, symbols: dict[str, str]) -> None:
    for worker, symbol in symbols.items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=worker,
            legendgroup="worker",
            legendgrouptitle_text="worker",
            marker={"color": INK, "symbol": symbol, "size": 9},
            hoverinfo="skip",
        )


def _add_incumbent(figure: go.Figure, study: StudyState, trials: list[Trial]) -> None:
    """The mean of the incumbent of the time: it steps back again when a leader's replicates take its luck away."""
    places, steps = _by_place(study, trials)
    objective = study.objective
    means = [objective.value(step.mean) for step in steps]
    noise = study_noise(study)
    sigma = noise.sigma if noise is not None else 0.0
    for offset, fill in ((sigma, None), (-sigma, "tonexty")):
        figure.add_scatter(
            x=places,
            y=[mean + offset for mean in means],
            mode="lines",
            line={"width": 0, "shape": "hv"},
            fill=fill,
            fillcolor="rgba(0,114,178,0.12)",
            name="± one sigma of a single run",
            showlegend=fill is not None and sigma > 0,
            hoverinfo="skip",
        )
    figure.add_scatter(
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
