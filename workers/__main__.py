"""`python -m workers --settings FILE --agent-id worker_1`: one research worker. Started by `swarm up`, or by hand."""

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from swarm.brain.room import is_full, wait_for_room
from swarm.clock import SystemClock
from swarm.errors import SwarmError
from swarm.execution.runner import Walkaway
from swarm.orchestrator.control import Control, read_control
from swarm.orchestrator.settings_file import load_settings
from swarm.study.settings import RunSettings
from workers.loop import work
from workers.redact import take_secrets
from workers.worker import open_worker


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings.json of the study")
    parser.add_argument("--agent-id", required=True, help="worker_1, worker_2, ...")
    arguments = parser.parse_args()
    secrets = take_secrets()
    try:
        work_with_room(load_settings(arguments.settings), arguments.agent_id, secrets)
    except Walkaway:
        say(f"{arguments.agent_id}: the orchestrator has gone; `swarm up --resume` goes on")
        return 1
    except SwarmError as error:
        say(f"{arguments.agent_id}: {' '.join(str(error).split())}")
        return error.exit_code
    return 0


def work_with_room(settings: RunSettings, agent_id: str, secrets: Mapping[str, str]) -> None:
    """As `work`; while the disk is full the worker waits, and takes up again what it had in hand."""
    orchestrator = os.getppid()

    def wanted() -> bool:
        return os.getppid() == orchestrator and read_control(settings.layout, settings.study_id) is Control.RUN

    while True:
        try:
            with open_worker(settings, agent_id, secrets) as worker:
                work(worker)
            return
        except (SwarmError, OSError) as error:
            if not is_full(error):
                raise
            say(f"{agent_id}: {' '.join(str(error).split())}")
            if not wait_for_room(settings.root, SystemClock(), wanted):
                return


def say(text: str) -> None:
    """To the worker's log, which may lie on a full disk."""
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode(errors="replace"))


if __name__ == "__main__":
    sys.exit(main())
