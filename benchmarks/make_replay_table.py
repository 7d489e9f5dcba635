"""Trains the grid behind `benchmarks/search.py`, one JSON line a training; goes on where the table's file ends.

    python benchmarks/make_replay_table.py [--processes 1] [--limit N]

A row is a real training of `benchmarks/data/replay_program.py` on the stand-in: the grid once with seed 0, and a few
settings with more seeds, which give the noise. The budget is work, not time: a setting gets BUDGET_S divided by the
CPU seconds that one of its images takes, measured once by `--costs` on a quiet machine and kept beside the table, so
that neither the machine's load nor its speed changes a row.
"""

import argparse
import fcntl
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if TYPE_CHECKING:
    from torch import Tensor, nn

    from swarm.harness.layout import TrainSet

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "data" / "replay_program.py"
TABLE = HERE / "data" / "replay_table.jsonl"
COSTS = HERE / "data" / "replay_costs.json"

BUDGET_S = 1.5
COST_STEPS = 12
VALIDATION_BATCH = 1000

Value = bool | int | float | str

GRID: dict[str, tuple[Value, ...]] = {
    "RATE_STEP": (0, 1, 2, 3, 4, 5),
    "WIDTH_STEP": (0, 1, 2),
    "BATCH_STEP": (0, 1, 2),
    "SMOOTHING": (0.0, 0.1),
    "SHIFT_CROP": (False, True),
    "DECAY_TO_ZERO": (False, True),
    "ACTIVATION": ("relu", "silu"),
}
BASELINE: dict[str, Value] = {
    "RATE_STEP": 1,
    "WIDTH_STEP": 1,
    "BATCH_STEP": 2,
    "SMOOTHING": 0.1,
    "SHIFT_CROP": False,
    "DECAY_TO_ZERO": False,
    "ACTIVATION": "relu",
}
NOISE_SETTINGS, NOISE_SEEDS = 12, 4


class Job(NamedTuple):
    """One training to be done."""

    constants: dict[str, Value]
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--limit", type=int, default=None, help="trainings at most")
    options = parser.parse_args()
    if not COSTS.exists():
        COSTS.write_text(json.dumps(measure_costs(), indent=1) + "\n")
    table = rows()
    refuse_other_data(table)
    done = {(key_of(row["constants"]), row["seed"]) for row in table}
    owed = [job for job in jobs() if (key_of(job.constants), job.seed) not in done][: options.limit]
    print(f"{len(done)} rows, {len(owed)} to do", flush=True)
    with ProcessPoolExecutor(options.processes) as pool:
        for row in pool.map(run, owed):
            append(row)


def jobs() -> Iterator[Job]:
    """The noise rows first, then the grid: one level of the last constant after the other, so that an unfinished table
    holds a complete smaller grid; by lot within it."""
    rng = random.Random(0)
    grid = [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]
    noisy = [BASELINE, *rng.sample(grid, NOISE_SETTINGS - 1)]
    for constants in noisy:
        for seed in range(NOISE_SEEDS):
            yield Job(constants, seed)
    rng.shuffle(grid)
    last, levels = list(GRID.items())[-1]
    for constants in sorted(grid, key=lambda constants: levels.index(constants[last])):
        if constants not in noisy:
            yield Job(constants, 0)


def key_of(constants: Mapping[str, Value]) -> str:
    """One text a setting."""
    return json.dumps([constants[name] for name in GRID])


def rows() -> list[dict]:
    """The table as it is; an unfinished last line is left out."""
    if not TABLE.exists():
        return []
    return [json.loads(line) for line in TABLE.read_text().splitlines(keepends=True) if line.endswith("\n")]


def refuse_other_data(table: Sequence[Mapping]) -> None:
    """Rows of two versions of the stand-in do not compare."""
    from swarm.harness.prepare import prepare

    version = prepare("standin").version
    others = {row["data"] for row in table} - {version}
    if others:
        sys.exit(f"{TABLE} was made on {', '.join(others)}, and this is {version}: move it away to begin a new one")


def append(row: Mapping[str, object]) -> None:
    with TABLE.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(row) + "\n")


def images_for(constants: Mapping[str, Value]) -> int:
    """How many images a setting may train on."""
    costs = json.loads(COSTS.read_text())
    return int(BUDGET_S / costs[cost_key(constants)])


def cost_key(constants: Mapping[str, Value]) -> str:
    return f"{constants['WIDTH_STEP']} {constants['BATCH_STEP']} {constants['ACTIVATION']}"


def measure_costs() -> dict[str, float]:
    """CPU seconds an image takes in a training step, the least of a few steps, for all shapes."""
    import torch

    costs = {}
    shapes = itertools.product(GRID["WIDTH_STEP"], GRID["BATCH_STEP"], GRID["ACTIVATION"])
    for width, batch, activation in shapes:
        constants = BASELINE | {"WIDTH_STEP": width, "BATCH_STEP": batch, "ACTIVATION": activation}
        seconds: list[float] = []
        began = [time.process_time()]

        def lap(_: int, seconds: list[float] = seconds, began: list[float] = began) -> None:
            seconds.append(time.process_time() - began[0])
            began[0] = time.process_time()

        torch.manual_seed(0)
        size = 64 * 2 ** int(batch)
        train(constants, seed=0, images=COST_STEPS * size, after_step=lap)
        costs[cost_key(constants)] = min(seconds) / size
    return costs


def run(job: Job) -> dict[str, object]:
    """One training with its score on the 5,000 validation images."""
    from swarm.harness.loop import forward
    from swarm.harness.prepare import prepare
    from swarm.harness.scoring import score

    began = time.process_time()
    images = images_for(job.constants)
    model = train(job.constants, seed=job.seed, images=images)
    held_out, labels = validation()
    result = score(forward(model, held_out, VALIDATION_BATCH).double().numpy(), labels)
    return {
        "constants": job.constants,
        "seed": job.seed,
        "loss": round(result.validation_loss, 6),
        "top1": round(result.top1, 4),
        "images": images,
        "data": prepare("standin").version,
        "cpu_s": round(time.process_time() - began, 2),
    }


def train(
    constants: Mapping[str, Value], *, seed: int, images: int, after_step: Callable[[int], None] = lambda _: None
) -> "nn.Module":
    """The harness's loop and data; a divergence ends the training early and scores as it is."""
    import torch
    import torch.nn.functional as F

    from swarm.harness.augment import crop, flip
    from swarm.harness.budget import SampleMeter
    from swarm.harness.errors import Diverged
    from swarm.harness.loop import BudgetClock
    from swarm.harness.warmup import seed_everything
    from swarm.trial.config import WorkBudget

    torch.set_num_threads(1)
    program, training = load_program(), training_set()
    seed_everything(seed)
    model = program.build_model(constants["WIDTH_STEP"], constants["ACTIVATION"])
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=program.MOMENTUM, weight_decay=program.WEIGHT_DECAY, nesterov=True
    )
    clock = BudgetClock(WorkBudget("samples", images), SampleMeter(), None, NoRungs(), seed)

    def augmented(batch: "Tensor") -> "Tensor":
        return crop(flip(batch), 4) if constants["SHIFT_CROP"] else flip(batch)

    try:
        for x, y in clock.batches(training, program.batch_size(constants["BATCH_STEP"]), augmented):
            rate = program.rate_at(clock.progress, constants["RATE_STEP"], constants["DECAY_TO_ZERO"])
            optimiser.param_groups[0]["lr"] = rate
            loss = F.cross_entropy(model(x), y, label_smoothing=constants["SMOOTHING"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            clock.report(loss)
            after_step(clock.step)
    except Diverged:
        pass
    return model


class NoRungs:
    """No evaluation in the middle of a training."""

    fractions = ()


@cache
def load_program():
    import importlib.util

    spec = importlib.util.spec_from_file_location("replay_program", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def training_set() -> "TrainSet":
    import torch

    from swarm.harness.layout import CLASSES, TrainSet
    from swarm.harness.prepare import prepare

    layout = prepare("standin").layout
    images = torch.from_numpy(layout.read(layout.images("train")))
    return TrainSet(images, torch.from_numpy(layout.read(layout.labels("train")).astype("int64")), CLASSES)


@cache
def validation():
    import torch

    from swarm.harness.prepare import prepare

    layout = prepare("standin").layout
    return torch.from_numpy(layout.read(layout.images("val"))), layout.read(layout.labels("val"))


if __name__ == "__main__":
    main()
