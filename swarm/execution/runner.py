"""One trial with its records: order, executor, outcome, verdict.

A claimed trial gets exactly one ending. The ending's id is a function of the study and the trial, so that one sent
twice counts once; a process that died half-way is followed by another that adopts the running trial, collects a
finished one, or runs it again from its commit.

A trial's border is total. Whatever is raised while it is laid out, run, followed or judged ends that trial with a
record that has the class and the text, and the study goes on after a pause that grows while such failures come in a
row. Only the brain may fail the worker: then there is nowhere to write.
"""

from collections.abc import Callable
from dataclasses import dataclass

from swarm import verdict
from swarm.brain import Brain
from swarm.brain.room import require_room, shortage
from swarm.clock import Clock
from swarm.errors import BrainError, Escaped, contained
from swarm.execution.executor import Executor, Outcome, Progress, RunningTrial, TrialOrder
from swarm.execution.memory import evidence_of
from swarm.execution.trial_records import TrialRecords
from swarm.failpoints import failpoint
from swarm.records import Decision, FailReason, Record, VerdictReached
from swarm.study.settings import RunSettings
from swarm.study.state import BrainState, Program, Trial
from swarm.verdict import early_stop

POLL_S = 0.1
STOP_LIMIT_S = 60.0  # for the end of a trial that nobody can follow any more
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # after a trial that broke; doubled for each in a row


class Walkaway(Exception):
    """The orchestrator has gone. The trial runs on under its supervisor; whoever resumes the study adopts it."""


@dataclass(frozen=True)
class Interruption:
    """Asked between polls. `stop_reason` ends a running trial with a record; `leave` walks away and lets it run."""

    stop_reason: Callable[[], str | None]
    leave: Callable[[], bool]


class TrialRunner:
    """Runs the trials of one worker, one at a time, and writes their records."""

    def __init__(
        self,
        settings: RunSettings,
        agent_id: str,
        brain: Brain,
        files: Callable[[str], dict[str, bytes]],
        executor: Executor,
        interruption: Interruption,
        clock: Clock,
    ) -> None:
        """`files` reads the target's folder as it is in a commit."""
        self._settings = settings
        self._agent_id = agent_id
        self._brain = brain
        self._files = files
        self._executor = executor
        self._interruption = interruption
        self._clock = clock
        self._records = TrialRecords(settings, agent_id, brain)
        self._broken = 0  # trials in a row

    def run(self, trial: Trial, commit: str) -> None:
        """From the order to the verdict. Raises Walkaway, and BrainError when the brain fails."""
        self._end(trial, commit, lambda: self._executor.submit(self._order(trial, commit)))

    def settle(self, trial: Trial, commit: str | None) -> None:
        """End a trial that an earlier process began: collect it, or run it again, or give it up. Raises as `run`."""

        def begin() -> RunningTrial | None:
            running = self._executor.adopt(trial.trial_id)
            if running is not None or commit is None:
                return running
            return self._executor.submit(self._order(trial, commit))

        self._end(trial, commit, begin)

    def give_up(self, trial: Trial, why: str) -> None:
        """End a trial that will never run."""
        self._records.end(trial, None, Outcome(reason=FailReason.ABANDONED, detail=why), audited=False)

    def _end(self, trial: Trial, commit: str | None, begin: Callable[[], RunningTrial | None]) -> None:
        """From its begin to its verdict, whatever happens."""
        running = contained(begin, passing=(BrainError,))
        if running is None:
            return self.give_up(trial, "its worker died before it committed the program")
        if isinstance(running, Escaped):
            return self._break_off(trial, commit, running)
        followed = contained(lambda: self._follow(running, trial, commit), passing=(Walkaway, BrainError))
        if isinstance(followed, Escaped):
            contained(lambda: self._stop(running, followed.text))
            return self._break_off(trial, commit, followed)
        self._broken = 0
        outcome, audited = followed
        if outcome.reason in (FailReason.CRASHED, FailReason.INVALID_OUTPUT):
            self._require_room(trial)
        # It may have been over before anybody looked.
        contained(lambda: self._records.start(trial, outcome.started, commit), passing=(BrainError,))
        failpoint("ending.before_record")
        self._records.end(trial, commit, outcome, audited=audited)
        failpoint("ending.after_record")
        judged = contained(lambda: self.judge(trial.trial_id), passing=(BrainError,))
        failpoint("ending.after_verdict")
        if isinstance(judged, Escaped):
            self._records.trouble(trial, f"{trial.trial_id} has no verdict: {judged.text}")
        return None

    def _break_off(self, trial: Trial, commit: str | None, escaped: Escaped) -> None:
        """The record of a trial that broke on the machine and not by itself, and a pause: a full disk may have room
        again, and a night is not spent on breaking one trial after the other."""
        self._require_room(trial)
        detail = f"the trial could not go on: {escaped.text}"
        self._records.end(trial, commit, Outcome(reason=FailReason.ABANDONED, detail=detail), audited=False)
        until = self._clock.monotonic() + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._broken, 10))
        self._broken += 1
        while self._clock.monotonic() < until and not self._interruption.leave():
            if self._interruption.stop_reason() is not None:
                return
            self._clock.sleep(POLL_S)

    def _stop(self, running: RunningTrial, why: str) -> None:
        """The end of a trial that runs on although nobody can follow it."""
        running.stop(why)
        until = self._clock.monotonic() + STOP_LIMIT_S
        while isinstance(running.poll(), Progress) and self._clock.monotonic() < until:
            self._clock.sleep(POLL_S)

    def judge(self, trial_id: str) -> None:
        """Record every verdict that a finished trial leads to, once."""
        study = self._records.study()
        program = study.program_of(trial_id)
        reference = verdict.reference(study, program)
        mine, theirs = self._losses(program), self._losses(reference) if reference else []
        paired = verdict.paired_difference(mine, theirs) if mine and theirs else None
        before = study.incumbent.name if study.incumbent else ""

        def conclude(state: BrainState) -> list[Record]:
            reached = verdict.conclude(state.studies[self._settings.study_id], trial_id, paired)
            return [self._records.signed(item, trial_id) for item in reached]

        for record in self._brain.transact(conclude):
            if isinstance(record, VerdictReached) and record.decision is Decision.DISCARD:
                self._drop_weights(record.program)
        self._records.announce_incumbent(before)

    def _order(self, trial: Trial, commit: str) -> TrialOrder:
        settings, claim = self._settings, trial.claim
        return TrialOrder(
            study_id=settings.study_id,
            trial_id=trial.trial_id,
            agent_id=self._agent_id,
            target=settings.target,
            files=self._files(commit),
            editable=settings.editable,
            terms=settings.terms,
            grading=settings.grading,
            seed=claim.seed,
            budget=settings.budget,
            rungs=early_stop.RUNGS if settings.early_stop else (),
            device=settings.device,
            threads=settings.threads,
            alone=settings.gpu_mode == "exclusive",
            sandbox=settings.sandbox,
            harness=settings.harness,
            harness_sha256=settings.harness_sha256,
            memory=evidence_of(claim, self._records.study(), settings),
        )

    def _follow(self, running: RunningTrial, trial: Trial, commit: str | None) -> tuple[Outcome, bool]:
        """To the outcome, and whether it was audited. On the way each state is told once, each rung judged once."""
        told, audited, judged = "", False, 0
        while isinstance(now := running.poll(), Progress):
            if self._interruption.leave():
                running.detach()
                raise Walkaway
            if (reason := self._interruption.stop_reason()) is not None:
                running.stop(reason)
            if (state := _state(now)) != told:
                told = state
                self._tell(trial, now, commit)
            for progress, loss in now.rungs[judged:]:
                judged += 1
                look = early_stop.look(self._records.study(), trial.trial_id, progress, loss, self._records.studies())
                audited |= look.action == "audit"
                if look.action == "stop" and not audited:
                    running.stop(f"pruned at {progress:.0%} of the budget: {look.why}")
            self._clock.sleep(POLL_S)
        return now, audited

    def _require_room(self, trial: Trial) -> None:
        """A trial that broke on a full disk says nothing about its program: it is forgotten, to be run again when there
        is room. One that has filled the disk itself is not; without its files there is room. Raises DiskFull."""
        if shortage(self._settings.root) is not None:
            self._settings.layout.trial(self._settings.study_id, trial.trial_id).remove()
            require_room(self._settings.root)

    def _tell(self, trial: Trial, now: Progress, commit: str | None) -> None:
        """What others may want to know about a trial that is on its way."""
        match now.state:
            case "waiting":
                self._records.status("waiting", now.why, trial.trial_id)
            case "probing":
                self._records.status("waiting", "three steps show how much memory it takes", trial.trial_id)
            case "running":
                self._records.start(trial, now.started, commit)
                self._records.status("training", trial.claim.description, trial.trial_id)

    def _losses(self, program: Program) -> list[list[float]]:
        """Costs item by item of its runs, as far as they left any."""
        cost, found = self._settings.objective.cost, (self._executor.losses(trial.trial_id) for trial in program.trials)
        return [[cost(value) for value in row] for row in found if row is not None]

    def _drop_weights(self, program: str) -> None:
        """Weights of what was discarded are in nobody's way but the disk's; those of the others are kept."""
        for trial in self._records.study().programs[program].trials:
            self._executor.drop_weights(trial.trial_id)


def _state(now: Progress) -> str:
    """What a reader of the brain is told once: a state, and which attempt runs."""
    return f"{now.state} {now.started.attempt if now.started else ''}"
