"""The brain folded into what it means: studies, trials, programs, the incumbent.

`BrainState.apply` takes one record after the other, in the order of the file, and everything else is a question to
the result. Nothing here reads a file or a clock. Records that arrive twice (the same `id`) count once, so a writer
that died before its acknowledgement may send again.

Consumers treat a state as read-only; only `swarm.brain` applies records to it.
"""

import itertools
from collections.abc import Iterable

from swarm.records import (
    Decision,
    FinalsClosed,
    FinalsOpened,
    History,
    Note,
    Operator,
    ProposalClaimed,
    ProposalRejected,
    Record,
    Steer,
    StudyClosed,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    VerdictReached,
    WorkerStatus,
)
from swarm.study.limits import Limits
from swarm.study.trials import Program, Trial
from swarm.target.objective import Objective

__all__ = ["BrainState", "Program", "StudyState", "Trial", "lineage_after", "replay"]


class StudyState:
    """One study, as of the last record applied."""

    def __init__(self, opened: StudyOpened) -> None:
        self.opened = opened
        self.objective = Objective.of(opened.objective)
        self.limits = Limits.of(opened)  # as of now: a person may have changed them since
        self.trials: dict[str, Trial] = {}
        self.programs: dict[str, Program] = {}
        self.rejections: list[ProposalRejected] = []
        self.verdicts: list[VerdictReached] = []
        self.notes: list[Note] = []
        self.steers: list[Steer] = []
        self.vetoes: dict[str, Steer] = {}  # those in force, by family
        self.workers: dict[str, WorkerStatus] = {}
        self.restarts: dict[str, int] = {}
        self.crashes: list[WorkerStatus] = []
        self.closed: StudyClosed | None = None
        self.finals: list[FinalsOpened] = []
        self.finals_ends: dict[int, FinalsClosed] = {}
        self._lineage: tuple[str, ...] = ()

    @property
    def study_id(self) -> str:
        return self.opened.study_id

    @property
    def baseline(self) -> Program | None:
        return next(iter(self.programs.values()), None)

    @property
    def incumbent(self) -> Program | None:
        """What the workers build on: the newest standing leader, else the baseline."""
        return self.programs[self._lineage[-1]] if self._lineage else self.baseline

    @property
    def lineage(self) -> tuple[str, ...]:
        """Programs that led, oldest first, without those that were rolled back."""
        return self._lineage

    @property
    def next_trial_id(self) -> str:
        """The next free one, also where somebody has claimed a number ahead."""
        names = (f"t{number:04d}" for number in itertools.count(len(self.trials) + 1))
        return next(name for name in names if name not in self.trials)

    def open_trials(self, agent_id: str | None = None) -> list[Trial]:
        """Claimed and not ended, of one agent or of all."""
        return [
            trial
            for trial in self.trials.values()
            if trial.finished is None and agent_id in (None, trial.claim.agent_id)
        ]

    def finished_trials(self) -> list[Trial]:
        """In the order in which they ended."""
        done = [trial for trial in self.trials.values() if trial.finished is not None]
        return sorted(done, key=_ended_at)

    def program_of(self, trial_id: str) -> Program:
        """KeyError when the trial is not in this study."""
        return self.programs[self.trials[trial_id].claim.program]

    def ranked(self) -> list[Program]:
        """Programs with a result, lowest mean cost first."""
        return sorted((p for p in self.programs.values() if p.costs), key=_mean)

    def apply(self, record: Record) -> None:  # noqa: PLR0912 - one case a kind
        match record:
            case ProposalClaimed():
                self._claim(record)
            case TrialStarted():
                if trial := self.trials.get(record.trial_id):
                    trial.started = record
            case TrialFinished():
                trial = self.trials.get(record.trial_id)
                if trial is not None and trial.finished is None:
                    self._end(trial, record)
            case VerdictReached():
                self._conclude(record)
            case ProposalRejected():
                self.rejections.append(record)
            case WorkerStatus():
                self.workers[record.agent_id] = record
                self.crashes += [record] if record.status == "crashed" else []
                if record.status == "restarted":
                    self.restarts[record.agent_id] = self.restarts.get(record.agent_id, 0) + 1
            case Note():
                self.notes.append(record)
            case Steer():
                self._steer(record)
            case FinalsOpened():
                self.finals.append(record)
            case FinalsClosed():
                self.finals_ends.setdefault(record.number, record)
            case StudyClosed():
                self.closed = record
            case StudyOpened():
                self.opened, self.closed = record, None  # a resumed study: same id, new limits
                self.limits = Limits.of(record)
            case _:
                pass

    def _claim(self, claim: ProposalClaimed) -> None:
        if claim.trial_id in self.trials:
            return
        trial = Trial(claim, self.objective)
        self.trials[claim.trial_id] = trial
        parent = claim.parent if claim.operator != Operator.BASELINE else None
        program = self.programs.setdefault(claim.program, Program(claim.program, parent))
        program.trials.append(trial)

    def _end(self, trial: Trial, ending: TrialFinished) -> None:
        trial.finished = ending
        if (cost := trial.cost) is not None and not trial.claim.finals:
            self.programs[trial.claim.program].costs.append(cost)

    def _steer(self, steer: Steer) -> None:
        self.steers.append(steer)
        if steer.action == "veto":
            self.vetoes[steer.subject] = steer
        elif steer.action == "allow":
            self.vetoes.pop(steer.subject, None)
        self.limits = self.limits.after(steer)

    def _conclude(self, verdict: VerdictReached) -> None:
        program = self.programs.get(verdict.program)
        if program is None:  # nobody here wrote that
            return
        self.verdicts.append(verdict)
        program.verdict = verdict
        self._lineage = lineage_after(self._lineage, verdict)


class BrainState:
    """Every study in one file, the lines of the original format, and how far was read."""

    def __init__(self) -> None:
        self.seq = 0
        self.studies: dict[str, StudyState] = {}
        self.history: list[History] = []
        self.unknown_kinds: dict[str, int] = {}
        self._seen: set[str] = set()

    @property
    def newest(self) -> StudyState | None:
        return next(reversed(self.studies.values()), None)

    @property
    def latest(self) -> StudyState | None:
        """The last one that has a trial, not one that was begun by mistake; the newest when none has."""
        return next((study for study in reversed(self.studies.values()) if study.trials), self.newest)

    def study(self, study_id: str | None = None) -> StudyState | None:
        return self.latest if study_id is None else self.studies.get(study_id)

    def seen(self, record_id: str) -> bool:
        return record_id in self._seen

    def apply(self, record: Record) -> None:
        self.seq = max(self.seq, record.seq)
        if record.id and record.id in self._seen:
            return
        self._seen.add(record.id)
        if isinstance(record, History):
            self.history.append(record)
        elif record.study_id in self.studies:
            self.studies[record.study_id].apply(record)
        elif isinstance(record, StudyOpened):
            self.studies[record.study_id] = StudyState(record)
        else:
            self.unknown_kinds[record.kind] = self.unknown_kinds.get(record.kind, 0) + 1


def lineage_after(lineage: tuple[str, ...], verdict: VerdictReached) -> tuple[str, ...]:
    """The programs that led, oldest first, after one more verdict: a new leader joins, one that is discarded leaves."""
    if verdict.leads and verdict.program not in lineage:
        return (*lineage, verdict.program)
    if verdict.decision == Decision.DISCARD:
        return tuple(name for name in lineage if name != verdict.program)
    return lineage


def replay(records: Iterable[Record]) -> BrainState:
    state = BrainState()
    for record in records:
        state.apply(record)
    return state


def _ended_at(trial: Trial) -> int:
    assert trial.finished is not None
    return trial.finished.seq


def _mean(program: Program) -> float:
    assert program.mean is not None
    return program.mean
