"""The same training alone on a core and beside another one on the same core: does it get the same amount of work?

    python benchmarks/fairness.py [--pairs 7] [--budget-s 6] [--seeds 5] [--json]

ours      budget in `solo_seconds`, which on a CPU is the process's own CPU time
baseline  the same budget in wall-clock `seconds`

Everything, the neighbour included, is pinned to one core, so that the two contend. The neighbour is a training of the
same program; it is stopped by a signal while a run is to be alone, and goes on while one is to be beside it. A pair is
one seed, alone and beside, in turns with the one or the other first; pairs of the two budgets take turns as well, so
that drift of the machine's speed meets all. Steps: median over the pairs of beside/alone, 1 is fair. Loss: mean over
the seeds of beside minus alone, in units of the standard deviation between seeds, 0 is fair; validation loss of the
real score phase, on the stand-in data.

Windows are the same question without the drift: one training, beside which the neighbour is let go and stopped every
few seconds. What a step is charged beside it over what it is charged alone, median over the pairs of windows.

The clock's own cost is what a step of the budget clock takes (progress read twice, meter, heartbeat, loss report)
above a bare loop over the same batches, against the CPU time of a training step. Linux only. Other load of the machine
is in the figures: run it on an idle one.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from swarm.harness.errors import ContractBroken
from swarm.harness.layout import Layout
from swarm.harness.prepare import prepare
from swarm.harness.run import Plan, lay_out, run_phase
from swarm.trial.config import BudgetKind, TrialConfig, WorkBudget
from swarm.trial.contract import CONFIG_VARIABLE, TRIAL_PHASES, Phase, code_root
from swarm.trial.heartbeat import Beat, read_beat
from swarm.verdict import noise_floor

TARGET = code_root() / "models" / "resnext"
KINDS: tuple[BudgetKind, ...] = ("solo_seconds", "seconds")
NEIGHBOUR_SEED = 1000
NEIGHBOUR_S = 7200.0
NEIGHBOUR_START_S = 120.0
WINDOW_STEPS = 40
POLL_S = 0.05  # seldom: looking wakes up on the core that is looked at, and a beat says its own step
CLOCK_STEPS, CLOCK_ROUNDS = 400, 9


@dataclass(frozen=True)
class Run:
    """One training. `wall_s` is the wall time of its training loop; `loss` is None where it was not scored."""

    steps: int
    wall_s: float
    loss: float | None = None


@dataclass(frozen=True)
class Pair:
    """One seed under one budget, alone and beside the neighbour."""

    alone: Run
    beside: Run


@dataclass(frozen=True)
class Table:
    """All pairs of the two budgets, in the order of their seeds."""

    solo: tuple[Pair, ...]
    wall: tuple[Pair, ...]

    @property
    def sigma(self) -> float | None:
        """Standard deviation between seeds, pooled over the two budgets' runs alone; None below two seeds."""
        return noise_floor([[pair.alone.loss for pair in side if pair.alone.loss is not None] for side in self.sides])

    @property
    def sides(self) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
        return self.solo, self.wall


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--budget-s", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, default=5, help="of the first pairs, whose losses are compared")
    parser.add_argument("--windows", type=int, default=20, help="pairs of windows in one training")
    parser.add_argument("--json", action="store_true", help="the figures alone, one JSON line each")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the neighbour ends as well
    layout = prepare("standin").layout
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory(prefix="fairness-") as folder:
        table = measure(Path(folder), layout, options.pairs, options.seeds, options.budget_s)
        charges = windows(Path(folder) / "windows", layout, options.windows)
        clock_s = clock_cost_s(Path(folder) / "clock", layout)
    if not options.json:
        print_table(table, core)
    for figure in figures(table, charges, clock_s, options.budget_s):
        print(json.dumps(figure))
    return 0


def measure(folder: Path, layout: Layout, pairs: int, seeds: int, budget_s: float) -> Table:
    """Trains all pairs; the first `seeds` of them are scored."""
    found: dict[BudgetKind, list[Pair]] = {kind: [] for kind in KINDS}
    with neighbour(folder / "neighbour", layout) as busy:
        for seed in range(1, 1 + max(pairs, seeds)):
            for kind in KINDS:
                places = {}
                for place in ("alone", "beside") if seed % 2 else ("beside", "alone"):
                    plan = Plan(TARGET, seed=seed, budget=WorkBudget(kind, budget_s))
                    config = lay_out(plan, layout, folder / f"{kind}-{seed}-{place}")
                    places[place] = train(config, busy if place == "beside" else None, scored=seed <= seeds)
                found[kind].append(Pair(**places))
    return Table(tuple(found["solo_seconds"]), tuple(found["seconds"]))


class Neighbour:
    """A training that takes its half of the core, but only while it is told to."""

    def __init__(self, process: subprocess.Popen[bytes], heartbeat: Path) -> None:
        self._process, self._heartbeat = process, heartbeat

    @property
    def steps(self) -> int:
        beat = read_beat(self._heartbeat)
        return beat.step if beat is not None else 0

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def charge_of(self, steps: int) -> float:
        """Seconds of the budget that each of the next `steps` steps is charged, on average. Raises RuntimeError."""
        begun = self._beat_at(self.steps + 1)
        ended = self._beat_at(begun.step + steps)
        return (ended.used - begun.used) / (ended.step - begun.step)

    def _beat_at(self, step: int) -> Beat:
        """The first beat seen at or after `step`."""
        deadline = time.monotonic() + NEIGHBOUR_START_S
        while (beat := read_beat(self._heartbeat)) is None or beat.step < step:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no step {step} in {NEIGHBOUR_START_S:g} s (exit code {self._process.poll()})")
            time.sleep(POLL_S)
        return beat

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Contends for the core. Raises RuntimeError when it took no step in that time: there was no contention."""
        before = self.steps
        self._process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGSTOP)
        if self.steps <= before:
            raise RuntimeError(f"the neighbour took no step (exit code {self._process.poll()}): nothing contended")


@contextmanager
def neighbour(folder: Path, layout: Layout, kind: BudgetKind = "seconds") -> Iterator[Neighbour]:
    """Started, past its start-up, and stopped. It ends with the block."""
    config = lay_out(Plan(TARGET, seed=NEIGHBOUR_SEED, budget=WorkBudget(kind, NEIGHBOUR_S)), layout, folder)
    environment = {
        **os.environ,
        CONFIG_VARIABLE: str(config.folder.config),
        "PYTHONPATH": str(code_root()),
        "OMP_NUM_THREADS": str(config.threads),
    }
    with config.folder.log(Phase.TRAIN).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", Phase.TRAIN.module],
            cwd=config.folder.program,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    found = Neighbour(process, config.folder.heartbeat)
    try:
        deadline = time.monotonic() + NEIGHBOUR_START_S
        while found.steps == 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the neighbour did not start:\n{config.folder.log_text(Phase.TRAIN)[-2000:]}")
            time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        yield found
    finally:
        process.kill()
        process.wait()


def train(config: TrialConfig, busy: Neighbour | None, *, scored: bool) -> Run:
    """The phases as processes; the neighbour is busy during the training only. Raises RuntimeError when one fails.

    A budget that is spent before the first step, as wall-clock seconds can be beside a neighbour, is a run of no steps.
    """
    for phase in TRIAL_PHASES if scored else TRIAL_PHASES[:1]:
        with busy.busy() if busy is not None and phase == "train" else nullcontext():
            code = run_phase(config, phase)
        if phase == "train" and busy is not None and code == ContractBroken.exit_code and no_step(config):
            return Run(0, 0.0)
        if code != 0:
            log = config.folder.log_text(phase)
            raise RuntimeError(f"{phase} exited with {code}:\n{log[-2000:]}")
    facts = json.loads(config.folder.train_report.read_text())
    score = json.loads(config.folder.score.read_text()) if scored else {}
    return Run(facts["steps"], facts["wall_seconds"], score.get("validation_loss"))


def no_step(config: TrialConfig) -> bool:
    beat = read_beat(config.folder.heartbeat)
    return beat is not None and beat.step == 0


def windows(folder: Path, layout: Layout, pairs: int) -> list[float]:
    """What a step is charged beside the neighbour over what it is charged alone, for each pair of windows.

    A window begins and ends at a beat, which is at a step's end, so none is cut. Raises RuntimeError.
    """
    ratios = []
    with neighbour(folder / "neighbour", layout) as busy, neighbour(folder / "watched", layout, "solo_seconds") as ours:
        ours.go_on()
        for _ in range(pairs):
            alone = ours.charge_of(WINDOW_STEPS)
            with busy.busy():
                ratios.append(ours.charge_of(WINDOW_STEPS) / alone)
    return ratios


def figures(table: Table, charges: Sequence[float], clock_s: float, budget_s: float) -> list[dict[str, object]]:
    solo, wall = ([pair.beside.steps / pair.alone.steps for pair in side] for side in table.sides)
    step_s = budget_s / statistics.median(pair.alone.steps for pair in table.solo)
    shifts = [shift_in_sigma(side, table.sigma) for side in table.sides]
    slower = statistics.median(pair.beside.wall_s / pair.alone.wall_s for pair in table.solo)
    seeds = sum(pair.alone.loss is not None for pair in table.solo)
    return [
        {
            **figure("steps beside a neighbour / alone", statistics.median(solo), statistics.median(wall)),
            "unit": "1 is fair",
            "n": len(solo),
            "ours_range": [round(min(solo), 4), round(max(solo), 4)],
            "baseline_range": [round(min(wall), 4), round(max(wall), 4)],
            "wall_time_beside": round(slower, 3),
        },
        {
            **figure("loss beside minus alone", *shifts),
            "unit": "standard deviations between seeds",
            "n": seeds,
            "sigma": None if table.sigma is None else round(table.sigma, 5),
        },
        {
            **figure("charge of a step beside a neighbour / alone, windows", statistics.median(charges), 2.0),
            "unit": "1 is fair, 2 is the wall clock of two on one core",
            "n": len(charges),
            "ours_quartiles": [round(value, 4) for value in statistics.quantiles(charges, n=4)[::2]],
        },
        {
            **figure("step with the budget clock", 1e3 * step_s, 1e3 * (step_s - clock_s)),
            "unit": "CPU ms a step",
            "n": CLOCK_ROUNDS,
            "clock_percent": round(100 * clock_s / step_s, 3),
        },
    ]


def figure(name: str, ours: float | None, baseline: float | None) -> dict[str, object]:
    known = ours is not None and baseline is not None and baseline != 0.0
    return {
        "bench": f"fairness {name}",
        "ours": None if ours is None else round(ours, 4),
        "baseline": None if baseline is None else round(baseline, 4),
        "ratio": round(ours / baseline, 4) if known else None,
    }


def shift_in_sigma(pairs: Sequence[Pair], sigma: float | None) -> float | None:
    """Mean over the scored seeds of the loss beside minus alone, in sigma; None where sigma is not known."""
    shifts = [
        pair.beside.loss - pair.alone.loss
        for pair in pairs
        if pair.alone.loss is not None and pair.beside.loss is not None
    ]
    return statistics.fmean(shifts) / sigma if shifts and sigma else None


def clock_cost_s(folder: Path, layout: Layout) -> float:
    """CPU seconds a step that the budget clock adds to a bare loop over the same batches, median of several rounds."""
    import torch

    from swarm.harness.batches import Batches
    from swarm.harness.budget import meter_for
    from swarm.harness.layout import TrainSet
    from swarm.harness.loop import BudgetClock
    from swarm.harness.program import load_program
    from swarm.trial.heartbeat import Heartbeat

    torch.set_num_threads(1)
    config = lay_out(Plan(TARGET, budget=WorkBudget("solo_seconds", NEIGHBOUR_S)), layout, folder)
    program = load_program(config.program_file)
    model = program.build_model()
    state = (model, program.build_optimizer(model))
    train_set = TrainSet(torch.zeros(64, 3, 32, 32, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64), 100)
    loss = torch.zeros(())

    def metered() -> None:
        meter = meter_for(config.budget, None, cpu=True)
        clock = BudgetClock(config.budget, meter, Heartbeat(config.folder.heartbeat), NoRungs(), 1)
        for _ in clock.batches(train_set, 1, state=state):
            program.learning_rate(clock.progress)
            clock.report(loss)
            if clock.step == CLOCK_STEPS:
                break

    def bare() -> None:
        batches = Batches(train_set, 1, None, 1)
        for step in range(CLOCK_STEPS):
            program.learning_rate(step / CLOCK_STEPS)
            batches.load(batches.next_rows()[1])

    rounds = [cpu_s(metered) - cpu_s(bare) for _ in range(CLOCK_ROUNDS + 1)][1:]
    return statistics.median(rounds) / CLOCK_STEPS


class NoRungs:
    """No evaluation in the middle of a training."""

    fractions = ()


def cpu_s(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def print_table(table: Table, core: int) -> None:
    sigma = table.sigma
    print(
        f"one core ({core}), {len(table.solo)} pairs a budget; sigma {'unknown' if sigma is None else f'{sigma:.4f}'}\n"
    )
    print("| budget | steps alone | steps beside | median of beside/alone | loss beside minus alone, in sigma |")
    print("|---|---|---|---|---|")
    for kind, pairs in zip(KINDS, table.sides, strict=True):
        alone, beside = (statistics.median(steps) for steps in zip(*(steps_of(pair) for pair in pairs), strict=True))
        ratio = statistics.median(pair.beside.steps / pair.alone.steps for pair in pairs)
        shift = shift_in_sigma(pairs, sigma)
        told = "not scored" if shift is None else f"{shift:+.2f}"
        print(f"| {kind} | {alone:.0f} | {beside:.0f} | {ratio:.3f} | {told} |")
    print()


def steps_of(pair: Pair) -> tuple[int, int]:
    return pair.alone.steps, pair.beside.steps


if __name__ == "__main__":
    sys.exit(main())
