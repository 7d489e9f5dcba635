"""Tables and lines for people. Takes a summary or a state, returns rich renderables or strings."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from swarm.records import TrialState, one_line
from swarm.report.summary import ProgramRow, StudySummary
from swarm.study.settings import Layout
from swarm.study.state import StudyState, Trial
from swarm.target.objective import Objective
from swarm.trial.heartbeat import read_beat
from swarm.verdict.standing import Standing, changes, standing_of_trial

COLOURS = {
    Standing.KEPT: "bold green",
    Standing.LEADING: "green",
    Standing.SUPERSEDED: "magenta",
    Standing.BASELINE: "cyan",
    Standing.DISCARDED: "dim",
    Standing.INCONCLUSIVE: "yellow",
}
TOP_ROWS = 10


def headline(summary: StudySummary) -> Text:
    """Two lines: what is studied, and where it stands."""
    text = Text()
    text.append(summary.study_id, style="bold")
    text.append(f"  {summary.device}, {summary.budget} a trial, ")
    if summary.data == "standin":
        text.append("stand-in data: says nothing about CIFAR-100", style="bold red")
    else:
        text.append(summary.data)
    wanted = f" of {summary.trials_wanted}" if summary.trials_wanted else ""
    failed = sum(summary.failed.values())
    text.append(f"\n{summary.trials}{wanted} trials: {summary.complete} complete, {summary.running} running")
    if failed:
        text.append(f", {failed} failed", style="red")
    if summary.refused:
        text.append(f", {sum(summary.refused.values())} proposals refused")
    text.append(f"; {summary.kept} kept")
    if summary.noise_sigma is not None:
        sigma = summary.objective.size(summary.noise_sigma)
        text.append(f"; noise floor {sigma} ({summary.noise_degrees} degrees of freedom)")
    else:
        text.append("; noise floor not measured yet")
    if summary.pruned:
        rate = summary.false_prune_rate
        text.append(f"; {summary.pruned} ended early" + (f", false-prune rate {rate:.0%}" if rate is not None else ""))
    if summary.vetoed:
        text.append(f"; vetoed: {', '.join(summary.vetoed)}")
    if summary.closed:
        text.append(f"; closed: {summary.closed}")
    return text


def ranking_table(summary: StudySummary, rows: int = TOP_ROWS) -> Table:
    """Programs by their means, best first."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name, justify in (("#", "right"), ("program", "left"), (summary.objective.name, "right"), ("n", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("vs base", "P(better)", "top-1"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("standing", no_wrap=True, min_width=len("inconclusive"))
    table.add_column("change", overflow="ellipsis", no_wrap=True, ratio=1)
    for row in summary.ranking[:rows]:
        cells = map(Text, _cells(row, summary.objective))  # Text: a proposal is no markup
        table.add_row(*cells, style=COLOURS.get(row.standing, ""))
    return table


def ranking_lines(summary: StudySummary, rows: int = TOP_ROWS) -> Iterator[str]:
    """The same as plain lines, for pipes and logs."""
    name = summary.objective.name
    head = ("rank", "program", name, "n", "vs base", "P(better)", "top-1", "standing", "change")
    for cells in (head, *(_cells(row, summary.objective) for row in summary.ranking[:rows])):
        rank, program, value, count, delta, better, top1, standing, change = cells
        yield (
            f"{rank:>4} {program:<8} {value:>{max(7, len(name))}} {count:>3} {delta:>8} {better:>10} {top1:>6}  "
            f"{standing:<12}  {change}"
        )


def live_view(study: StudyState, summary: StudySummary, layout: Layout) -> RenderableType:
    """What `swarm up` and `swarm status --watch` show while a study runs."""
    workers = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("worker", "state", "trial", "progress", "training loss", "what"):
        workers.add_column(name, overflow="ellipsis", no_wrap=True)
    for row in summary.workers:
        trial = study.trials.get(row.trial_id or "")
        view = running_view(study, trial, layout)
        state = row.status + (f" (restarted {row.restarts}x)" if row.restarts else "")
        workers.add_row(row.agent_id, state, row.trial_id or "", view.bar, view.loss, Text(view.what))
    return Group(headline(summary), Text(), workers, Text(), ranking_table(summary))


@dataclass(frozen=True)
class RunningView:
    bar: RenderableType = ""
    loss: str = ""
    what: str = ""


def running_view(study: StudyState, trial: Trial | None, layout: Layout) -> RunningView:
    """Progress of a worker's trial as its heartbeat tells it."""
    if trial is None or trial.finished is not None:
        return RunningView()
    progress = read_beat(layout.trial(study.study_id, trial.trial_id).heartbeat)
    if progress is None:
        return RunningView(what=trial.claim.description)
    bar = ProgressBar(total=1.0, completed=min(1.0, progress.progress), width=20)
    return RunningView(bar, f"{progress.loss:.3f}", trial.claim.description)


class EventLines:
    """The study as plain lines, each told once. Feed it the same growing state again and again."""

    def __init__(self) -> None:
        self._claimed = 0
        self._finished: set[str] = set()
        self._judged = 0
        self._rejections = 0
        self._notes = 0
        self._steers = 0
        self._restarts: dict[str, int] = {}
        self._stopped: set[int] = set()

    def fresh(self, study: StudyState) -> Iterator[str]:
        """Lines for what is new since the last call, in the order of the brain."""
        events: list[tuple[int, float, str]] = []
        trials = list(study.trials.values())
        for trial in trials[self._claimed :]:
            claim = trial.claim
            events.append((claim.seq, claim.at, f"{claim.agent_id} {trial.trial_id} begins: {claim.description}"))
        self._claimed = len(trials)
        for trial in trials:
            if trial.finished is not None and trial.trial_id not in self._finished:
                self._finished.add(trial.trial_id)
                events.append((trial.finished.seq, trial.finished.at, _ending(study, trial)))
        told = [change for change in changes(study) if change.seq > self._judged]
        events.extend((change.seq, change.at, f"  {change.program} {change.standing}: {change.why}") for change in told)
        self._judged = told[-1].seq if told else self._judged
        for refused in study.rejections[self._rejections :]:
            text = f"{refused.agent_id} proposal refused ({refused.code}): {one_line(refused.detail, 160)}"
            events.append((refused.seq, refused.at, text))
        self._rejections = len(study.rejections)
        events.extend((note.seq, note.at, f"  note: {note.description}") for note in study.notes[self._notes :])
        self._notes = len(study.notes)
        for steer in study.steers[self._steers :]:
            text = ": ".join(filter(None, (" ".join((steer.action, steer.subject)).strip(), steer.description)))
            events.append((steer.seq, steer.at, f"{steer.agent_id} steers: {text}"))
        self._steers = len(study.steers)
        for agent_id, count in study.restarts.items():
            if count > self._restarts.get(agent_id, 0):
                self._restarts[agent_id] = count
                status = study.workers[agent_id]
                events.append((status.seq, status.at, f"{agent_id} was restarted ({count} so far)"))
        for status in study.workers.values():
            if status.status == "stopped" and status.seq not in self._stopped:
                self._stopped.add(status.seq)
                events.append((status.seq, status.at, status.description))
        for _, at, text in sorted(events):
            yield f"{datetime.fromtimestamp(at):%H:%M:%S} {text}"


def _ending(study: StudyState, trial: Trial) -> str:
    finished = trial.finished
    assert finished is not None
    if trial.state is TrialState.COMPLETE and finished.score is not None:
        took = f" in {finished.resources.wall_s:.0f} s" if finished.resources and finished.resources.wall_s else ""
        flags = f" [{', '.join(finished.flags)}]" if finished.flags else ""
        return (
            f"{finished.agent_id} {trial.trial_id} {study.objective.name} {study.objective.text(trial.cost)} "
            f"top-1 {100 * finished.score.top1:.1f} %{took}{flags}"
        )
    lines = finished.detail.splitlines()
    words = dict.fromkeys((standing_of_trial(study, trial), str(finished.reason)))
    return f"{finished.agent_id} {trial.trial_id} {': '.join([*words, *lines[:1]])}"


def _cells(row: ProgramRow, objective: Objective) -> tuple[str, ...]:
    return (
        str(row.rank),
        row.program,
        objective.size(row.loss),
        str(row.replicates),
        objective.change(objective.cost(row.delta_baseline)) if row.delta_baseline is not None else "",
        f"{row.probability:.2f}" if row.probability is not None else "",
        f"{100 * row.top1:.1f}" if row.top1 is not None else "",
        row.standing,
        row.description,
    )
