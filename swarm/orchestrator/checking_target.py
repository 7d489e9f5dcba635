"""`swarm target check`: the target's contract against its own program and against sample programs that cheat.

Each sample takes the place of the run command, beside the target's own grader and private data. None may get a number
that its outputs have not earned. Not promised: that a grader which is itself too kind is found out; only
these are tried.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from swarm.orchestrator.trying import Tried, Trier
from swarm.records import Grading, TargetTerms

SAMPLE = "swarm_sample.py"

_SHARED = """import json, os, sys
def leave(name, content):
    with open(os.path.join("outputs", name), "wb") as file:
        file.write(content)
NAMES = {names!r}
"""
_SAMPLES: Mapping[str, str] = {
    "leaves nothing": "",
    "leaves what is no answer": "for name in NAMES: leave(name, b'\\x00no answer')\n",
    "leaves an object to be revived": """
import pickle
class Runs:
    def __reduce__(self):
        return os.system, ("true",)
for name in NAMES:
    leave(name, pickle.dumps(Runs()))
""",
    "prints a number of its own": """
print("METRIC {metric}={best}")
print(json.dumps({{"metrics": {{"{metric}": {best}}}, "valid": True, "why": ""}}))
""",
    "hands in private data": """
import glob
found = [path for path in glob.glob("{private}/**", recursive=True) + glob.glob("../private/**", recursive=True)
         if os.path.isfile(path)]
print("PRIVATE", len(found))
for name in NAMES:
    for path in found:
        leave(name, open(path, "rb").read())
""",
    "writes the score itself": """
for path in ("../private/score.json", "../result.json", "outputs/score.json"):
    try:
        open(path, "w").write('{{"validation_loss": {best}}}')
    except OSError as error:
        print(error)
""",
}


@dataclass(frozen=True)
class Checked:
    name: str
    ok: bool
    detail: str


def check_target(trier: Trier, grading: Grading, terms: TargetTerms, *, maximized: bool) -> Iterator[Checked]:
    """One line for the honest program, and one for each sample."""
    honest = trier.run("honest", grading, 1)
    score = honest.outcome.score
    if score is None:
        yield Checked("the program as it is", False, _told(honest))
        return
    yield Checked("the program as it is", True, f"{grading.metric} {score.validation_loss:g}")
    if not grading.grade:
        forged = trier.run("forged", *_sample("prints a number of its own", grading, maximized=maximized))
        got = forged.outcome.score.validation_loss if forged.outcome.score is not None else None
        detail = f"gets {got:g}: a self-reported number is worth what the program is worth. [grade] ends that"
        yield Checked("prints a number of its own", True, detail if got is not None else _told(forged))
        return
    for name in _SAMPLES:
        sample, seed, extra = _sample(name, grading, maximized=maximized)
        tried = trier.run("sample", sample, seed, extra)
        yield _judged(name, tried)


def _sample(name: str, grading: Grading, *, maximized: bool) -> tuple[Grading, int, dict[str, bytes]]:
    names = [output.name for output in grading.outputs]
    best = "1e9" if maximized else "-1e9"
    text = _SHARED.format(names=names) + _SAMPLES[name].format(
        metric=grading.metric, best=best, private=grading.private
    )
    return grading.model_copy(update={"run": ("python", SAMPLE)}), 1, {SAMPLE: text.encode()}


def _judged(name: str, tried: Tried) -> Checked:
    if "PRIVATE" in tried.output and "PRIVATE 0" not in tried.output:
        return Checked(name, False, "it could read private data: is the sandbox off?")
    if tried.outcome.score is None:
        return Checked(name, True, f"refused: {_told(tried)}")
    return Checked(name, False, f"got {tried.outcome.score.validation_loss:g}: the grader must say valid: false")


def _told(tried: Tried) -> str:
    return " ".join(tried.outcome.detail.split())[:200]
