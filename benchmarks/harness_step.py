"""What the harness costs in each training step, in microseconds of CPU time, against the length of a step.

    python benchmarks/harness_step.py [--json] [--steps N]

The loop of a program with nothing in it but `clock.report(loss)` and the schedule's `clock.progress`, after the
warm-up: the batch is one image, so that what is left is the harness's own: order, loading (which on a GPU is a handful
of launches), meter, gate, heartbeat, losses, signature. Once with a meter that counts images, once with the one of a
shared GPU (its kernel locks are real, its device only counts). The state is the model of each target in its GPU
profile. The best of three runs.

The length of a GPU step is an ESTIMATE and no measurement: 50 ms on an RTX 4090 and 17 ms on an H100 for a batch of 512
of `models/resnext`. Nothing here has run on a card.
"""

import argparse
import json
import tempfile
import time
import tomllib
import types
from pathlib import Path

import torch
from torch import nn

from swarm.harness.budget import Meter, SampleMeter
from swarm.harness.gate import FileGate
from swarm.harness.layout import TrainSet
from swarm.harness.loop import BudgetClock
from swarm.harness.solo import SoloMeter
from swarm.trial.config import WorkBudget
from swarm.trial.contract import code_root
from swarm.trial.heartbeat import Heartbeat

ESTIMATED_STEP_S = {"RTX 4090, estimated": 0.050, "H100, estimated": 0.017}
ROWS = 512
GOAL = 0.01


class CountingDevice:
    """A device on which a step takes a hundredth of a second of its own time, and a synchronisation nothing."""

    def __init__(self) -> None:
        self.steps = 0

    def synchronize(self) -> None:
        pass

    def now(self) -> float:
        self.steps += 1
        return self.steps * 0.01


class NoRungs:
    fractions = ()

    def inputs(self) -> torch.Tensor:
        raise NotImplementedError

    def path(self, fraction: float) -> Path:
        raise NotImplementedError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="JSON lines only; they are printed in any case")
    parser.add_argument("--steps", type=int, default=2000)
    steps = max(200, parser.parse_args().steps)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for target in ("resnext", "efficientnet"):
            model = model_of(target)
            for meter in ("samples", "shared GPU"):
                cost_s = min(step_cost_s(model, meter, steps, Path(folder)) for _ in range(3))
                report(target, meter, cost_s)


def model_of(target: str) -> nn.Module:
    """As the GPU profile has it."""
    module = types.ModuleType(target)
    exec((code_root() / "models" / target / "train.py").read_text(), module.__dict__)
    profile = tomllib.loads((code_root() / "models" / target / "target.toml").read_text())["profile"]["gpu"]
    assert "constants" not in profile, "then they would have to be set here"
    return module.build_model()


def step_cost_s(model: nn.Module, meter: str, steps: int, folder: Path) -> float:
    """CPU seconds a step, all threads."""
    train = TrainSet(torch.zeros(ROWS, 3, 32, 32, dtype=torch.uint8), torch.zeros(ROWS, dtype=torch.int64), 100)
    counting = counting_for(meter, steps, folder)
    amount = steps if meter == "samples" else steps * 0.01
    kind = "samples" if meter == "samples" else "solo_seconds"
    clock = BudgetClock(WorkBudget(kind, amount), counting, Heartbeat(folder / "heartbeat"), NoRungs(), seed=1)
    loss, began_s = torch.ones(()), 0.0
    for _ in clock.batches(train, 1, state=(model,)):
        if clock.step == 0:
            began_s = time.process_time()
        clock.progress  # noqa: B018 - the schedule's look
        clock.report(loss)
    return (time.process_time() - began_s) / clock.step


def counting_for(meter: str, steps: int, folder: Path) -> Meter:
    if meter == "samples":
        return SampleMeter()
    gate = Path(tempfile.mkdtemp(dir=folder)) / "gate"  # an earlier run's meter is a neighbour that never parks
    for path in (gate, gate.with_name("gate.turn")):
        path.touch()
    return SoloMeter(CountingDevice(), FileGate(gate), steps * 0.01, free_setup_s=5.0)


def report(target: str, meter: str, cost_s: float) -> None:
    shares = {name: round(cost_s / step_s, 5) for name, step_s in ESTIMATED_STEP_S.items()}
    figure = {"name": f"harness, {target}, {meter}", "value": round(1e6 * cost_s, 1), "unit": "us of CPU a step"}
    met = all(share < GOAL for share in shares.values())
    print(json.dumps({**figure, "share_of_a_step": shares, "goal": GOAL, "met_by_estimate": met}), flush=True)


if __name__ == "__main__":
    main()
