"""A whole small study, and what each of its edits is worth: real git, real trainings."""

import json
from pathlib import Path

import pytest
from fakes.tiny_study import make_tiny_study, write_script

from swarm.records import Operator

pytestmark = [pytest.mark.timeout(500), pytest.mark.slow]


def test_a_gain_and_an_edit_that_does_nothing_are_told_apart(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path, samples=3000)
    momentum = {"search": "lr=MAX_LR, weight", "replace": "lr=MAX_LR, momentum=0.9, weight"}
    start = "def build_model() -> nn.Module:"
    unused = {"search": start, "replace": f"def unused(x: int) -> int:\n    return x\n\n\n{start}"}
    script = write_script(
        tmp_path / "s.jsonl",
        {"description": "momentum", "edits": [momentum]},
        {"description": "a step a little larger, and a helper", "constants": {"MAX_LR": 0.12}, "edits": [unused]},
    )
    done = tiny.up("--workers", "1", "--trials", "9", "--proposer", f"scripted:{script}")
    assert done.returncode == 0, done.stderr
    found = {program.first.claim.description: program for program in tiny.study().programs.values()}
    subject, momentum_edit = found["a step a little larger, and a helper"], found["momentum"]
    assert subject.parent == momentum_edit.name
    told = tiny.swarm("attribute", subject.name, "--json", timeout=450)
    assert told.returncode == 0, told.stdout + told.stderr
    print(told.stdout, told.stderr)
    first, last = json.loads(told.stdout)["edits"]
    assert (first["left_out"], last["left_out"]) == ([momentum_edit.name], [subject.name])
    assert first["low"] > 0 and first["runs"] == last["runs"] == 3
    study = tiny.study()
    (without,) = (p for p in study.programs.values() if p.first.claim.operator is Operator.ABLATE)
    assert (without.parent, without.first.claim.left_out) == (subject.name, (momentum_edit.name,))
    source = tiny.repo.git("show", f"refs/swarm/{study.study_id}/{without.name}:models/tiny/train.py")
    assert "momentum=" not in source and "def unused" in source
    again = tiny.swarm("attribute", subject.name)
    assert again.returncode == 0 and len(tiny.study().trials) == len(study.trials), "what was run is not run again"
    print(again.stdout)
    assert "95 % interval" in again.stdout
