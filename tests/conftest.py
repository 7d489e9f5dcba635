"""What holds for every test."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# The tests start hundreds of short processes: none compiles again what another has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples each time and on each machine, so that a failure is one for everybody; its blob stands beside it.
settings.register_profile("repeatable", derandomize=True, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="module", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A child that a module leaves behind would disturb the tests after it, which would then fail in its place."""
    before = set(psutil.Process().children())
    yield
    left = [f"{child.pid} {' '.join(child.cmdline()) or child.status()}" for child in _children() - before]
    assert left == []


def _children() -> set[psutil.Process]:
    """All but multiprocessing's own, which lives as long as the process that it serves."""
    children = psutil.Process().children()
    return {child for child in children if "multiprocessing.resource_tracker" not in " ".join(child.cmdline())}
