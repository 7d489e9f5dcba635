"""The supervising process of one trial: phases in order, a lease held as long as needed, one result at the end."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from swarm.errors import TrialError
from swarm.failpoints import failpoint
from swarm.sandbox.libc import PR_SET_CHILD_SUBREAPER, PR_SET_DUMPABLE, prctl
from swarm.sandbox.policy import SandboxReport
from swarm.supervisor import proc
from swarm.supervisor.cores import Cores
from swarm.supervisor.phase import PhaseOutcome, run_phase
from swarm.supervisor.spec import PhaseResult, TrialResult, TrialSpec
from swarm.supervisor.start import RunPhase, close_all_but
from swarm.supervisor.tree import block_signals, now
from swarm.trial.files import remove_tree, write_whole
from swarm.trial.folder import TrialFolder

WARM_LIMIT_S = 120
"""For the imports of a supervisor that warms itself. It ends without a result when they take longer."""


@dataclass(frozen=True)
class Identity:
    """T/supervisor.json. `deadline` is on the boot clock: by then the trial is over, hostile children included."""

    pid: int
    starttime: int
    boot_id: str
    deadline: float

    def to_json(self) -> str:
        return json.dumps(self.__dict__)


def supervise(
    spec: TrialSpec, lease_fd: int | None, warmed: Callable[[str], RunPhase | None] = lambda preload: None
) -> TrialResult:
    """Runs the trial in this process, which must be single-threaded and lead its own session. `warmed` makes it ready
    to fork phases, once it can be found; without that each phase starts an interpreter of its own.

    Writes T/supervisor.json first and T/result.json last, both atomically. Raises TrialError when there is a
    supervisor.json: a launcher that got no answer from a zygote in time spawns as well, and only one may run.
    `lease_fd` is closed after the last phase that holds it. When this returns or raises, no descendant of this process
    is alive.
    """
    folder = spec.trial_folder
    _prepare(folder, lease_fd)
    started_at, start = time.time(), now()
    _announce(spec, folder, start)
    in_fork = warmed(spec.preload)
    cores = Cores.take(Path(spec.cores_folder), spec.cores) if spec.cores else None
    outcomes = _run_phases(spec, start, lease_fd, in_fork, cores.numbers if cores is not None else frozenset())
    folder.drop_working_files()
    phases = tuple(outcome.result for outcome in outcomes)
    result = TrialResult(
        trial_id=spec.trial_id,
        phases=phases,
        sandbox=_weakest(spec, outcomes),
        started_at=started_at,
        ended_at=time.time(),
        stopped_reason=_stopped_reason(folder, phases),
    )
    failpoint("result.before_write")
    write_whole(folder.result, result.to_json(), durable=True)
    failpoint("result.after_write")
    if cores is not None:
        cores.close()
    return result


def _prepare(folder: TrialFolder, lease_fd: int | None) -> None:
    close_all_but({lease_fd} if lease_fd is not None else set())
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)  # its memory and descriptors are closed to its own user, candidates included
    block_signals()
    if lease_fd is not None:
        os.set_inheritable(lease_fd, False)
    folder.make()
    os.chdir(folder.root)


def _announce(spec: TrialSpec, folder: TrialFolder, start: float) -> None:
    own = proc.read(os.getpid())
    assert own is not None, "a process sees itself in /proc"
    longest = WARM_LIMIT_S + sum(phase.walltime_limit_s + spec.term_grace_s for phase in spec.phases)
    identity = Identity(own.pid, own.starttime, proc.boot_id(), start + longest)
    failpoint("supervisor.before_announce")
    folder.sessions.write_text(f"{own.session}\n")
    failpoint("supervisor.announcing")
    _claim(folder.supervisor, identity.to_json())
    failpoint("supervisor.after_announce")


def _run_phases(
    spec: TrialSpec, start: float, lease_fd: int | None, in_fork: RunPhase | None, cores: frozenset[int]
) -> list[PhaseOutcome]:
    """Until one fails. Between two phases no process of the first is alive."""
    outcomes: list[PhaseOutcome] = []
    for index, phase in enumerate(spec.phases):
        if lease_fd is not None and not any(later.holds_lease for later in spec.phases[index:]):
            os.close(lease_fd)
            lease_fd = None
        if phase.trusted:
            ended = [asdict(outcome.result) for outcome in outcomes]
            write_whole(spec.trial_folder.ended, json.dumps(ended))
        else:
            _clear_scratch(spec.trial_folder)
        outcome = run_phase(spec, phase, trial_start=start, lease_fd=lease_fd, in_fork=in_fork, cores=cores)
        outcomes.append(outcome)
        if outcome.result.ending != "ok" or outcome.immortal:
            break
    return outcomes


def _clear_scratch(folder: TrialFolder) -> None:
    """What one phase has left in its home is not there for the next."""
    remove_tree(folder.scratch)
    folder.make()


def _weakest(spec: TrialSpec, outcomes: list[PhaseOutcome]) -> SandboxReport:
    untrusted = {phase.name for phase in spec.phases if not phase.trusted}
    reports = [
        outcome.sandbox for outcome in outcomes if outcome.sandbox is not None and outcome.result.name in untrusted
    ]
    if not reports:
        return SandboxReport(level="none", detail="no untrusted phase was started")
    return min(reports, key=lambda report: report.strength)


def _stopped_reason(folder: TrialFolder, phases: tuple[PhaseResult, ...]) -> str | None:
    if not phases or phases[-1].ending != "stopped":
        return None
    try:
        return folder.stop_reason.read_text()
    except OSError:
        return "SIGTERM"


def _claim(path: Path, text: str) -> None:
    """A whole file under a name that nobody has taken yet."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    failpoint("claim.before_draft")
    temporary.write_text(text)
    failpoint("claim.drafted")
    try:
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise TrialError(f"{path} exists: this trial has been started before. Give it a new folder.") from error
    finally:
        failpoint("claim.after_link")
        temporary.unlink()
