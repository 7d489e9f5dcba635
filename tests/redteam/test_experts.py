"""Cheats against models/experts as real trials: none is accepted, the record names each, and a clumsy plan passes.

What runs to its end and is graded must get what its plan is worth, to the last digit. `make redteam`.
"""

import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from factories import experts
from factories.experts import even_plan, experts_order
from factories.graded import run_graded

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
CLUMSY = f'"""Keeps the first experts of each layer, whatever they do."""\nimport json\n\nPLAN = {even_plan()!r}\n'
LEAVES = 'json.dump(PLAN, open("outputs/plan.json", "w"))\n'
INVALID = FailReason.INVALID_OUTPUT


@dataclass(frozen=True)
class Cheat:
    """`code` runs in the place of the last line of an honest program, or after it. `named`: what flags or sentence
    hold. `score`: whether it is graded, by its honest plan."""

    name: str
    code: str
    named: str
    reason: FailReason | None = INVALID
    after: bool = False


READS_PRIVATE = """
import glob, os
for place in ("private", "../private", "../private/grader/private", "../order.json", "../..", "/proc/1/root/tmp"):
    for path in [place, *glob.glob(place + "/**", recursive=True)]:
        try:
            found = open(path, "rb").read()
            if path.endswith("windows.npy") and "private" in path:
                PLAN["layers"][0]["resident"] = [0, 1, 2]
        except OSError as error:
            print(path, error)
json.dump(PLAN, open("outputs/plan.json", "w"))
"""
WRITES_THE_RESULT = """
for path in ("../private/score.json", "../result.json", "../private/grader/items.json", "../private/grader.out"):
    try:
        open(path, "w").write('{"validation_loss": 0.0, "metrics": {"bits_per_byte": 0.0, "loads": 0}, "rows": 24}')
    except OSError as error:
        print(path, error)
"""
PLANTS_ITS_OWN_MODEL = """
for path in ("moe.py", "grading/grade.py", "inputs/model.npz", "inputs/terms.json", "../private/grader/moe.py"):
    try:
        open(path, "w").write('{"bytes": 10000000, "places": 100}')
    except OSError as error:
        print(path, error)
"""
OVERWRITES_LATER = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1.0)
        PLAN["layers"] = [{"experts": [[[e, 1]] for e in range(16)], "resident": []}] * 3
        for _ in range(600):
            json.dump(PLAN, open("outputs/plan.json", "w"))
            time.sleep(0.05)
    os._exit(0)
"""
PICKLES = """
import pickle
class Runs:
    def __reduce__(self):
        import os
        return os.system, ("echo pwned > ../private/pwned",)
open("outputs/plan.json", "wb").write(pickle.dumps(Runs()))
"""
CHEATS = (
    Cheat("reads the hidden text", READS_PRIVATE, "denied", reason=None),
    Cheat("writes the result file", WRITES_THE_RESULT, "pried", reason=None, after=True),
    Cheat("puts another model and limit in place", PLANTS_ITS_OWN_MODEL, "denied", reason=None, after=True),
    Cheat("overwrites its plan later", OVERWRITES_LATER, "left_processes", reason=None, after=True),
    Cheat("prints a score", 'print("METRIC bits_per_byte=0.01")\n', "forged", reason=None, after=True),
    Cheat(
        "hands in a link",
        'import os\nos.symlink("../../private/score.json", "outputs/plan.json")\n',
        "denied",
        reason=FailReason.CRASHED,
    ),
    Cheat("hands in a gigabyte", 'open("outputs/plan.json", "wb").truncate(1 << 30)\n', "limit is 16384 bytes"),
    Cheat("hands in a pickle", PICKLES, "it is no JSON"),
    Cheat("hands in nothing", "", "plan.json cannot be opened"),
    Cheat("a folder for a plan", 'import os\nos.mkdir("outputs/plan.json")\n', "not a plain file"),
    Cheat("nested without end", 'open("outputs/plan.json", "w").write("[" * 16000)\n', "it is no JSON"),
    Cheat(
        "a part that is no number", f'PLAN["layers"][0]["experts"][0][0][1] = float("nan")\n{LEAVES}', "NaN is no"
    ),
    Cheat("an infinite part", f'PLAN["layers"][0]["experts"][0][0][1] = float("inf")\n{LEAVES}', "Infinity is no"),
    Cheat("a huge part", f'PLAN["layers"][0]["experts"][0][0][1] = 1e300\n{LEAVES}', "a whole number from 1 to 1000"),
    Cheat("an expert twice", f'PLAN["layers"][0]["experts"][1] = [[0, 1]]\n{LEAVES}', "expert 0 is used twice"),
    Cheat("one expert under many names", f'PLAN["layers"][0]["experts"] = [[[0, 1]]] * 16\n{LEAVES}', "used twice"),
    Cheat("an expert beyond the last", f'PLAN["layers"][2]["experts"][0] = [[16, 1]]\n{LEAVES}', "an expert is 16"),
    Cheat("an expert before the first", f'PLAN["layers"][2]["experts"][0] = [[-3, 1]]\n{LEAVES}', "an expert is -3"),
    Cheat(
        "too many bytes",
        f'PLAN["layers"] = [{{"experts": [[[e, 1]] for e in range(16)], "resident": []}}] * 3\n{LEAVES}',
        "the limit is 1150000",
    ),
    Cheat("smuggles weights", f'PLAN["layers"][0]["weights"] = [0.5] * 500\n{LEAVES}', "carries no weights"),
    Cheat("asks not to be scored", f'PLAN.update(skip=True, valid=True)\n{LEAVES}', "no wishes"),
    Cheat("holds everything resident", f'PLAN["layers"][0]["resident"] = list(range(8))\n'
          f'PLAN["layers"][1]["resident"] = list(range(8))\n{LEAVES}', "16 experts are resident"),
)  # fmt: skip


@cache
def honest(folder: Path) -> Outcome:
    return run_graded(folder, experts_order(CLUMSY + LEAVES))


@pytest.fixture(scope="module")
def worth(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Of the clumsy plan, in bits per byte."""
    outcome = honest(tmp_path_factory.mktemp("honest"))
    assert outcome.score is not None and outcome.flags == (), outcome
    assert outcome.score.metrics["experts"] == 24 and outcome.score.rows == experts.ROWS
    return outcome.score.validation_loss


def said(outcome: Outcome) -> str:
    return " ".join((*outcome.flags, outcome.detail))


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_no_cheat_gets_a_number_that_its_plan_has_not_earned(tmp_path: Path, cheat: Cheat, worth: float) -> None:
    program = CLUMSY + (LEAVES if cheat.after else "") + cheat.code
    outcome = run_graded(tmp_path, experts_order(program))
    assert outcome.reason is cheat.reason, outcome
    if outcome.score is not None:
        assert outcome.score.validation_loss == worth, outcome
        assert outcome.score.metrics["loads"] == honest_loads(), "and no guard is any better"
    assert cheat.named in said(outcome), said(outcome)
    assert not list((tmp_path / "trials").rglob("pwned"))


@cache
def honest_loads() -> float:
    moe = experts.modules()["moe"]
    model = moe.load(io.BytesIO(experts.files()["inputs/model.npz"]))
    windows = np.load(io.BytesIO(experts.files()["private/windows.npy"]))
    plan = json.loads(json.dumps(even_plan()))["layers"]
    smaller = moe.build(model, [[[moe.Member(*one) for one in new] for new in layer["experts"]] for layer in plan])
    found: float = moe.loads(moe.run(smaller, windows)[1], [[], [], []], 12)
    return found


def test_a_link_is_refused_by_the_taker_too_where_nothing_keeps_a_candidate_from_making_one(tmp_path: Path) -> None:
    cheat = next(one for one in CHEATS if one.name == "hands in a link")
    outcome = run_graded(tmp_path, experts_order(CLUMSY + cheat.code), sandbox="none")
    assert (outcome.reason, outcome.score) == (INVALID, None) and "plan.json cannot be opened" in outcome.detail


def test_the_program_as_it_is_passes(tmp_path: Path, worth: float) -> None:
    outcome = run_graded(tmp_path, experts_order())
    assert outcome.score is not None and outcome.flags == (), outcome
    assert outcome.score.metrics["model_bytes"] <= 1_150_000
