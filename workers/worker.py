"""One worker: everything it works with, and the steps of its loop.

`workers.loop` puts the steps in order. The rules are elsewhere: what is owed next in `dispatch`, what may run in
`swarm.gate`, what a result means in `swarm.verdict`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from filelock import FileLock, Timeout

from swarm.admission import AdmissionController, default_root
from swarm.brain import Brain
from swarm.brain.room import require_room
from swarm.clock import Clock, SystemClock
from swarm.errors import BrainError, Escaped, SwarmError, contained
from swarm.execution.executor import Executor
from swarm.execution.local import LocalExecutor
from swarm.execution.prepared import with_prepared
from swarm.execution.runner import Interruption, TrialRunner
from swarm.gpu import detect_probe
from swarm.nodes.remote import RemoteExecutor
from swarm.orchestrator.ending import end_trials
from swarm.records import MAX_DESCRIPTION, Note
from swarm.repo import Repo
from swarm.repo.secret import trial_files
from swarm.study.hands import deaths, in_hands_of
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState, Trial
from swarm.verdict.finals import Run
from swarm.verdict.merges import Merge
from workers.claims import baseline_claim, finals_claim, replicate_claim
from workers.dispatch import DIAGNOSIS, Assignment, Propose, choose, diagnosis_due
from workers.drafts import Sources
from workers.finals import Finals
from workers.proposing import Proposing
from workers.session import Session

OPEN_TRIALS_PAUSE_S = 2.0  # while every arm is out of proposals
STUMBLES = 20  # turns in a row that came to nothing because something broke
LONGEST_STUMBLE_PAUSE_S = 60.0
BASELINE_FAILURES = 3
DEATHS_ALLOWED = 2
AGENT_LOCK_TIMEOUT_S = 60.0


class Worker:
    """One worker of one study. `secrets` are the keys that its proposers may need."""

    def __init__(self, settings: RunSettings, agent_id: str, clock: Clock, secrets: Mapping[str, str]) -> None:
        self.settings = settings
        self.agent_id = agent_id
        self._repo = Repo.open(settings.root)
        kept = self._repo.kept_brain(settings.brain)
        self._session = session = Session(settings, agent_id, Brain(settings.brain, clock=clock, kept=kept), clock)
        self._sources = Sources(settings, self._repo)
        self._admission, self._device_mib = _own_device(settings, clock)
        background = Session(settings, agent_id, Brain(settings.brain, clock=clock, kept=kept), clock)
        self.proposing = Proposing(session, background, self._repo, self._sources, secrets, self._device_mib)
        self._base_source = self._sources.of_commit(settings.base_commit)
        self._stumbles = 0
        executor = _executor(settings, self._admission, clock, secrets)
        self._finals = Finals(session, executor.losses)
        self._runner = TrialRunner(
            settings,
            agent_id,
            session.brain,
            lambda commit: with_prepared(trial_files(self._repo, settings, commit), settings),
            executor,
            Interruption(stop_reason=session.stop_reason, leave=session.orphaned),
            clock,
        )

    def start(self) -> None:
        self._session.status("started", f"{self.agent_id} proposes with {self.proposing.announced()}")

    def close(self) -> None:
        self.proposing.clear()
        self._session.status("stopped", f"{self.agent_id} is done")

    def unfinished(self) -> list[Trial]:
        """Trials that an earlier process of this worker claimed and did not end; the first worker also takes those of
        workers that this run does not have."""
        return in_hands_of(self._session.study(), self.agent_id)

    def settle(self, trial: Trial) -> None:
        """Adopt, collect, run again or give up a trial that an earlier process left unfinished. One that took its
        worker with it twice may do so again: it is ended, and the worker goes on with something else."""
        if (died := deaths(self._session.study(), trial)) >= DEATHS_ALLOWED:
            why = f"its worker died {died} times while it had this trial, so it is not run again"
            end_trials(self.settings, self._session.brain, [trial], why)
            return
        self._runner.settle(trial, self._known_commit(trial))

    def may_start(self) -> bool:
        """Whether one more trial may begin. Raises DiskFull without room for it, NoCardLeft when every card is lost,
        SwarmError when the baseline does not work."""
        study = self._session.study()
        if not self._session.has_room(study):
            return False
        require_room(self.settings.root)
        if self._admission is not None:
            self._admission.require_card()
        self._require_working_baseline(study)
        return True

    def next_assignment(self) -> Assignment | None:
        """What is owed now; None when there is no room any more: the search has had its trials, or every arm is out of
        proposals for good and nothing that runs can change that, and the finals have ended."""
        while True:
            study = self._session.study()
            assignment, may_come = self._in_the_search(study) if self._session.may_search(study) else (None, False)
            if assignment is None and not may_come:
                assignment, may_come = self._finals.next()
            if assignment is not None or not may_come or not self._session.has_room(study):
                break
            self._session.clock.sleep(OPEN_TRIALS_PAUSE_S)
        if isinstance(assignment, Propose) and assignment.diagnosis is not None:
            self._write_diagnosis(assignment.diagnosis)
        return assignment

    def _in_the_search(self, study: StudyState) -> tuple[Assignment | None, bool]:
        """What is owed, and whether something may come of what runs or rests now."""
        assignment = choose(
            study,
            agent_id=self.agent_id,
            arms=self.proposing.arms(),
            device_mib=self._device_mib,
            merges=self.proposing.may_merge,
        )
        if isinstance(assignment, Propose) and self.proposing.is_dry(study):
            assignment = None
        return assignment, bool(study.open_trials()) or self.proposing.will_wake()

    def claim_baseline(self) -> Trial:
        return self._session.claim(lambda state: baseline_claim(state, self.settings, self.agent_id, self._base_source))

    def claim_replicate(self, program: str) -> Trial:
        return self._session.claim(lambda state: replicate_claim(state, self.settings, self.agent_id, program))

    def claim_merge(self, merge: Merge) -> Trial | None:
        """The trial of two changes in one program, or None, recorded, when they do not combine. Raises StaleSnapshot
        when the incumbent has moved meanwhile."""
        return self.proposing.claim_merge(merge)

    def claim_finals_run(self, run: Run) -> Trial:
        return self._session.claim(lambda state: finals_claim(state, self.settings, self.agent_id, run))

    def claim_proposal(self, assignment: Propose) -> Trial | None:
        """The trial of a new program, or None when none came of it. Raises StaleSnapshot when the study is full."""
        return self.proposing.claim(assignment)

    def prepare_next(self) -> None:
        """Let a model think about the next proposal while the trial that was just claimed trains. Where that cannot
        even begin, the trial comes first."""
        if self._session.may_search(self._session.study()):
            contained(self.proposing.prepare, passing=(BrainError,))

    def run(self, trial: Trial) -> None:
        commit = self._sources.commit_of(self._session.study(), trial.claim.program)
        self._runner.run(trial, commit)
        self._stumbles = 0

    def stumbled(self, escaped: Escaped) -> None:
        """A turn broke: says so, gives up what it had in hand, and waits before the next one, longer each time in a
        row. Raises SwarmError after STUMBLES of them, and DiskFull where that is what broke it."""
        require_room(self._session.settings.root)
        self._stumbles += 1
        for trial in self.unfinished():
            self._runner.give_up(trial, f"its worker could not go on: {escaped.text}")
        if self._stumbles >= STUMBLES:
            raise SwarmError(f"{self._stumbles} turns in a row broke, the last with {escaped.text}") from escaped.error
        self._session.status("cooling", f"a turn broke: {escaped.text}")
        until = self._session.clock.monotonic() + min(LONGEST_STUMBLE_PAUSE_S, 2.0 ** (self._stumbles - 1))
        while self._session.clock.monotonic() < until and self._session.has_room(self._session.study()):
            self._session.clock.sleep(min(1.0, until - self._session.clock.monotonic()))

    def _write_diagnosis(self, text: str) -> None:
        """A note in the brain, once for every five proposals without a new leader."""
        note = Note(
            agent_id=self.agent_id,
            study_id=self.settings.study_id,
            topic=DIAGNOSIS,
            description=text[:MAX_DESCRIPTION],
            detail=text,
        )
        self._session.brain.transact(lambda state: [note] if diagnosis_due(state.studies[note.study_id]) else [])

    def _known_commit(self, trial: Trial) -> str | None:
        """The commit of a trial's program; None if it was claimed and its author died before the commit."""
        study = self._session.study()
        return self._sources.known_commit(study, study.program_of(trial.trial_id))

    def _require_working_baseline(self, study: StudyState) -> None:
        baseline = study.baseline
        if baseline is None or baseline.costs:
            return
        failed = [trial.finished for trial in baseline.trials if trial.finished is not None]
        if len(failed) >= BASELINE_FAILURES:
            raise SwarmError(
                f"the unchanged program failed {len(failed)} times, so there is nothing to improve on. "
                f"Last: {failed[-1].reason}: {failed[-1].detail}"
            )


def _own_device(settings: RunSettings, clock: Clock) -> tuple[AdmissionController | None, int | None]:
    """Who admits to this machine's devices, and how much memory the largest card has; neither where trials run on
    nodes, and on a CPU no number: RAM is not what runs short there."""
    if settings.on_nodes:
        return None, None
    probe = detect_probe(settings.device)
    mine = (reading for reading in probe.read() if not settings.cards or reading.uuid in settings.cards)
    largest_mib = max((reading.total_mib for reading in mine), default=None) if settings.device == "cuda" else None
    return AdmissionController(default_root(), probe, clock, cards=settings.cards), largest_mib


def _executor(
    settings: RunSettings, admission: AdmissionController | None, clock: Clock, secrets: Mapping[str, str]
) -> Executor:
    if admission is None:
        return RemoteExecutor(settings.layout, settings.study_id, clock)
    zygote = settings.layout.zygote_socket if settings.start_up == "zygote" else None
    trials = settings.layout.trials(settings.study_id)
    return LocalExecutor(trials, settings.data_dir, admission, clock, zygote=zygote, secrets=secrets)


@contextmanager
def open_worker(settings: RunSettings, agent_id: str, secrets: Mapping[str, str]) -> Iterator[Worker]:
    """The worker with this name, started and closed. Raises SwarmError while another process has the name."""
    lock = FileLock(settings.layout.study(settings.study_id) / f"{agent_id}.lock", fallback_to_soft=False)
    try:
        lock.acquire(timeout=AGENT_LOCK_TIMEOUT_S)
    except Timeout:
        raise SwarmError(f"another process is {agent_id} already; stop it first") from None
    try:
        worker = Worker(settings, agent_id, SystemClock(), secrets)
        worker.start()
        yield worker
        worker.close()
    finally:
        lock.release()
