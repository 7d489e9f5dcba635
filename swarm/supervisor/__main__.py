"""python -m swarm.supervisor T/spec.json [--lease-fd N]: runs one trial and writes T/result.json."""

import argparse
import os
import sys
from pathlib import Path

from swarm.errors import SwarmError
from swarm.supervisor.run import supervise
from swarm.supervisor.spec import TrialSpec
from swarm.supervisor.warm import warm_supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m swarm.supervisor", description=__doc__)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--lease-fd", type=int, default=None)
    arguments = parser.parse_args()
    if os.getsid(0) != os.getpid():
        os.setsid() if os.getpgrp() != os.getpid() else _fork_into_session()
    try:
        supervise(TrialSpec.from_json(arguments.spec.read_text()), arguments.lease_fd, warm_supervisor)
    except (SwarmError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _fork_into_session() -> None:
    """A group leader, such as a shell's job, cannot open a session; its child can."""
    if (pid := os.fork()) != 0:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    os.setsid()


if __name__ == "__main__":
    sys.exit(main())
