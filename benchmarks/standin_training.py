"""Short real trainings on the stand-in for benchmarks: forked from a warm process, each remembered in a file.

A training's budget is work, not time: a program may train on as many images as its own shapes allow at the rates below
(`images_for`), so that neither the machine's load nor its speed changes a result, and a larger network pays for itself.
The rates are reckoned: over the shapes that were tried they are within 30 % of the CPU time of a training step.

The harness's own training phase runs the program. Predicting and scoring happen in the same process, without sandbox:
this is for programs that we wrote ourselves.
"""

import fcntl
import hashlib
import json
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from swarm.harness import preload  # first: it loads torch and numpy in a way that forks survive

# isort: split
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from swarm.harness import train_phase
from swarm.harness.errors import Diverged
from swarm.harness.loop import forward
from swarm.harness.prepare import prepare
from swarm.harness.program import load_program
from swarm.harness.scoring import score
from swarm.trial.config import TrialConfig, WorkBudget
from swarm.trial.folder import TrialFolder

S_PER_MFLOP = 30e-6  # of one image's forward pass; the step's other passes are in it
S_PER_KILO_ELEMENT = 1.6e-6  # of the modules' outputs for one image
S_PER_STEP = 2e-3
LEAST_STEPS = 10  # a program whose budget ends before has failed, as one that a deadline kills
VALIDATION_BATCH = 500

Half = Literal["search", "final"]  # of the validation images: every second one each


@dataclass(frozen=True)
class Training:
    """One training's end. `loss` is None where it failed, and `reason` says how, as in the records."""

    loss: float | None
    reason: str | None
    images: int


class Trainings:
    """Trains programs, or looks them up: nothing is trained twice. Several processes may share the file."""

    def __init__(self, cache: Path, budget_s: float) -> None:
        self._cache = cache
        self._budget_s = budget_s
        self._known: dict[str, Training] = {}
        self._read = 0

    def run(self, source: str, seed: int, half: Half = "search") -> Training:
        """The training of this program with this seed, scored on one half of the validation images."""
        key = key_of(source, seed, self._budget_s, half)
        if key not in self._known:
            self._known.update(self._news())
        if key not in self._known:
            self._known[key] = in_a_fork(lambda folder: train(source, seed, self._budget_s, half, folder))
            self._append(key, self._known[key])
        return self._known[key]

    def _news(self) -> Iterator[tuple[str, Training]]:
        """What was appended since the last look; an unfinished last line is left for the next one."""
        if not self._cache.exists():
            return
        with self._cache.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    raw = json.loads(line)
                    yield raw.pop("key"), Training(**raw)

    def _append(self, key: str, training: Training) -> None:
        """Raises ValueError when a killed process left a line unfinished."""
        with self._cache.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            if file.read(1) not in (b"", b"\n"):
                raise ValueError(f"{self._cache} ends in the middle of a line: remove that line")
            file.write(json.dumps({"key": key, **asdict(training)}).encode() + b"\n")


def key_of(source: str, seed: int, budget_s: float, half: Half) -> str:
    """One text for what decides a training: program, seed, budget, data and the images that it is scored on."""
    parts = [source, seed, budget_s, half, prepare("standin").version]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def in_a_fork(training: Callable[[Path], Training]) -> Training:
    """Runs it in a child of this process, which has torch loaded: a process of the harness runs one trial.

    Raises RuntimeError when the child dies without a result.
    """
    return Training(**fields_from_a_fork(lambda folder: asdict(training(folder))))


def fields_from_a_fork(work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns in a child of this process, through JSON. Raises RuntimeError as `in_a_fork`."""
    preload.assert_forkable()
    with tempfile.TemporaryDirectory(prefix="standin-training-") as name:
        folder = Path(name)
        pid = os.fork()
        if pid == 0:
            os._exit(_child(work, folder))
        _, status = os.waitpid(pid, 0)
        result = folder / "result.json"
        if os.waitstatus_to_exitcode(status) != 0 or not result.exists():
            raise RuntimeError(f"a training's process ended with {os.waitstatus_to_exitcode(status)}, see above")
        return dict(json.loads(result.read_text()))


def _child(work: Callable[[Path], dict[str, Any]], folder: Path) -> int:
    try:
        result = work(folder)
        (folder / "result.json").write_text(json.dumps(result))
    except BaseException:  # noqa: BLE001 - the end of a forked child: nothing may run on in it as its parent
        traceback.print_exc()
        return 1
    return 0


def train(source: str, seed: int, budget_s: float, half: Half, folder: Path) -> Training:
    """One training and its score in this process, which can have no other."""
    images, config, code = train_only(source, seed, budget_s, folder)
    if config is None:
        return Training(None, "timeout", images)
    if code != 0:
        return Training(None, "diverged" if code == Diverged.exit_code else "crashed", images)
    loss = validation_loss(config, slice(half == "final", None, 2))
    return Training(None, "diverged", images) if math.isnan(loss) else Training(loss, None, images)


def train_only(
    source: str, seed: int, budget_s: float, folder: Path, rungs: tuple[float, ...] = ()
) -> tuple[int, TrialConfig | None, int]:
    """Images of the budget, the trial, and the training's exit code. No trial where the budget is too small."""
    torch.set_num_threads(1)
    place = TrialFolder(folder)
    place.make()
    program = place.program / "train.py"
    program.write_text(source)
    module = load_program(program)
    images = images_for(module, budget_s)
    if images < LEAST_STEPS * module.BATCH_SIZE:
        return images, None, 0
    config = _config(folder, seed, images, rungs)
    place.config.write_text(config.to_json())
    with (folder / "log").open("w") as log:
        os.dup2(log.fileno(), 1)
        return images, config, train_phase.run(place.config)


def images_for(module: ModuleType, budget_s: float) -> int:
    """How many images a program may train on."""
    return int(budget_s / (reckoned_s(module.build_model) + S_PER_STEP / module.BATCH_SIZE))


def reckoned_s(build_model: Callable[[], nn.Module]) -> float:
    """Seconds that training on one image takes, reckoned from the shapes; nothing is computed."""
    with torch.device("meta"):
        model = build_model()
    elements = 0

    def count(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        nonlocal elements
        elements += output.numel()

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model.eval()(torch.empty(1, 3, 32, 32, device="meta"))
    return S_PER_MFLOP * flops.get_total_flops() / 1e6 + S_PER_KILO_ELEMENT * elements / 1e3


def _config(folder: Path, seed: int, images: int, rungs: tuple[float, ...]) -> TrialConfig:
    return TrialConfig(
        trial_id="t0001",
        study_id="benchmark",
        seed=seed,
        device="cpu",
        threads=1,
        data_dir=prepare("standin").layout.root,
        root=folder,
        budget=WorkBudget("samples", images),
        editable="train.py",
        rungs=rungs,
    )


def validation_loss(config: TrialConfig, rows: slice) -> float:
    """Of what was handed in, as the program builds it, on these of the validation images. NaN as the model's logits."""
    model = sys.modules["program"].build_model()
    model.load_state_dict(torch.load(config.folder.weights, weights_only=True))
    layout = prepare("standin").layout
    images = torch.from_numpy(layout.read(layout.images("val"))[rows])
    labels = layout.read(layout.labels("val"))[rows]
    return round(score(forward(model, images, VALIDATION_BATCH).double().numpy(), labels).validation_loss, 6)
