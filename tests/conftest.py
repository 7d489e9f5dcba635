"""What holds for every test."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# The tests start hundreds of short processes: none compiles again what another has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test rents anything: neither the key nor the ledger of whoever runs them is theirs.
for name in ("RUNPOD_API_KEY", "RUNPOD_API_KEY_FILE"):
    os.environ.pop(name, None)
os.environ["SWARM_PODS_DIR"] = os.path.join(tempfile.gettempdir(), f"swarm-pods-of-tests-{os.getpid()}")  # noqa: PTH118

# The same examples each time and on each machine, so that a failure is one for everybody; its blob stands beside it.
settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.load_profile("repeatable")

RESOURCE_TRACKER = "multiprocessing.resource_tracker"  # lives as long as the process that it serves


@pytest.fixture(scope="module", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A child that a module leaves running would disturb the tests after it, which would then fail in its place."""
    before = set(psutil.Process().children())
    yield
    left = {child.pid: _command(child) for child in psutil.Process().children() if child not in before}
    assert {pid: said for pid, said in left.items() if said and RESOURCE_TRACKER not in said} == {}


def _command(process: psutil.Process) -> str:
    """Empty when it has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return ""
