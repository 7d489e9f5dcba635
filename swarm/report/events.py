"""What happened in a study, as one line each: for the log, the terminal and the page. Pure."""

from dataclasses import dataclass

from swarm.records import Steer, TrialState, one_line
from swarm.study.options import UNLIMITED
from swarm.study.state import StudyState, Trial
from swarm.verdict.standing import changes, standing_of_trial


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, in one line. `at` is epoch seconds; order is by `seq`."""

    seq: int
    at: float
    text: str


class Events:
    """What happened in a study, each thing told once. Feed it the same growing state again and again."""

    def __init__(self) -> None:
        self._claimed = 0
        self._finished: set[str] = set()
        self._judged = 0
        self._rejections = 0
        self._notes = 0
        self._steers = 0
        self._restarts: dict[str, int] = {}
        self._stopped: set[int] = set()

    def fresh(self, study: StudyState) -> list[Event]:
        """What is new since the last call, in the order of the brain."""
        events: list[Event] = []
        trials = list(study.trials.values())
        for trial in trials[self._claimed :]:
            claim = trial.claim
            events.append(Event(claim.seq, claim.at, f"{claim.agent_id} {trial.trial_id} begins: {claim.description}"))
        self._claimed = len(trials)
        for trial in trials:
            if trial.finished is not None and trial.trial_id not in self._finished:
                self._finished.add(trial.trial_id)
                events.append(Event(trial.finished.seq, trial.finished.at, _ending(study, trial)))
        told = [change for change in changes(study) if change.seq > self._judged]
        events.extend(Event(one.seq, one.at, f"  {one.program} {one.standing}: {one.why}") for one in told)
        self._judged = told[-1].seq if told else self._judged
        for refused in study.rejections[self._rejections :]:
            text = f"{refused.agent_id} proposal refused ({refused.code}): {one_line(refused.detail, 160)}"
            events.append(Event(refused.seq, refused.at, text))
        self._rejections = len(study.rejections)
        events.extend(Event(note.seq, note.at, f"  note: {note.description}") for note in study.notes[self._notes :])
        self._notes = len(study.notes)
        said = study.steers[self._steers :]
        events.extend(Event(steer.seq, steer.at, f"{steer.agent_id} steers: {_word(steer)}") for steer in said)
        self._steers = len(study.steers)
        for agent_id, count in study.restarts.items():
            if count > self._restarts.get(agent_id, 0):
                self._restarts[agent_id] = count
                status = study.workers[agent_id]
                events.append(Event(status.seq, status.at, f"{agent_id} was restarted ({count} so far)"))
        for status in study.workers.values():
            if status.status == "stopped" and status.seq not in self._stopped:
                self._stopped.add(status.seq)
                events.append(Event(status.seq, status.at, status.description))
        return sorted(events, key=lambda event: (event.seq, event.at, event.text))


def _word(steer: Steer) -> str:
    """An end is told in hours from the moment at which it was given."""
    subject, value, number = steer.subject, steer.value, ""
    if steer.action == "budget":
        if subject == "deadline_at":
            subject, value = "hours", None if value is None else (value - steer.at) / 3600
        number = UNLIMITED if value is None else f"{value:.7g}"
    head = " ".join(filter(None, (steer.action, subject, number)))
    return ": ".join(filter(None, (head, steer.description)))


def _ending(study: StudyState, trial: Trial) -> str:
    finished = trial.finished
    assert finished is not None
    if trial.state is TrialState.COMPLETE and finished.score is not None:
        took = f" in {finished.resources.wall_s:.0f} s" if finished.resources and finished.resources.wall_s else ""
        flags = f" [{', '.join(finished.flags)}]" if finished.flags else ""
        top1 = f" top-1 {100 * finished.score.top1:.1f} %" if finished.score.top1 is not None else ""
        number = f"{study.objective.name} {study.objective.text(trial.cost)}"
        return f"{finished.agent_id} {trial.trial_id} {number}{top1}{took}{flags}"
    lines = finished.detail.splitlines()
    words = dict.fromkeys((standing_of_trial(study, trial), str(finished.reason)))
    return f"{finished.agent_id} {trial.trial_id} {': '.join([*words, *lines[:1]])}"
