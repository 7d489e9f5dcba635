"""A small target that is timed in rounds, and `models/speed` as an order with fewer pages."""

import json
from pathlib import Path

from factories.graded import graded_order

from swarm.execution.executor import TrialOrder
from swarm.records import Budget, Grading, Output, Rounds, TargetTerms
from swarm.target.file import load_target
from swarm.trial.contract import code_root

ADDS = '''"""Adds up the numbers of its round."""
import json

json.dump(sum(json.load(open("inputs/numbers.json"))), open("outputs/sum.json", "w"))
'''
MAKE = """import json, os, pathlib, random

for number in range(1, int(os.environ["SWARM_ROUNDS"]) + 1):
    draw = random.Random(os.environ["SWARM_SECRET"] + str(number))
    numbers = [draw.randrange(1000) for _ in range(1000)]
    folder = pathlib.Path("rounds") / str(number)
    (folder / "inputs").mkdir(parents=True)
    (folder / "inputs" / "numbers.json").write_text(json.dumps(numbers))
    (folder / "true.json").write_text(json.dumps(sum(numbers)))
"""
GRADE = """import json

times = json.load(open("rounds.json"))
right = [json.load(open(f"rounds/{n}/run/sum.json")) == json.load(open(f"rounds/{n}/true.json")) for n in (1, 2)]
ratios = [one["run"]["cpu_s"] / one["reference"]["cpu_s"] for one in times]
used = sum(one["run"]["cpu_s"] for one in times)
metrics = {"ratio": sum(ratios) / len(ratios), "right": sum(right), "used_s": used}
print(json.dumps({"metrics": metrics, "valid": True, "why": ""}))
"""
ROUNDS = Rounds(count=2, make=("python", "grading/make.py"), reference="fixed")
TIMED = Grading(
    run=("python", "-S", "add.py"),
    grade=("python", "grading/grade.py"),
    metric="ratio",
    outputs=(Output(name="sum.json", type="json", max_bytes=100),),
    grade_limit_s=60,
    rounds=ROUNDS,
)
TERMS = TargetTerms(grade="graded", editable=("*.py",), closed=("inputs", "private", "grading", "fixed"), max_files=2)
SMALL = {"templates": 6, "pages": 60, "lines": 60, "words": 12, "stock": 40, "fields": 10}
SPEED = code_root() / "models" / "speed"


def timed_files(add: str = ADDS) -> dict[str, bytes]:
    texts = {"add.py": add, "fixed/add.py": ADDS, "grading/make.py": MAKE, "grading/grade.py": GRADE}
    return {path: text.encode() for path, text in texts.items()}


def timed_order(add: str = ADDS, **more: object) -> TrialOrder:
    budget = Budget(kind="solo_seconds", amount=8, walltime_limit_s=240)
    values = {"files": timed_files(add), "grading": TIMED, "terms": TERMS, "budget": budget, **more}
    return graded_order(**values)


def speed_order(render: str, rounds: int = 3, shape: dict[str, int] = SMALL) -> TrialOrder:
    """A trial of `models/speed` over this program."""
    target = load_target("speed", code_root())
    assert target.grading is not None and target.grading.rounds is not None
    files = {path.relative_to(SPEED).as_posix(): path.read_bytes() for path in _files(SPEED)}
    files |= {"render.py": render.encode(), "private/shape.json": json.dumps(shape).encode()}
    few = target.grading.rounds.model_copy(update={"count": rounds})
    return graded_order(
        files=files,
        grading=target.grading.model_copy(update={"rounds": few}),
        terms=target.terms,
        editable=target.editable,
        budget=Budget(kind="solo_seconds", amount=12, walltime_limit_s=360),
    )


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
