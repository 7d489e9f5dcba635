"""The one trial of this process: its device, its seed, its memory cap, its clock."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from swarm.harness import config as configuration
from swarm.harness import cpu
from swarm.harness.budget import Meter, SampleMeter, meter_for
from swarm.harness.errors import HarnessError
from swarm.harness.gate import FileGate
from swarm.harness.layout import CLASSES, Layout, TrainSet
from swarm.harness.libraries import load_libraries
from swarm.harness.loop import BudgetClock
from swarm.harness.text import WINDOW, TextLayout, TextSet
from swarm.harness.warmup import seed_everything
from swarm.trial.config import TrialConfig
from swarm.trial.contract import CONFIG_VARIABLE, candidate_begins
from swarm.trial.heartbeat import Heartbeat

LEAST_COMPILED_BUDGET_S = 120.0
"""On a card. The targets compile for 30 to 54 s with two threads (H200), for steps 1.3 times as fast."""


class Session:
    """What a training process holds. `overhead_s` collects the seconds outside training, by cause; `compilation` is
    what came of the compiler, None where it was not asked."""

    def __init__(self, config: TrialConfig, *, training: bool) -> None:
        self.config = config
        self.overhead_s: dict[str, float] = {"import": seconds_since_process_start()}
        self.began_s = time.monotonic()
        self.finished = False
        self.compilation: str | None = None
        self._train_set: TrainSet | TextSet | None = None
        torch.set_num_threads(config.threads)
        self.device = _device(config)
        seed_everything(config.seed)
        heartbeat = Heartbeat(config.folder.heartbeat) if training else None
        meter = self.meter() if training else SampleMeter()
        self.clock = BudgetClock(config.budget, meter, heartbeat, _RungFiles(self), config.seed)
        self._meter = meter

    def begin(self) -> None:
        """The candidate's code is next, and what it does is on the clock. What the harness needs is loaded before."""
        self.train_set()
        began = time.monotonic()
        load_libraries(self.device)
        self.overhead_s["libraries"] = time.monotonic() - began
        candidate_begins()
        self._meter.begin()

    @property
    def train_rows(self) -> int:
        return len(self.train_set())

    def train_set(self) -> TrainSet | TextSet:
        if self._train_set is None:
            self._train_set = self._load_train_set()
        return self._train_set

    def _load_train_set(self) -> TrainSet | TextSet:
        began = time.monotonic()
        loaded = self._images() if self.config.harness == "images" else self._text()
        self.overhead_s["data"] = time.monotonic() - began
        return loaded

    def _images(self) -> TrainSet:
        layout = Layout(self.config.data_dir)
        images = torch.from_numpy(layout.read(layout.images("train"))).to(self.device)
        labels = torch.from_numpy(layout.read(layout.labels("train")).astype("int64")).to(self.device)
        return TrainSet(images, labels, CLASSES)

    def _text(self) -> TextSet:
        layout = TextLayout(self.config.data_dir)
        return TextSet(torch.from_numpy(layout.read(layout.text)).to(self.device), WINDOW[self.config.device])

    def rung_inputs(self) -> Tensor:
        """What the model is asked about at a rung: images, or the end of the rung's windows of text."""
        if self.config.harness == "images":
            layout = Layout(self.config.data_dir)
            return torch.from_numpy(layout.read(layout.images("rung"))).to(self.device)
        text = TextLayout(self.config.data_dir)
        windows = text.read(text.rung_windows)[:, -WINDOW[self.config.device] :]
        return torch.from_numpy(windows).contiguous().to(self.device)

    def meter(self) -> Meter:
        """What the budget of this training is counted with."""
        if self.device.type == "cpu" or self.config.gate is None:
            return meter_for(self.config.budget, None, cpu=self.device.type == "cpu")
        return meter_for(self.config.budget, (_CudaDevice(self.device), FileGate(self.config.gate)), cpu=False)

    def park(self) -> Callable[[], None]:
        """For a process that is not timed itself: waits while a co-tenant of the GPU is being timed alone."""
        if self.config.gate is None:
            return lambda: None
        return partial(FileGate(self.config.gate).step_boundary, _CudaDevice(self.device))

    def why_uncompiled(self) -> str:
        """Why nothing is compiled in this process, empty where it may be: a compilation takes as long for a short
        budget as for a long one, and would be all of it."""
        budget = self.config.budget
        if self.device.type == "cpu" or budget.kind == "samples" or budget.amount >= LEAST_COMPILED_BUDGET_S:
            return ""
        return f"it pays from a budget of {LEAST_COMPILED_BUDGET_S:.0f} s on, this one has {budget.amount:g} s"

    def note_compilation(self, what: str) -> None:
        """What came of the compiler, in a line: for the log and for the trial's record."""
        self.compilation = what
        print(f"compilation: {what}", flush=True)

    def before_hand_in(self, model: nn.Module) -> None:
        """Called by `finish` with the model that it was given, before anything is saved."""


_current: list[Session] = []


def open_session(config: TrialConfig, *, training: bool = True, kind: type[Session] = Session) -> Session:
    """Makes `config` the trial of this process. A process has one; only a training one has a heartbeat."""
    if _current:
        raise HarnessError(f"this process already runs trial {_current[0].config.trial_id}")
    _current.append(kind(config, training=training))
    return _current[0]


def current() -> Session:
    """The trial of this process; opened from SWARM_TRIAL when no phase has opened it."""
    return _current[0] if _current else open_session(configuration.load())


def current_if_any() -> Session | None:
    """As `current`, None in a process that is no trial's: a tool that only imports a program."""
    return current() if _current or os.environ.get(CONFIG_VARIABLE) else None


class _NoClock:
    """Stands where the clock would be. Any use of it says that there is no trial."""

    def __getattr__(self, name: str) -> object:
        configuration.load()  # raises, with the remedy
        raise HarnessError("this process runs no trial")


class NoTrial:
    """What `swarm.harness` offers in a process that is no trial's."""

    device = torch.device("cpu")
    clock = _NoClock()


def seconds_since_process_start() -> float:
    """Interpreter start and imports, from the kernel's start time of this process (Linux; 10 ms resolution)."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


class _RungFiles:
    """The rung's rows of the data cache, logits into the folder of the trial."""

    def __init__(self, session: Session) -> None:
        self.fractions: Sequence[float] = session.config.rungs
        self._session = session

    def inputs(self) -> Tensor:
        return self._session.rung_inputs()

    def path(self, fraction: float) -> Path:
        return self._session.config.folder.rung_logits(round(100 * fraction))


def _device(config: TrialConfig) -> torch.device:
    """cuDNN takes its first algorithm. Trying all took 11 and 30 s of the targets' first steps on an H200, for steps
    8 % faster and 9 % slower; the workspaces of those tried would be in a peak, too. A program may ask for it."""
    if config.device == "cpu":
        cpu.keep_memory()
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise HarnessError("device is cuda, but torch sees no CUDA device: check the driver or use --device cpu")
    if config.memory_fraction is not None:
        torch.cuda.set_per_process_memory_fraction(config.memory_fraction)
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda")


class _CudaDevice:
    """A `swarm.harness.solo.Device`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def synchronize(self) -> None:
        torch.cuda.synchronize(self._device)

    def now(self) -> float:
        return time.monotonic()
