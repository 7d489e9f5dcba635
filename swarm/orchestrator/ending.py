"""The end of a study's processes: within seconds, whatever they do.

A worker is asked first; one that does not end by itself (it is stopped, waits for a model or a git that hangs) is
killed, its trials with it, and what it had claimed gets its ending here.
"""

import contextlib
from collections.abc import Iterable, Sequence

from swarm.brain import Brain
from swarm.clock import Clock
from swarm.errors import TrialError
from swarm.orchestrator.worker_process import WorkerProcess
from swarm.records import FailReason, TrialFinished, TrialState
from swarm.study.settings import RunSettings
from swarm.study.state import Trial
from swarm.supervisor import kill_leftovers

STOP_GRACE_S = 6.0  # a supervisor gives a trial 5 s
POLL_S = 0.1


def end_workers(processes: Sequence[WorkerProcess], clock: Clock, grace_s: float = STOP_GRACE_S) -> int:
    """Waits until they have ended, and kills those that have not within `grace_s`. How many had to be killed."""
    deadline = clock.monotonic() + grace_s
    while any(process.poll() is None for process in processes) and clock.monotonic() < deadline:
        clock.sleep(POLL_S)
    stuck = [process for process in processes if process.poll() is None]
    for process in stuck:
        process.kill()
    for process in stuck:
        process.wait()
    return len(stuck)


def end_trials(settings: RunSettings, brain: Brain, trials: Iterable[Trial], why: str) -> None:
    """Kills what runs of these open trials, which nobody follows any more, and records their endings."""
    ended = []
    for trial in trials:
        for folder in (trial.trial_id, f"{trial.trial_id}.probe"):
            with contextlib.suppress(TrialError, OSError):
                kill_leftovers(settings.layout.trial(settings.study_id, folder).root)
        ended.append(_abandoned(settings, trial, why))
    brain.append(*ended)


def _abandoned(settings: RunSettings, trial: Trial, why: str) -> TrialFinished:
    """The ending of a trial that nobody will end otherwise. Its id is that of any ending of the trial: one counts."""
    return TrialFinished(
        id=f"{settings.study_id}/{trial.trial_id}/finished",
        agent_id=trial.claim.agent_id,
        study_id=settings.study_id,
        description=trial.claim.description,
        trial_id=trial.trial_id,
        state=TrialState.FAILED,
        reason=FailReason.ABANDONED,
        detail=why[:2000],
        seed=trial.claim.seed,
        commit=trial.commit,
        harness_sha256=settings.harness_sha256,
    )
