"""`swarm stop`: tell a running study to end, and wait until it has."""

import time
from pathlib import Path

from swarm.errors import SwarmError
from swarm.orchestrator.control import Control, holder, orchestrator_runs, write_control
from swarm.repo import Repo
from swarm.study.options import require_between
from swarm.study.settings import Layout

MOST_S = 1_000_000.0


def stop_running(cwd: Path, *, now: bool, timeout_s: float) -> int:
    """0 when the study has ended or none was running; raises SwarmError when it has not ended in time."""
    require_between("--timeout", timeout_s, 0, MOST_S)
    layout = Layout(root=Repo.open(cwd).root)
    if not orchestrator_runs(layout):
        print("No study is running here.")
        return 0
    running = holder(layout)
    if running is None:
        raise SwarmError("a study is starting; try again in a moment")
    write_control(layout, running.study_id, Control.NOW if now else Control.DRAIN)
    print(f"Asked study {running.study_id} to {'stop now' if now else 'finish its running trials'}.")
    deadline = time.monotonic() + timeout_s
    while orchestrator_runs(layout):
        if time.monotonic() > deadline:
            raise SwarmError(f"the study has not ended after {timeout_s:g} s (pid {running.pid}); try --now")
        time.sleep(0.2)
    print("Ended. Go on with: swarm up --resume")
    return 0
