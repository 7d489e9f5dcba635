"""What a training on the CPU does to its own process: long turns on its core, and memory that is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.supervisor import turns

ROOT = Path(__file__).parents[2]
BLOCK, ROUNDS = 8 << 20, 30
needs_slices = pytest.mark.skipif(
    turns.turn_s() is None, reason="a kernel before 6.12 tells no turns: that a trial gets long ones is not verified"
)


def in_a_process(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True, timeout=60).strip()


@needs_slices
def test_turns_are_long_for_the_thread_and_those_it_starts_and_nothing_else_of_it_changes() -> None:
    code = """
import os, threading
from swarm.supervisor import turns
nice = os.nice(7)
short = turns.turn_s()
turns.take_long_turns()
found = [turns.turn_s()]
thread = threading.Thread(target=lambda: found.append(turns.turn_s()))
thread.start(); thread.join()
print(short < 0.05, *found, os.nice(0) == nice, os.sched_getscheduler(0) == os.SCHED_OTHER)
"""
    assert in_a_process(code) == "True 0.1 0.1 True True"


def test_blocks_that_are_freed_and_asked_for_again_cost_no_page_faults() -> None:
    code = f"""
import resource, sys
import numpy as np
from swarm.harness import cpu
if sys.argv[1:]: cpu.keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks = [np.ones({BLOCK}, np.uint8) for _ in range(4)]; del blocks
before = faults()
for _ in range({ROUNDS}):
    blocks = [np.ones({BLOCK}, np.uint8) for _ in range(4)]; del blocks
print(faults() - before)
"""
    settled = int(in_a_process(f"import sys; sys.argv.append('settle')\n{code}"))
    as_it_comes = int(in_a_process(code))
    assert settled < ROUNDS * 4 < as_it_comes
