"""Cheats against a graded target as real trials: none gets a number that it did not earn, and the record names each.

A cheat that runs to its end and is graded must get what its honest outputs are worth, to the last
digit. `make redteam`.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from factories.graded import FIT, HONEST_MSE, graded_order, run_graded

from swarm import sandbox
from swarm.execution.executor import Outcome
from swarm.records import FailReason

pytestmark = [
    pytest.mark.redteam,
    pytest.mark.skipif(
        sandbox.probe().landlock_abi < 3 or not sandbox.probe().seccomp,
        reason=f"no full sandbox on this machine, so that cheats fail is not verified: {sandbox.probe().detail}",
    ),
]


@dataclass(frozen=True)
class Cheat:
    """`code` runs before or after the honest program. `named`: what the flags or the sentence of the record hold."""

    name: str
    code: str
    named: str
    after: bool = True
    reason: FailReason | None = None


READS_PRIVATE = """
import glob, os
for place in ("private", "../private", "../private/grader/private", "../order.json", "../..", "/proc/1/root/tmp"):
    for path in [place, *glob.glob(place + "/**", recursive=True)]:
        try:
            true = json.load(open(path))
            if isinstance(true, list) and len(true) == 50 and path.endswith("labels.json"):
                json.dump(true, open("outputs/guess.json", "w"))
        except (OSError, ValueError) as error:
            print(path, error)
"""
WRITES_THE_RESULT = """
for path in ("../private/score.json", "../result.json", "../private/grader/errors.json", "../private/grader.out"):
    try:
        open(path, "w").write('{"validation_loss": 0.0, "metrics": {"mse": 0.0, "worst": 0.0}, "rows": 50}')
    except OSError as error:
        print(path, error)
"""
LINKS_TO_PRIVATE = """
import os
os.unlink("outputs/guess.json")
os.symlink("../../private/grader/private/labels.json", "outputs/guess.json")
"""
PICKLES = """
import os, pickle, struct
class Runs:
    def __reduce__(self):
        return os.system, ("echo pwned > ../private/pwned",)
head = b"{'descr': '|O', 'fortran_order': False, 'shape': (50,), }".ljust(117) + b"\\n"
body = b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(head)) + head + pickle.dumps([Runs()] * 50)
open("outputs/guess.json", "wb").write(body)
"""
HUGE = """
with open("outputs/guess.json", "wb") as file:
    file.truncate(1 << 30)
"""
WRITES_AFTER_THE_END = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1.0)
        for _ in range(600):
            json.dump([0.0] * 50, open("outputs/guess.json", "w"))
            time.sleep(0.05)
    os._exit(0)
"""
FORGES_METRICS = """
print("METRIC mse=0.0")
print('{"metrics": {"mse": 0.0, "worst": 0.0}, "valid": true, "why": "", "per_item": null}')
import sys
sys.stderr.write("METRIC mse=0.0\\n")
"""
PATCHES_TIMERS = """
import time
slept = time.sleep
time.time = time.perf_counter = time.monotonic = time.process_time = lambda: 0.0
slept(1.5)
"""
NOT_A_NUMBER = """
open("outputs/guess.json", "w").write("[" + ", ".join(["NaN"] * 50) + "]")
"""
PLANTS_A_MODULE = """
for path in ("json.py", "outputs/json.py", "grading/grade.py", "grading/json.py", "../private/grader/json.py"):
    try:
        open(path, "w").write("def load(file): return [0.0] * 50\\ndef dump(*a): pass\\ndumps = str\\n")
    except OSError as error:
        print(path, error)
"""
BURNS_CPU = """
while True:
    pass
"""
PRIES = """
import glob
for path in (*glob.glob("/proc/[0-9]*/environ"), "/proc/self/root", "/proc/1/mem"):
    try:
        open(path, "rb").read(10)
    except OSError as error:
        print(path, error)
print("looked at /proc/1/environ")
"""

CHEATS = (
    Cheat("reads private data", READS_PRIVATE, "denied"),
    Cheat("writes the result file", WRITES_THE_RESULT, "pried"),
    Cheat("links an output to private data", LINKS_TO_PRIVATE, "denied", reason=FailReason.CRASHED),
    Cheat("hands in a pickle", PICKLES, "it is no JSON", reason=FailReason.INVALID_OUTPUT),
    Cheat("hands in a gigabyte", HUGE, "limit is 10000 bytes", reason=FailReason.INVALID_OUTPUT),
    Cheat("writes after its end", WRITES_AFTER_THE_END, "left_processes"),
    Cheat("forges metric lines", FORGES_METRICS, "forged"),
    Cheat("patches the timers", PATCHES_TIMERS, "run.seconds"),
    Cheat("hands in what is no number", NOT_A_NUMBER, "no number of JSON", reason=FailReason.INVALID_OUTPUT),
    Cheat("plants a module for the grader", PLANTS_A_MODULE, "denied"),
    Cheat("works beyond its budget", BURNS_CPU, "past its budget", reason=FailReason.OVER_BUDGET),
    Cheat("pries into other processes", PRIES, "pried"),
)


def said(outcome: Outcome) -> str:
    metrics = outcome.score.metrics if outcome.score is not None else {}
    slow = "run.seconds" if metrics.get("run.seconds", 0.0) > 1.4 else ""
    return " ".join((*outcome.flags, outcome.detail, slow))


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_no_cheat_gets_a_number_that_it_did_not_earn(tmp_path: Path, cheat: Cheat) -> None:
    budget = {"kind": "solo_seconds", "amount": 2, "walltime_limit_s": 90}
    outcome = run_graded(tmp_path, graded_order(FIT + cheat.code, budget=budget))
    assert outcome.reason is cheat.reason, outcome
    if outcome.score is not None:
        assert outcome.score.validation_loss == pytest.approx(HONEST_MSE, abs=1e-12), outcome
    assert cheat.named in said(outcome), said(outcome)
    assert not list((tmp_path / "trials").rglob("pwned"))


def test_a_link_is_refused_by_the_taker_too_where_nothing_keeps_a_candidate_from_making_one(tmp_path: Path) -> None:
    outcome = run_graded(tmp_path, graded_order(FIT + LINKS_TO_PRIVATE), sandbox="none")
    assert (outcome.reason, outcome.score) == (FailReason.INVALID_OUTPUT, None)
    assert "guess.json cannot be opened" in outcome.detail
