"""A swarm of toys: the real brain, repository, ledger, supervisor and records, around programs that need no torch.

Workers are forks of the test, so that one costs milliseconds and can be killed by the hundred. What a trial does is a
file that it writes; what it scores is a constant.
"""

import json
import os
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from factories.records import score, study_opened
from factories.settings import run_settings
from fakes.git_repository import GitRepository, make_repository
from fakes.steady_probe import RAM, SteadyProbe

from swarm.admission import AdmissionController, Lease, Request
from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.errors import StaleSnapshot, TrialError
from swarm.execution.executor import Outcome, Progress, Started, TrialOrder
from swarm.execution.runner import Interruption, TrialRunner
from swarm.gpu import HostLimits
from swarm.records import Budget, FailReason, Operator, ProposalClaimed, Record
from swarm.repo import Repo, trial_ref
from swarm.study.state import BrainState, StudyState, Trial
from swarm.supervisor import PhaseSpec, Running, TrialResult, TrialSpec, attach, kill_leftovers, launch
from swarm.trial.contract import harness_sha256
from swarm.trial.folder import TrialFolder

STUDY = "toy"
EDITABLE = "models/toy/train.py"
LIMITS = HostLimits(cpu_slots=8, ram_mib=64_000)
MEMORY_MIB = 6_000  # two fit
LOSSES_ALLOWED = 2

TOY_PHASE = """
import os, time
with open("ran", "a") as file:
    file.write("once\\n")
time.sleep(0.05)
"""


class QuickClock(SystemClock):
    """Nobody here waits for longer than a moment."""

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))


@dataclass
class ToyTrial:
    """As the trial of a real executor: queue, lease, process tree, and once more when its supervisor was killed."""

    executor: "ToyExecutor"
    order: TrialOrder
    running: Running | None = None
    lease: Lease | None = None
    losses: int = 0
    outcome: Outcome | None = None

    def poll(self) -> Progress | Outcome:
        if self.outcome is not None:
            return self.outcome
        if self.running is None:
            self._start()
            return Progress(state="running", started=self._started())
        try:
            result = self.running.poll()
        except TrialError:
            return self._lost()
        if result is None:
            return Progress(state="running", started=self._started())
        return self._end(result)

    def stop(self, reason: str) -> None:
        if self.running is not None:
            self.running.stop(reason)

    def detach(self) -> None:
        if self.lease is not None:
            self.lease.leave_to_trial()

    def _start(self) -> None:
        request = Request(self.order.agent_id, self.order.trial_id, STUDY, 20.0, memory_mib=MEMORY_MIB)
        ticket = self.executor.admission.request(request)
        while (lease := ticket.poll()) is None:
            time.sleep(0.01)
        ticket.withdraw()
        self.lease = lease
        self.running = self.executor.launch(self.order, lease)

    def _lost(self) -> Progress | Outcome:
        kill_leftovers(self.executor.folder(self.order.trial_id).root)
        self._release()
        self.running, self.losses = None, self.losses + 1
        if self.losses <= LOSSES_ALLOWED:
            return Progress(state="waiting", why="its supervisor was killed")
        self.outcome = Outcome(reason=FailReason.ABANDONED, detail="its supervisor was killed again and again")
        return self.outcome

    def _end(self, result: TrialResult) -> Outcome:
        self._release()
        failed = next((phase for phase in result.phases if phase.ending != "ok"), None)
        if failed is None:
            self.outcome = Outcome(score=score(4.0), started=self._started())
        else:
            self.outcome = Outcome(reason=FailReason.CRASHED, detail=failed.detail or "killed", started=self._started())
        return self.outcome

    def _release(self) -> None:
        if self.lease is not None:
            self.lease.release()
            self.lease = None

    def _started(self) -> Started:
        return Started(attempt=1, lease_id="toy", device_uuid=RAM.uuid, reservation_mib=MEMORY_MIB, alone=False)


@dataclass
class ToyExecutor:
    trials: Path
    modules: Path
    admission: AdmissionController

    def submit(self, order: TrialOrder) -> ToyTrial:
        return ToyTrial(self, order)

    def adopt(self, trial_id: str) -> ToyTrial | None:
        folder = self.folder(trial_id)
        running = attach(folder.root)
        try:
            order = TrialOrder.model_validate_json(folder.order.read_bytes())
        except (OSError, ValueError):
            running = None
        if running is None:
            kill_leftovers(folder.root)
            return None
        return ToyTrial(self, order, running)

    def losses(self, trial_id: str) -> None:
        return None

    def drop_weights(self, trial_id: str) -> None:
        pass

    def folder(self, trial_id: str) -> TrialFolder:
        return TrialFolder(self.trials / trial_id)

    def launch(self, order: TrialOrder, lease: Lease) -> Running:
        folder = self.folder(order.trial_id)
        if folder.root.exists():
            kill_leftovers(folder.root)
            folder.remove()
        folder.make()
        folder.order.write_text(order.model_dump_json())
        phases = tuple(
            PhaseSpec(
                name=name, module="toy_phase", trusted=True, walltime_limit_s=10.0, holds_lease=True,
                read=(str(self.modules),),
            )
            for name in ("train", "predict")
        )  # fmt: skip
        spec = TrialSpec(
            STUDY, order.trial_id, str(folder.root), phases, pythonpath=(str(self.modules),), term_grace_s=0.3
        )
        try:
            running = launch(spec, lease.lock_fd)
        except TrialError:
            lease.release()
            raise
        with suppress(ProcessLookupError):
            if running.pid is not None:
                lease.bind(running.pid)
        return running


@dataclass
class ToySwarm:
    """Everything that its workers share: one folder."""

    folder: Path
    repo: GitRepository = field(init=False)
    base: str = field(init=False)

    def __post_init__(self) -> None:
        self.repo = make_repository(self.folder / "repo")
        self.repo.write(".gitignore", ".swarm/\nswarm_brain.*\n")
        self.base = self.repo.commit("ignore what is ours")
        self.modules.mkdir()
        (self.modules / "toy_phase.py").write_text(TOY_PHASE)
        self.trials.mkdir(parents=True)
        self.new_brain().append(study_opened(study_id=STUDY, target="toy", base_commit=self.base))

    @property
    def brain(self) -> Path:
        return self.repo.root / "swarm_brain.jsonl"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def modules(self) -> Path:
        return self.folder / "modules"

    @property
    def trials(self) -> Path:
        return self.repo.root / ".swarm" / "trials" / STUDY

    def new_brain(self) -> Brain:
        return Brain(self.brain)

    def study(self) -> StudyState:
        return self.new_brain().snapshot().studies[STUDY]

    def admission(self) -> AdmissionController:
        return AdmissionController(self.ledger, SteadyProbe(RAM), QuickClock(), LIMITS)

    def start(
        self,
        agent_id: str,
        acknowledged: int,
        *,
        trials: int | None = None,
        failpoint: str = "",
        latch: Path | None = None,
    ) -> int:
        """A worker in a fork; its pid. Ids of endings that it knows to be written go to the pipe `acknowledged`.

        It ends what it finds unfinished of its own; then it goes on until it is killed, or has added `trials`. Its
        supervisors have the failpoint too, and whoever makes the file `latch` first dies there."""
        pid = os.fork()
        if pid == 0:
            self._work(agent_id, acknowledged, trials, failpoint, latch)
        return pid

    def _work(
        self, agent_id: str, acknowledged: int, trials: int | None, failpoint: str, latch: Path | None
    ) -> NoReturn:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            log = os.open(self.folder / f"{agent_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.pop("SWARM_FAILPOINT", None)
            worker = _ToyWorker(self, agent_id)
            if failpoint:
                os.environ["SWARM_FAILPOINT"] = failpoint
                os.environ["SWARM_FAILPOINT_LATCH"] = str(latch)
            for trial in worker.unfinished():
                worker.settle(trial)
                os.write(acknowledged, f"{trial.trial_id}\n".encode())
            done = 0
            while trials is None or done < trials:
                os.write(acknowledged, f"{worker.run()}\n".encode())
                done += 1
            code = 0
        except BaseException:  # noqa: BLE001 - the border of the process: what it was stands in its log
            traceback.print_exc()
        finally:
            os._exit(code)


class _ToyWorker:
    def __init__(self, swarm: ToySwarm, agent_id: str) -> None:
        self.swarm, self.agent_id = swarm, agent_id
        self.brain = swarm.new_brain()
        self.repo = Repo.open(swarm.repo.root)
        executor = ToyExecutor(swarm.trials, swarm.modules, swarm.admission())
        settings = run_settings(
            swarm.repo.root,
            study_id=STUDY,
            base_commit=swarm.base,
            target="toy",
            budget=Budget(kind="samples", amount=1, walltime_limit_s=10),
            harness_sha256=harness_sha256(),
            early_stop=False,
        )
        never = Interruption(stop_reason=lambda: None, leave=lambda: False)
        self.runner = TrialRunner(settings, agent_id, self.brain, self._files, executor, never, QuickClock())

    def unfinished(self) -> list[Trial]:
        return self.brain.snapshot().studies[STUDY].open_trials(self.agent_id)

    def settle(self, trial: Trial) -> None:
        self.runner.settle(trial, self.repo.refs(STUDY).get(trial.trial_id))

    def run(self) -> str:
        """One more trial, from its claim to its ending; its id."""
        trial = self._claim()
        commit = self.repo.commit_change(
            self.swarm.base, {EDITABLE: f"# {trial.trial_id}\n"}, trial.trial_id, trial_ref(STUDY, trial.trial_id)
        )
        self.runner.run(trial, commit)
        return trial.trial_id

    def _files(self, commit: str) -> dict[str, bytes]:
        return {"train.py": self.repo.read(commit, EDITABLE).encode()}

    def _claim(self) -> Trial:
        while True:
            with suppress(StaleSnapshot):
                (written,) = self.brain.transact(self._next_claim)
                assert isinstance(written, ProposalClaimed)
                return self.brain.snapshot().studies[STUDY].trials[written.trial_id]

    def _next_claim(self, state: BrainState) -> list[Record]:
        first = not state.studies[STUDY].trials
        number = len(state.studies[STUDY].trials) + 1
        return [
            ProposalClaimed(
                agent_id=self.agent_id,
                study_id=STUDY,
                description=f"toy {number}",
                operator=Operator.BASELINE if first else Operator.TUNE,
                family="optimiser",
                parent=None if first else "t0001",
                tree_sha256=f"{number:064d}",
                seed=number,
                read_seq=state.seq,
                proposer="toy",
            )
        ]


def supervisors(swarm: ToySwarm) -> list[int]:
    """Pids of the living supervisors of trials that have not ended."""
    found = []
    for trial in swarm.study().open_trials():
        with suppress(OSError, ValueError):
            pid = int(json.loads(TrialFolder(swarm.trials / trial.trial_id).supervisor.read_text())["pid"])
            if Path(f"/proc/{pid}").exists():
                found.append(pid)
    return found


def phases(swarm: ToySwarm) -> list[int]:
    """Children of those supervisors."""
    found = []
    for pid in supervisors(swarm):
        with suppress(OSError):
            found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found
