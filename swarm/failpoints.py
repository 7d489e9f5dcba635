"""Places where a test may kill this process, make a step fail or slow it down: before and after each durable step.

    SWARM_FAILPOINT=grant.after_record:kill      the process dies there by SIGKILL
    SWARM_FAILPOINT=append.before_write:error    the step raises an OSError there
    SWARM_FAILPOINT=ref.before_update:sleep      the step takes two seconds longer
    SWARM_FAILPOINT=*:kill:17                    at the 17th failpoint that this process passes, whatever its name
    SWARM_FAILPOINT_LATCH=FILE                   only for the process that creates this file, and once

Unset, a failpoint costs one dictionary look-up. `tests/chaos/` finds every name in the source, and fails for a durable
step that has none. A trial's processes never see the variables, but for a supervisor that was started by itself.
"""

import errno
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping

VARIABLES = ("SWARM_FAILPOINT", "SWARM_FAILPOINT_LATCH")
SLEEP_S = 2.0

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do what SWARM_FAILPOINT asks for at this place. Raises ValueError when it asks for something else."""
    wanted = os.environ.get("SWARM_FAILPOINT")
    if wanted:
        _pass(name, wanted)


def for_child(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child of ours needs of `environment` to have the same failpoints."""
    return {name: environment[name] for name in VARIABLES if name in environment}


def _pass(name: str, wanted: str) -> None:
    place, _, rest = wanted.partition(":")
    what, _, passage = rest.partition(":")
    if place not in (name, "*"):
        return
    _passed[place] += 1
    if _passed[place] < int(passage or 1) or not _first_to_latch():
        return
    match what:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "error":
            raise OSError(errno.EIO, f"failpoint {name}")
        case "sleep":
            time.sleep(SLEEP_S)
        case _:
            raise ValueError(f"SWARM_FAILPOINT={wanted}: {what!r} is not one of kill, error, sleep")


def _first_to_latch() -> bool:
    latch = os.environ.get("SWARM_FAILPOINT_LATCH")
    if not latch:
        return True
    try:
        os.close(os.open(latch, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True
