"""A whole study whose two workers each find a gain on the same base: both end in one program."""

import re
import threading
from pathlib import Path

import pytest
from fakes.fake_llm import FakeLLM, Request, envelope
from fakes.tiny_study import make_tiny_study

from swarm.study.state import Program
from swarm.verdict.merges import contents

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

LAYER = "        self.classifier = nn.Linear(3 * 8 * 8, 100)"
FORWARD = "        return self.classifier(F.avg_pool2d(images, 4).flatten(1))"
STEP = "    optimizer = optim.SGD(model.parameters(), lr=MAX_LR, weight_decay=WEIGHT_DECAY)"
FASTER = STEP.replace("lr=MAX_LR", "lr=MAX_LR, momentum=0.9")


class Planted:
    """Of the first two answers, which wait for each other, each plants a gain; all later ones change nothing that
    matters."""

    def __init__(self) -> None:
        self.count = 0
        self._both_asked = threading.Barrier(2, timeout=60)

    def __call__(self, request: Request) -> str:
        self.count += 1
        mine = self.count
        if mine <= 2:
            self._both_asked.wait()
        cites = re.findall(r'"id": "(t\d+)"', request.prompt)[:1]
        if mine == 1:
            return envelope(STEP, FASTER, cites=cites, hypothesis="momentum")
        if mine == 2:
            first = envelope(LAYER, LAYER.replace("8 * 8", "16 * 16"), cites=cites, hypothesis="finer images")
            return f"{first}\n<<<<<<< SEARCH\n{FORWARD}\n=======\n{FORWARD.replace('4)', '2)')}\n>>>>>>> REPLACE\n"
        old = "def main() -> None:"
        return envelope(old, f"NOTHING_{mine} = 0\n\n\n{old}", cites=cites, hypothesis=f"nothing {mine}")


def test_two_planted_gains_of_two_workers_end_in_one_program(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path, samples=12000)
    with FakeLLM([Planted()]) as server:
        done = tiny.up(
            *("--workers", "2", "--trials", "15", "--proposer", f"openai:fake@{server.url}"),
            OPENAI_API_KEY="a-key-of-nobody",
        )
    assert done.returncode == 0, done.stderr
    study = tiny.study()

    def found(description: str) -> Program:
        return next(p for p in study.programs.values() if p.first.claim.description == description)

    first, second = found("momentum"), found("finer images")
    assert (first.first.claim.made_on or first.parent) == (second.first.claim.made_on or second.parent) == "t0001"
    assert {first.first.claim.agent_id, second.first.claim.agent_id} == {"worker_1", "worker_2"}
    both = [p for p in study.programs.values() if {first.name, second.name} <= contents(study, p) and p.costs]
    assert both
    source = tiny.repo.git("show", f"refs/swarm/{study.study_id}/{both[0].name}:models/tiny/train.py")
    assert "momentum=0.9" in source and "16 * 16" in source
    assert study.baseline is not None and max(both[0].costs) < min(study.baseline.costs)
