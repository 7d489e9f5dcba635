"""Who did what when: shows at a glance whether the workers worked side by side."""

from collections.abc import Iterator
from dataclasses import dataclass

from swarm.report.figures.drawing import Drawing
from swarm.report.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILLION,
    common_layout,
    empty_layout,
)
from swarm.study.overlap import overlapping_pairs
from swarm.study.state import StudyState, Trial

TITLE = "What each worker did"
PARALLEL = "side by side"
LONG_S = 3 * 3600.0  # from which on the axis counts hours
CROWDED = 300  # trials from which on neighbouring spans are drawn as one
FINEST = 2000  # of the axis: what is closer than this part of it cannot be told apart
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


def draw_timeline(study: StudyState | None) -> Drawing:
    """A row a worker, and one for the time in which two or more trials ran at once. Open work lasts to the last record.

    A worker proposes its next change while its trial trains, so *proposing* is only the time that it had no trial. With
    many trials spans of one kind that lie close together are drawn as one.
    """
    if study is None:
        return Drawing(layout=empty_layout(TITLE, "No study yet. Start one with: swarm up"))
    trials = list(study.trials.values())
    if not trials:
        return Drawing(layout=empty_layout(TITLE, "No trial has been claimed yet.", study))
    origin, end = study.opened.at, _last_at(study)
    workers = sorted({trial.claim.agent_id for trial in trials})
    shared_spans = parallel_spans(trials, end)
    pairs = sum(1 for _ in overlapping_pairs(trials))
    shared = sum(span.end - span.start for span in shared_spans)
    busy = sum(stop - start for start, stop in _merged(_runs(trials, end), at_least=1))
    share = f", {shared / busy:.0%} of the busy time" if busy > 0 else ""
    note = f"{pairs} pairs of trials overlapped{share}"
    drawing = Drawing(layout=common_layout(study, TITLE, note=note, height=240 + 60 * len(workers)))
    hours = end - origin > LONG_S
    drawing.layout |= {
        "barmode": "overlay",
        "bargap": 0.35,
        "xaxis": {"title": {"text": f"{'hours' if hours else 'minutes'} since the study began"}},
        "yaxis": {"categoryorder": "array", "categoryarray": [PARALLEL, *reversed(workers)]},
    }
    spans = [*worker_spans(trials, end), *shared_spans]
    by_kind: dict[str, list[Span]] = {doing: [] for doing in _COLOURS}
    for span in spans:
        by_kind[span.doing].append(span)
    finest = (end - origin) / FINEST if len(trials) > CROWDED else 0.0
    for doing, colour in _COLOURS.items():
        drawn = _closed_up(by_kind[doing], finest)
        _add_spans(drawing, drawn, doing, colour, origin=origin, unit_s=3600.0 if hours else 60.0)
    return drawing


def worker_spans(trials: list[Trial], end: float) -> Iterator[Span]:
    by_worker: dict[str, list[Trial]] = {}
    for trial in trials:
        by_worker.setdefault(trial.claim.agent_id, []).append(trial)
    for worker, own in sorted(by_worker.items()):
        free_since: float | None = None
        for trial in own:
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


def _closed_up(spans: list[Span], finest_s: float) -> list[Span]:
    """Spans of one worker that are less than `finest_s` apart as one, in the order of their starts."""
    if finest_s <= 0:
        return spans
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.worker, one.start)):
        last = found[-1] if found else None
        if last is not None and last.worker == span.worker and span.start - last.end < finest_s:
            text = f"{last.text.partition(' to ')[0]} to {span.text}"
            found[-1] = Span(span.worker, span.doing, last.start, max(last.end, span.end), text)
        else:
            found.append(span)
    return found


def _add_spans(drawing: Drawing, spans: list[Span], doing: str, colour: str, *, origin: float, unit_s: float) -> None:
    drawing.add(
        "bar",
        y=[span.worker for span in spans],
        x=[(span.end - span.start) / unit_s for span in spans],
        base=[(span.start - origin) / unit_s for span in spans],
        orientation="h",
        name=doing,
        showlegend=bool(spans),
        marker={"color": colour, "line": {"width": 0.5 if len(spans) < CROWDED else 0, "color": "white"}},
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
