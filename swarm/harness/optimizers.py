"""Sees every step of every optimiser of torch in this process: training belongs on the clock.

It is in the candidate's process and can be taken out there; what it is for is the loop that an honest author has put
beside `clock.batches` without a thought. The time that is used off the clock is counted from outside.
"""

from collections import Counter
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook


class StepCount:
    """`on_clock`: set by whoever hands out the batches. `off_clock`: steps taken while it was not set."""

    def __init__(self) -> None:
        self.on_clock = False
        self.off_clock = 0
        self._each: Counter[int] = Counter()
        register_optimizer_step_post_hook(self._count)

    @property
    def most(self) -> int:
        """On the clock, of the optimiser that took the most steps."""
        return max(self._each.values(), default=0)

    def _count(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        if self.on_clock:
            self._each[id(optimizer)] += 1
        else:
            self.off_clock += 1
