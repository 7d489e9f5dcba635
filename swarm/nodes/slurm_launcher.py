"""`python -m swarm.nodes.slurm_launcher`: one long Slurm job a node, each with an agent that pulls trials.

Not one job a trial: a queue's wait is longer than a trial. Before a job's time is up, and when it is preempted, Slurm
sends SIGUSR2: the agent gives back what it runs, its processes are dead, and only then the job is queued again. What a
job asks for (partition, GPUs, time) is said by `SBATCH_*` variables, which sbatch prefers to the script.
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm.errors import contained

if TYPE_CHECKING:
    from submitit import AutoExecutor
    from submitit.helpers import DelayedSubmission

LOOK_EVERY_S = 5.0
POLL_S = 0.2
MINUTES = 8 * 60  # of a job whose SBATCH_TIMELIMIT says nothing
SIGNAL_S = 120  # before the end of its time: more than a drain takes
DRAIN_LIMIT_S = 60.0
REQUEUES = 1000  # a node may be queued again for as long as the study lasts
READY, END = "ready", b"end"


class SlurmAgent:
    """What a job runs: an agent in a process of its own, which is told to drain before the job is queued again."""

    def __init__(self, exchange: Path) -> None:
        self.exchange = exchange
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        command = [sys.executable, "-P", "-m", "swarm", "node", "run", "--join", str(self.exchange)]
        self._process = subprocess.Popen(command, start_new_session=True)
        while not _has_ended(self._process.pid):
            time.sleep(POLL_S)

    def checkpoint(self) -> "DelayedSubmission":
        """Called on SIGUSR2, in the midst of `__call__`: Popen's own waiting has a lock that might be held. When it
        returns nothing of this job's trials runs."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and not _has_ended(self._process.pid):
            os.kill(self._process.pid, signal.SIGUSR2)
            until = time.monotonic() + DRAIN_LIMIT_S
            while not _has_ended(self._process.pid) and time.monotonic() < until:
                time.sleep(POLL_S)
            if not _has_ended(self._process.pid):
                os.kill(self._process.pid, signal.SIGKILL)
        return DelayedSubmission(SlurmAgent(self.exchange))


def _has_ended(pid: int) -> bool:
    """Of a child; its exit code is left where it is."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def executor_in(folder: Path, cluster: str | None) -> "AutoExecutor":
    """`cluster` None is Slurm, which has to be there; `local` makes processes here. Raises RuntimeError."""
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=REQUEUES)
    executor.update_parameters(timeout_min=MINUTES, name="swarm-node")
    if executor.cluster == "slurm":
        executor.update_parameters(slurm_signal_delay_s=SIGNAL_S)
    return executor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m swarm.nodes.slurm_launcher", description=__doc__)
    parser.add_argument("--exchange", type=Path, required=True, help="address.json, on a file system that jobs see")
    parser.add_argument("--study", required=True)
    parser.add_argument("--slurm", type=int, default=1, metavar="N", help="jobs")
    parser.add_argument("--cluster", default="slurm", help="slurm, or local for processes on this machine")
    asked = parser.parse_args()
    executor = executor_in(asked.exchange.parent.parent / "slurm", asked.cluster)
    jobs: list[Any] = [executor.submit(SlurmAgent(asked.exchange)) for _ in range(asked.slurm)]
    print(READY, len(jobs), flush=True)
    while True:
        if select.select([sys.stdin.fileno()], [], [], LOOK_EVERY_S)[0]:
            break
        for number, job in enumerate(jobs):
            if job.done():  # a job that ended before the study did: its node is wanted
                jobs[number] = executor.submit(SlurmAgent(asked.exchange))
    if sys.stdin.buffer.readline().strip() == END:
        for job in jobs:
            contained(lambda one=job: one.wait() if asked.cluster == "local" else None)  # type: ignore[misc]
            contained(job.cancel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
