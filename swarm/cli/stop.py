"""`swarm stop`: tell a running study to end, and wait until it has."""

import time
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.errors import SwarmError
from swarm.orchestrator.orchestrator import orchestrator_record
from swarm.repo import Repo
from swarm.study.settings import Control, Layout, write_control


def stop_running(cwd: Path, *, now: bool, timeout_s: float) -> int:
    """0 when the study has ended or none was running; raises SwarmError when it has not ended in time."""
    layout = Layout(root=Repo.open(cwd).root)
    if not _running(layout):
        print("No study is running here.")
        return 0
    holder = orchestrator_record(layout)
    if holder is None:
        raise SwarmError("a study is starting; try again in a moment")
    write_control(layout, holder["study_id"], Control.NOW if now else Control.DRAIN)
    print(f"Asked study {holder['study_id']} to {'stop now' if now else 'finish its running trials'}.")
    deadline = time.monotonic() + timeout_s
    while _running(layout):
        if time.monotonic() > deadline:
            raise SwarmError(f"the study has not ended after {timeout_s:g} s (pid {holder['pid']}); try --now")
        time.sleep(0.2)
    print("Ended. Go on with: swarm up --resume")
    return 0


def _running(layout: Layout) -> bool:
    if not layout.orchestrator_lock.exists():
        return False
    lock = FileLock(layout.orchestrator_lock, fallback_to_soft=False)
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
