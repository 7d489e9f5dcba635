"""Who did what when: shows at a glance whether the workers worked side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

from plotly import graph_objects as go

from swarm.report.figures.style import BLUE, FAINT, GREEN, ORANGE, PURPLE, VERMILLION, empty_figure, finish_figure
from swarm.study.state import StudyState, Trial, overlapping_pairs

TITLE = "What each worker did"
PARALLEL = "side by side"
_AFTER_TRAINING = ("stage", "predict", "score")
_COLOURS = {
    "proposing": FAINT,
    "waiting for memory": ORANGE,
    "training": BLUE,
    "scoring": PURPLE,
    "failed run": VERMILLION,
    PARALLEL: GREEN,
}


@dataclass(frozen=True, slots=True)
class Span:
    """What one worker did from `start` to `end` (epoch seconds)."""

    worker: str
    doing: str
    start: float
    end: float
    text: str


def timeline(study: StudyState | None) -> go.Figure:
    """A row a worker, and one for the time in which two or more trials ran at once. Open work lasts to the last record.

    A worker proposes its next change while its trial trains, so *proposing* is only the time that it had no trial.
    """
    if study is None:
        return empty_figure(TITLE, "No study yet. Start one with: swarm up")
    trials = list(study.trials.values())
    if not trials:
        return empty_figure(TITLE, "No trial has been claimed yet.", study)
    origin, end = study.opened.at, _last_at(study)
    spans = [*worker_spans(trials, end), *parallel_spans(trials, end)]
    figure = go.Figure()
    for doing, colour in _COLOURS.items():
        _add_spans(figure, [span for span in spans if span.doing == doing], doing, colour, origin=origin)
    workers = sorted({trial.claim.agent_id for trial in trials})
    figure.update_layout(barmode="overlay", bargap=0.35)
    figure.update_xaxes(title="minutes since the study began")
    figure.update_yaxes(categoryorder="array", categoryarray=[PARALLEL, *reversed(workers)])
    pairs = sum(1 for _ in overlapping_pairs(trials))
    shared = sum(span.end - span.start for span in spans if span.doing == PARALLEL)
    busy = sum(stop - start for start, stop in _merged(_runs(trials, end), at_least=1))
    share = f", {shared / busy:.0%} of the busy time" if busy > 0 else ""
    note = f"{pairs} pairs of trials overlapped{share}"
    return finish_figure(figure, study, TITLE, note=note, height=240 + 60 * len(workers))


def worker_spans(trials: list[Trial], end: float) -> Iterator[Span]:
    for worker in sorted({trial.claim.agent_id for trial in trials}):
        free_since: float | None = None
        for trial in (t for t in trials if t.claim.agent_id == worker):
            if free_since is not None and trial.claim.at > free_since:
                yield Span(worker, "proposing", free_since, trial.claim.at, f"before {trial.trial_id}")
            yield from _trial_spans(trial, end)
            free_since = trial.finished.at if trial.finished is not None else end


def parallel_spans(trials: list[Trial], end: float) -> list[Span]:
    """When two or more trials had a lease at once."""
    return [
        Span(PARALLEL, PARALLEL, start, stop, "two or more trials ran")
        for start, stop in _merged(_runs(trials, end), 2)
    ]


def _trial_spans(trial: Trial, end: float) -> Iterator[Span]:
    worker, text = trial.claim.agent_id, trial.trial_id
    started = trial.started.at if trial.started is not None else None
    finished = trial.finished.at if trial.finished is not None else None
    yield Span(worker, "waiting for memory", trial.claim.at, started or finished or end, text)
    if started is None:
        return
    if trial.reason is not None:
        yield Span(worker, "failed run", started, finished or end, text)
        return
    trained = max(started, (finished or end) - _seconds_after_training(trial))
    yield Span(worker, "training", started, trained, text)
    if finished is not None:
        yield Span(worker, "scoring", trained, finished, text)


def _seconds_after_training(trial: Trial) -> float:
    if trial.finished is None or trial.finished.resources is None:
        return 0.0
    return sum(trial.finished.resources.overhead_s.get(phase, 0.0) for phase in _AFTER_TRAINING)


def _add_spans(figure: go.Figure, spans: list[Span], doing: str, colour: str, *, origin: float) -> None:
    figure.add_bar(
        y=[span.worker for span in spans],
        x=[(span.end - span.start) / 60 for span in spans],
        base=[(span.start - origin) / 60 for span in spans],
        orientation="h",
        name=doing,
        showlegend=bool(spans),
        marker={"color": colour, "line": {"width": 0.5, "color": "white"}},
        hovertext=[f"<b>{span.text}</b><br>{doing} {span.end - span.start:.1f} s" for span in spans],
        hoverinfo="text",
    )


def _runs(trials: list[Trial], end: float) -> list[tuple[float, float]]:
    return [(t.started.at, t.finished.at if t.finished is not None else end) for t in trials if t.started is not None]


def _merged(runs: list[tuple[float, float]], at_least: int) -> list[tuple[float, float]]:
    """The stretches in which `at_least` of the runs were under way."""
    edges = sorted([(start, 1) for start, _ in runs] + [(stop, -1) for _, stop in runs])
    stretches, running, since = [], 0, 0.0
    for at, change in edges:
        if running < at_least <= running + change:
            since = at
        elif running + change < at_least <= running and at > since:
            stretches.append((since, at))
        running += change
    return stretches


def _last_at(study: StudyState) -> float:
    times = [study.opened.at, *(status.at for status in study.workers.values())]
    for trial in study.trials.values():
        times += [record.at for record in (trial.claim, trial.started, trial.finished) if record is not None]
    return max([*times, study.closed.at] if study.closed is not None else times)
