"""Before a first training, and sandboxed like it: three steps and one evaluation batch, to see what memory they take.

SWARM_TRIAL=T/harness.json python -m swarm.harness.probe_phase

The program's own `main()` runs under a clock that is spent after three steps. Its `progress` passes 0, 1/3 and 2/3, so
that most of what a program changes on its way (what trains, an average of weights) happens here too; `finish(model)`
evaluates one batch before it hands in. Of all that is left behind only the memory counts. A peak that comes later, or
from another shape of batch, is not seen: the margin of the reservation and the cap are for that.
"""

import os
import sys
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path

from torch import nn

from swarm.harness import config as configuration
from swarm.harness.budget import Meter, SampleMeter
from swarm.harness.loop import RUNG_BATCH, forward
from swarm.harness.program import exit_code_of
from swarm.harness.session import Session
from swarm.harness.text import TextLayout
from swarm.harness.train_phase import train
from swarm.trial.config import TrialConfig, WorkBudget

STEPS = 3
_BYTES_AT_ONCE = 12 << 20


class StepMeter(SampleMeter):
    """A `swarm.harness.budget.Meter` that counts steps. `wait`: returns when no co-tenant is being timed alone."""

    def __init__(self, wait: Callable[[], None]) -> None:
        super().__init__()
        self._wait = wait

    def park(self) -> None:
        self._wait()

    def before_step(self, signature: Hashable) -> None:
        self.park()

    def after_step(self, images: int) -> None:
        super().after_step(1)


class ProbeSession(Session):
    def meter(self) -> Meter:
        self._wait = self.park()  # one a process: a second one would hold the gate open while the first is parked
        return StepMeter(self._wait)

    def why_uncompiled(self) -> str:
        """Three steps as they are written hold no less than compiled ones, and are there a minute earlier."""
        return "" if self.device.type == "cpu" else "a probe is three steps"

    def before_hand_in(self, model: nn.Module) -> None:
        batch = RUNG_BATCH[self.config.harness]
        forward(model, self.rung_inputs()[:batch], batch, self._wait)
        if self.device.type == "cpu":
            _touch(self.config)


def run(path: Path | None = None) -> int:
    """Probes the program of the trial that `path` (or SWARM_TRIAL) describes; returns this process's exit code."""
    return exit_code_of(lambda: train(_shortened(configuration.load(path)), ProbeSession))


def _shortened(config: TrialConfig) -> TrialConfig:
    return replace(config, budget=WorkBudget("samples", STEPS), rungs=())


def _touch(config: TrialConfig) -> None:
    """Reads all training data, as an epoch does: on a CPU it is mapped, and counts once it has been read."""
    layout = TextLayout(config.data_dir)
    rows = layout.read(layout.images("train") if config.harness == "images" else layout.text)
    at_once = _BYTES_AT_ONCE // max(1, rows[:1].nbytes)
    for first in range(0, len(rows), at_once):
        rows[first : first + at_once].max()


if __name__ == "__main__":
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is on disk; tearing torch down would only take time
